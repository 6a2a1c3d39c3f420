"""The matrix on disk: a folder of Arrow row blocks, two vocabularies, and a manifest that proves them whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import read_vocabulary
from recscale_dask.data.stored_block import StoredBlock, local_path
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import StoreError
from recscale_dask.manifest import MANIFEST, FolderKind

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

VOCABULARIES = {"users": "users.arrow", "items": "items.arrow"}
"""Files of ids, with the number and the sum of the stored values of each."""


class StoredMatrix(NamedTuple):
    """The fields of a `recscale_dask.data.matrix.UserItemMatrix` whose blocks are on disk."""

    sources: tuple[StoredBlock, ...]
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
    remote = "://" in place
    if not remote:
        place = str(Path(place).absolute())
    place = place.rstrip("/")
    manifest = _manifest(place) if remote else STORE.read(Path(place))
    try:
        if not remote:
            for name, entry in manifest["vocabularies"].items():
                STORE.check_file(Path(place, VOCABULARIES[name]), entry, verify=True)
            for entry in manifest["blocks"]:
                STORE.check_file(Path(place, entry["file"]), entry, verify=False)
        users, items = (read_vocabulary(local_path(f"{place}/{file}")) for file in VOCABULARIES.values())
        sources = tuple(
            StoredBlock(
                f"{place}/{entry['file']}",
                index,
                entry["start"],
                entry["n_rows"],
                manifest["n_items"],
                entry["n_stored"],
                entry["digest"],
            )
            for index, entry in enumerate(manifest["blocks"])
        )
        bounds = np.array([*(source.start for source in sources), manifest["n_users"]], np.int64)
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
    """Return whether a path or URL is the folder of a store, of whatever format."""
    place = os.fspath(path)
    if "://" not in place:
        return STORE.is_at(Path(place))
    import fsspec

    system, folder = fsspec.url_to_fs(place)
    return bool(system.exists(f"{folder.rstrip('/')}/{MANIFEST}"))


def _manifest(url: str) -> dict[str, Any]:
    import fsspec

    try:
        with fsspec.open(f"{url}/{MANIFEST}", "rt", encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError as error:
        raise StoreError(f"there is no store at {url}") from error
    except (OSError, ValueError, ImportError) as error:
        raise StoreError(f"cannot read {url}: {error}. Look at the address and the rights to it.") from error
    return STORE.parse(text, url)
