"""The matrix on disk: a folder of Arrow row blocks, two vocabularies, and a manifest that proves them whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import read_vocabulary
from recscale_dask.data.grown_block import Addition, GrownBlock
from recscale_dask.data.stored_block import StoredBlock
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import StoreError
from recscale_dask.manifest import FolderKind
from recscale_dask.remote import is_url, local_copy

STORE = FolderKind(
    noun="store",
    format=1,
    given_by="Give the folder that `recscale ingest --out` or `matrix.save` wrote.",
    again="Ingest the data again.",
    error=StoreError,
)
"""What the folder of a store is."""

BLOCKS = "blocks"
"""Folder of the blocks: ``blocks/000000.arrow``, ..."""

TRANSPOSED = "transposed"
"""Folder of transposes, each a store."""

VOCABULARIES = {"users": "users.arrow", "items": "items.arrow"}
"""Files of ids, with the number and the sum of the stored values of each."""


class StoredMatrix(NamedTuple):
    """The fields of a `recscale_dask.data.matrix.UserItemMatrix` whose blocks are on disk."""

    sources: tuple[StoredBlock | GrownBlock, ...]
    bounds: NDArray[np.int64]
    users: Vocabulary
    items: Vocabulary
    nnz: int
    dtype: np.dtype[Any]
    store: str
    fingerprint: str


def read_store(path: str | os.PathLike[str]) -> StoredMatrix:
    """Return what is in a store; the blocks stay on disk, and are mapped as they are used.

    Sizes of files are compared with the manifest here, and what is in the blocks when a fit reads them first.

    Parameters
    ----------
    path : path or URL
        Folder that `recscale_dask.data.store_writer.write_store` made.

    Raises
    ------
    StoreError
        If it is missing, no store, cut short, altered, or of a newer format.
    """
    place = os.fspath(path)
    if not is_url(place):
        place = str(Path(place).absolute())
    place = place.rstrip("/")
    return STORE.read_with(place, lambda manifest: _stored_matrix(place, manifest))


def _stored_matrix(place: str, manifest: dict[str, Any]) -> StoredMatrix:
    try:
        vocabularies = []
        for name, file in vocabulary_files(manifest).items():
            entry = manifest["vocabularies"][name]
            path = local_copy(place, file, entry["sha256"], StoreError) if is_url(place) else Path(place, file)
            STORE.check_file(path, entry, verify=True)
            vocabularies.append(read_vocabulary(path))
        users, items = vocabularies
        if not is_url(place):
            for entry in manifest["blocks"]:
                for part in parts_of(entry):
                    STORE.check_file(Path(place, part["file"]), part, verify=False)
        sources = tuple(
            _source(place, index, entry, manifest["n_items"]) for index, entry in enumerate(manifest["blocks"])
        )
        bounds = np.array([*(entry["start"] for entry in manifest["blocks"]), manifest["n_users"]], np.int64)
        matrix = StoredMatrix(
            sources,
            bounds,
            users,
            items,
            manifest["n_stored"],
            np.dtype(manifest["dtype"]),
            place,
            manifest["fingerprint"],
        )
    except (KeyError, OSError, pa.ArrowException, TypeError) as error:
        raise StoreError(f"{place} is not a whole store: {error}. {STORE.again}") from error
    if (len(users), len(items)) != (manifest["n_users"], manifest["n_items"]):
        raise StoreError(f"{place} is not a whole store: its vocabularies are not those of its blocks. {STORE.again}")
    return matrix


def is_store(path: str | os.PathLike[str]) -> bool:
    """Return whether a path or URL is the folder of a store, of whatever format.

    Raises
    ------
    StoreError
        If it is a URL that cannot be looked at.
    """
    return STORE.is_at(path)


def vocabulary_files(manifest: dict[str, Any]) -> dict[str, str]:
    """Return where the vocabularies are, by name: those of the first store, or those that a change has written."""
    return {name: manifest["vocabularies"][name].get("file", file) for name, file in VOCABULARIES.items()}


def parts_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a block, given its entry in the manifest: its own, and those of what was appended."""
    parts: list[dict[str, Any]] = entry.get("parts", [entry])
    return parts


def _source(place: str, index: int, entry: dict[str, Any], n_items: int) -> StoredBlock | GrownBlock:
    first, *more = (
        StoredBlock(
            f"{place}/{part['file']}",
            index,
            entry["start"],
            entry["n_rows"],
            n_items,
            part["n_stored"],
            entry["digest"],
        )
        for part in parts_of(entry)
    )
    if not more:
        return first
    rules = [part["duplicates"] for part in entry["parts"][1:]]
    additions = tuple(Addition(source, rule) for source, rule in zip(more, rules, strict=True))
    return GrownBlock(first, additions, entry["digest"])
