"""Changes of a store on disk: interactions are appended, and a store is written anew without their traces.

Each change is a folder of its own, ``deltas/000001`` or ``compacted/000002``, and whole before the manifest that tells
of it takes the place of the old one. So a store is what it was or what it is going to be, whatever stops the change.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from recscale_dask.atomic import written_beside
from recscale_dask.data.arrow_file import read_arrow
from recscale_dask.data.blocks import Block, balanced_bounds, cut
from recscale_dask.data.grown_block import Addition, GrownBlock
from recscale_dask.data.interactions import AGGREGATIONS, Interactions
from recscale_dask.data.recut import recut
from recscale_dask.data.store import (
    BLOCKS,
    STORE,
    TRANSPOSED,
    VOCABULARIES,
    StoredMatrix,
    parts_of,
    read_store,
    vocabulary_files,
)
from recscale_dask.data.store_lock import store_lock
from recscale_dask.data.store_writer import take_stock, write_base
from recscale_dask.data.stored_block import StoredBlock, write_block
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, DoubtfulDataWarning, OptionError, OutputError
from recscale_dask.manifest import MANIFEST
from recscale_dask.types import Codes, Recipe

_DELTAS, _COMPACTED = "deltas", "compacted"


def append_to_store(store: Path, interactions: Interactions, duplicates: str) -> None:
    """Write interactions beside those of a store; see `recscale_dask.data.matrix.UserItemMatrix.append`."""
    if duplicates not in AGGREGATIONS:
        raise OptionError(f"duplicates={duplicates!r} is not a choice; use one of {', '.join(AGGREGATIONS)}.")
    with store_lock(store):
        manifest, matrix = STORE.read(store), read_store(store)
        _sweep(store)
        unique = _in_codes_of(matrix, interactions, duplicates)
        pieces = _cut(unique, matrix)

        def change(folder: Path, prefix: str) -> dict[str, Any]:
            folder.mkdir()
            sources: list[Recipe[Block]] = []
            places: list[dict[str, Any]] = []
            for piece in pieces:
                old = manifest["blocks"][piece.index] if piece.index < len(matrix.sources) else None
                written = None if old and not len(piece.values) else _written(piece, folder, prefix)
                sources.append(piece if old is None else _grown(matrix.sources[piece.index], piece, duplicates))
                places.append(_place(old, written, duplicates))

            def found(block: Block) -> dict[str, Any]:
                _check_finite(block, unique)
                return places[block.index]

            stock = take_stock(sources, found, len(unique.items))
            return stock.fields(folder, prefix, unique.users, unique.items)

        _replace_manifest(store, manifest, _DELTAS, change)
        n_new = STORE.read(store)["n_stored"] - matrix.nnz
    _warn_of_doubts(matrix, unique, n_new, duplicates)


def _warn_of_doubts(before: StoredMatrix, added: Interactions, n_new: int, duplicates: str) -> None:
    """Warn of an addition without a new pair, or most of whose users and items are new.

    Parameters
    ----------
    before : StoredMatrix
    added : Interactions
        In codes that begin with those of `before`, each pair once.
    n_new : int
        Pairs that the store did not have.
    duplicates : str
    """
    if not n_new:
        effect = "their values were added up" if duplicates == "sum" else f"they have the {duplicates} of their values"
        warnings.warn(
            f"nothing of what was appended is new: all {len(added):,} pairs of user and item were in the store, and "
            f"{effect}. If the same data were appended twice, ingest all of it anew.",
            DoubtfulDataWarning,
            stacklevel=4,
        )
    users = _new(added.users, added.user_codes, len(before.users))
    items = _new(added.items, added.item_codes, len(before.items))
    if users.mostly and items.mostly:
        warnings.warn(
            f"most of what was appended is new to the store: {users.new:,} of {users.all:,} users and {items.new:,} of "
            f"{items.all:,} items (such as user {users.example} and item {items.example}; the store has user "
            f"{before.users.ids[0]} and item {before.items.ids[0]}). If these are ids of something else, ingest the "
            "right data anew.",
            DoubtfulDataWarning,
            stacklevel=4,
        )


class _New(NamedTuple):
    """How many ids of an addition a store did not have, of how many, and the first of them."""

    new: int
    all: int
    example: object

    @property
    def mostly(self) -> bool:
        return 2 * self.new > self.all


def _new(vocabulary: Vocabulary, codes: Codes, n_before: int) -> _New:
    occurring = np.count_nonzero(np.bincount(codes))
    n_new = len(vocabulary) - n_before
    return _New(n_new, int(occurring), vocabulary.ids[n_before] if n_new else None)


def compact_store(store: Path) -> None:
    """Write a store anew in one piece; see `recscale_dask.data.matrix.UserItemMatrix.compact`."""
    with store_lock(store):
        manifest, matrix = STORE.read(store), read_store(store)
        _sweep(store)
        if not any(file.startswith(f"{_DELTAS}/") for file in _files(manifest)):
            return
        counts = read_arrow(store / vocabulary_files(manifest)["users"]).column("count").to_numpy()
        bounds = balanced_bounds(np.concatenate([[0], np.cumsum(counts)]), len(matrix.items))

        def change(folder: Path, prefix: str) -> dict[str, Any]:
            return write_base(folder, prefix, recut(matrix.sources, bounds), matrix.users, matrix.items)

        _replace_manifest(store, manifest, _COMPACTED, change)
        shutil.rmtree(store / TRANSPOSED, ignore_errors=True)  # of the store as it was


def _in_codes_of(matrix: StoredMatrix, interactions: Interactions, duplicates: Any) -> Interactions:
    """Return interactions in the codes of a matrix, those of new ids behind; each pair once, sorted."""
    given = interactions.compact()
    users, user_codes = _extended(matrix.users, given.users, "users")
    items, item_codes = _extended(matrix.items, given.items, "items")
    recoded = replace(
        given,
        user_codes=user_codes[given.user_codes],
        item_codes=item_codes[given.item_codes],
        users=users,
        items=items,
    )
    return recoded.aggregate(duplicates)


def _extended(known: Vocabulary, given: Vocabulary, what: str) -> tuple[Vocabulary, Codes]:
    try:
        return known.extended(given.ids)
    except DataError as problem:
        raise DataError(f"{what}: {problem}") from problem


def _cut(unique: Interactions, matrix: StoredMatrix) -> tuple[Block, ...]:
    """Return what is new, cut at the bounds of a matrix; rows behind its own are cut as those of any other one."""
    n_users, n_items, old = len(unique.users), len(unique.items), len(matrix.users)
    values = np.ones(len(unique)) if unique.values is None else unique.values
    indptr = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(unique.user_codes, minlength=n_users), out=indptr[1:])
    rows = sp.csr_array((values.astype(matrix.dtype), unique.item_codes, indptr), shape=(n_users, n_items))
    bounds = matrix.bounds
    if n_users > old:
        bounds = np.concatenate([bounds, old + balanced_bounds(indptr[old:] - indptr[old], n_items)[1:]])
    return cut(rows, bounds)


def _grown(source: StoredBlock | GrownBlock, piece: Block, duplicates: str) -> Recipe[Block]:
    """Return a block of a store with as many columns as its piece of what is new, and with that."""
    first = source if isinstance(source, StoredBlock) else source.first
    first = replace(first, n_columns=piece.n_columns)
    additions = () if isinstance(source, StoredBlock) else source.additions
    if len(piece.values):
        additions = (*additions, Addition(piece, duplicates))
    return GrownBlock(first, additions, "") if additions else first


def _written(piece: Block, folder: Path, prefix: str) -> dict[str, Any]:
    """Write a piece, and return where it is."""
    name = f"{piece.index:06d}.arrow"
    write_block(piece, folder / name)
    return {"file": prefix + name, "bytes": (folder / name).stat().st_size, "n_stored": len(piece.values)}


def _place(old: dict[str, Any] | None, written: dict[str, Any] | None, duplicates: str) -> dict[str, Any]:
    """Return where a block is, for its entry in the manifest, given that of before and the file that is added."""
    if old is None:
        assert written is not None
        return {name: written[name] for name in ("file", "bytes")}
    if written is None:
        return {name: old[name] for name in ("file", "bytes", "parts") if name in old}
    first, *more = parts_of(old)
    first = {name: first[name] for name in ("file", "bytes", "n_stored")}
    return {"parts": [first, *more, {**written, "duplicates": duplicates}]}


def _check_finite(block: Block, interactions: Interactions) -> None:
    bad = np.flatnonzero(~np.isfinite(block.values))
    if len(bad):
        row = block.start + int(np.searchsorted(block.indptr, bad[0], side="right")) - 1
        user, item = interactions.users.ids[row].as_py(), interactions.items.ids[int(block.indices[bad[0]])].as_py()
        raise DataError(
            f"the values of user {user!r} and item {item!r} add up to more than {block.values.dtype} holds. "
            "Scale the values down, or use duplicates='max'."
        )


def _replace_manifest(
    store: Path, manifest: dict[str, Any], kind: str, change: Callable[[Path, str], dict[str, Any]]
) -> None:
    """Write the folder of a change, and then the manifest with the fields that `change` returns."""
    number = manifest.get("changes", 0) + 1
    folder = store / kind / f"{number:06d}"
    try:
        folder.parent.mkdir(exist_ok=True)
        with written_beside(folder) as beside:
            fields = change(beside, f"{kind}/{number:06d}/")
        with written_beside(store / MANIFEST, overwrite=True) as beside:
            beside.write_text(STORE.dump({**fields, "changes": number}), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {store}: {error.strerror or error}") from error
    finally:
        _sweep(store)


def _files(manifest: dict[str, Any]) -> set[str]:
    files = {part["file"] for entry in manifest["blocks"] for part in parts_of(entry)}
    return files | set(vocabulary_files(manifest).values())


def _sweep(store: Path) -> None:
    """Delete what changes left behind: what a killed one wrote, and what `compact_store` has replaced.

    Vocabularies of before an append stay: who reads the old manifest at this moment opens them next.
    """
    files = _files(STORE.read(store))
    kept = {"/".join(file.split("/")[:2]) for file in files}
    changes = [each for kind in (_DELTAS, _COMPACTED) for each in (store / kind).glob("*")]
    leftovers = [each for each in changes if f"{each.parent.name}/{each.name}" not in kept]
    if not any(file.startswith(f"{BLOCKS}/") for file in files):
        leftovers += [store / BLOCKS, *(store / file for file in VOCABULARIES.values())]
    for each in leftovers:
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)
    for kind in (_DELTAS, _COMPACTED):
        with suppress(OSError):  # it is not there, or not empty
            (store / kind).rmdir()
