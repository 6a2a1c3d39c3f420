"""The transpose of a matrix in a store, kept in the store: made block by block, it is never all in memory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.atomic import written_beside
from recscale_dask.data.arrow_file import read_arrow
from recscale_dask.data.blocks import Block, balanced_bounds
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.store import STORE, TRANSPOSED, vocabulary_files
from recscale_dask.data.store_lock import store_lock
from recscale_dask.data.store_writer import write_base
from recscale_dask.data.weighting import Transform, TransformedBlock
from recscale_dask.errors import OutputError, StoreError

_ENTRIES = "entries"


def stored_transpose(matrix: UserItemMatrix, store: Path) -> Path:
    """Return the store of the transpose, in the folder ``transposed`` of a store; made if it is not there yet.

    Two scans: one cuts each block into what becomes of it in the blocks of the transpose, in as many files, and one
    puts together what is in each of these. Memory holds a few blocks; the disk has 12 bytes a value more for a while.

    Parameters
    ----------
    matrix : UserItemMatrix
        Of the store, weighted or not; the blocks that are written are.
    store : Path

    Raises
    ------
    OutputError
        If there is no room in the store, or no right to write there.
    """
    target = store / TRANSPOSED / _key(matrix)
    if STORE.is_at(target):
        return target
    try:
        target.parent.mkdir(exist_ok=True)
        with store_lock(target, wait=True):
            if not STORE.is_at(target):  # nobody else has made it meanwhile
                _write(matrix, store, target)
    except (OSError, OutputError) as error:
        raise OutputError(
            f"a matrix with fewer users than items is read from its transpose, which cannot be written into {store}: "
            f"{error}. Copy the store to a folder with room and the right to write."
        ) from error
    return target


def _write(matrix: UserItemMatrix, store: Path, target: Path) -> None:
    counts = read_arrow(store / vocabulary_files(STORE.read(store))["items"]).column("count").to_numpy()
    n_users, n_items = matrix.shape
    if len(counts) != n_items:
        raise StoreError(f"{store} was added to after it was opened. Open it again.")
    bounds = balanced_bounds(np.concatenate([[0], np.cumsum(counts)]), n_users)
    entry = np.dtype([("item", np.int32), ("user", np.int32), ("value", matrix.dtype)])

    with written_beside(target) as folder:
        entries = folder / _ENTRIES
        entries.mkdir(parents=True)
        for source in matrix.sources:
            _scatter(source.load(), bounds, entries, entry)
        write = write_base(folder, "", _gathered(bounds, entries, entry, n_users), matrix.items, matrix.users)
        shutil.rmtree(entries)
        STORE.write(folder, write)


def _scatter(block: Block, bounds: NDArray[np.int64], entries: Path, entry: np.dtype[np.void]) -> None:
    """Append what is in a block to the files of the blocks of the transpose: by item, and then by user."""
    columns = block.to_scipy().tocsc()
    for number, (start, stop) in enumerate(pairwise(bounds)):
        stored = slice(columns.indptr[start], columns.indptr[stop])
        if stored.stop == stored.start:
            continue
        rows = np.empty(stored.stop - stored.start, entry)
        rows["item"] = np.repeat(np.arange(stop - start), np.diff(columns.indptr[start : stop + 1]))
        rows["user"] = columns.indices[stored] + block.start
        rows["value"] = columns.data[stored]
        with (entries / f"{number:06d}").open("ab") as file:
            file.write(rows.data)


def _gathered(bounds: NDArray[np.int64], entries: Path, entry: np.dtype[np.void], n_users: int) -> Iterator[Block]:
    """Yield the blocks of the transpose; the users of an item are in order, because the blocks were."""
    for number, (start, stop) in enumerate(pairwise(bounds)):
        path = entries / f"{number:06d}"
        found = np.fromfile(path, entry) if path.exists() else np.empty(0, entry)
        places = (found["item"], found["user"])
        rows = sp.coo_array((found["value"], places), shape=(stop - start, n_users)).tocsr()
        path.unlink(missing_ok=True)
        yield Block(number, int(start), rows.indptr.astype(np.int64), rows.indices, rows.data, n_users)


def _key(matrix: UserItemMatrix) -> str:
    """Return a name that stands for the values of a matrix."""
    first = matrix.sources[0]
    if not isinstance(first, TransformedBlock):
        return str(matrix.fingerprint)[:16]
    assert isinstance(first.transform, Transform)  # a recipe is only what workers get
    transform = first.transform
    digest = hashlib.sha256(f"{transform.weighting} {transform.user_scaling}".encode() + transform.summary.digest)
    if transform.item_scale is not None:
        digest.update(np.ascontiguousarray(transform.item_scale).data)
    return digest.hexdigest()[:16]
