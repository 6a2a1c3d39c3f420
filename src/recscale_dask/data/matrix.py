"""The user-item matrix: a chunked Dask array whose chunks are sparse row blocks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block, balanced_bounds, cut
from recscale_dask.data.grown_block import GrownBlock
from recscale_dask.data.sparse import clean_csr
from recscale_dask.data.stored_block import StoredBlock
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, DoubtfulDataWarning, StoreError
from recscale_dask.outputs import check_folder
from recscale_dask.remote import is_url
from recscale_dask.types import Aggregation, Recipe

if TYPE_CHECKING:
    import dask.array

    from recscale_dask.data.interactions import Interactions
    from recscale_dask.data.weighting import Transform

_IN_MEMORY_BYTES = 1 << 28  # of stored values, up to which a store is transposed in memory


@dataclass(frozen=True, eq=False)
class UserItemMatrix:
    """Users by items as sparse row blocks, each a small recipe that loads where it is needed.

    Made by `from_interactions`, `from_scipy`, `from_dask_array` or `open`.

    Attributes
    ----------
    sources : tuple of Recipe of Block
        One per block, in row order.
    bounds : ndarray of int64, shape (n_blocks + 1,)
        Where the blocks begin; balanced by stored values and a function of the data alone.
    users, items : Vocabulary
        Ids of the rows and columns.
    nnz : int
        Number of stored values.
    dtype : numpy.dtype
        float32 or float64.
    store : str or None
        Path or URL of the store that the blocks are read from each time; None if they are in memory.
    fingerprint : str or None
        SHA-256 (hex) of structure and values, as far as it is known: a store has it in its manifest.
    """

    sources: tuple[Recipe[Block], ...]
    bounds: NDArray[np.int64]
    users: Vocabulary
    items: Vocabulary
    nnz: int
    dtype: np.dtype[Any]
    store: str | None = None
    fingerprint: str | None = None

    @classmethod
    def from_interactions(cls, interactions: Interactions, *, duplicates: Aggregation = "sum") -> UserItemMatrix:
        """Make a matrix of interactions.

        Parameters
        ----------
        interactions : Interactions
            As read by `read_interactions`.
        duplicates : {"sum", "max", "last"}
            What becomes of several rows of one user and item.

        Raises
        ------
        DataError
            If these are no interactions.

        Warns
        -----
        DoubtfulDataWarning
            If all values are 0.
        """
        from recscale_dask.data.interactions import Interactions

        if not isinstance(interactions, Interactions):
            raise DataError(
                f"from_interactions takes Interactions; got a {type(interactions).__name__}. Read it first: "
                "rs.read_interactions(...)."
            )
        if interactions.values is not None and len(interactions) and not interactions.values.any():
            warnings.warn(
                f"all {len(interactions):,} values are 0. Is the value column (value=) the right one? Without one, "
                "value=False, every row counts 1.",
                DoubtfulDataWarning,
                stacklevel=2,
            )
        unique = interactions.aggregate(duplicates)
        values = unique.values if unique.values is not None else np.ones(len(unique), np.float32)
        indptr = np.zeros(len(unique.users) + 1, np.int64)
        np.cumsum(np.bincount(unique.user_codes, minlength=len(unique.users)), out=indptr[1:])
        rows = sp.csr_array((values, unique.item_codes, indptr), shape=(len(unique.users), len(unique.items)))
        return cls._from_csr(rows, unique.users, unique.items)

    @classmethod
    def from_scipy(cls, matrix: Any, *, users: Any = None, items: Any = None) -> UserItemMatrix:
        """Make a matrix of a SciPy sparse matrix or array of any format and dtype, or of a dense array.

        Parameters
        ----------
        matrix : sparse or dense, shape (n_users, n_items)
            Duplicates are summed; float64 is kept, other dtypes become float32 where that is exact.
        users, items : sequence of ids, optional
            One per row and per column; by default 0, 1, 2, ...

        Raises
        ------
        DataError
            If a value is not finite, or ids do not fit the shape.
        """
        rows = clean_csr(matrix)
        user_ids, row_order = _vocabulary(users, rows.shape[0], "users")
        item_ids, column_order = _vocabulary(items, rows.shape[1], "items")
        if row_order is not None:
            rows = rows[row_order]
        if column_order is not None:
            rows = rows[:, column_order]
            rows.sort_indices()
        return cls._from_csr(rows, user_ids, item_ids)

    @classmethod
    def from_dask_array(cls, array: dask.array.Array, *, users: Any = None, items: Any = None) -> UserItemMatrix:
        """Make a matrix of a Dask array with dense or sparse chunks, chunked in any way.

        Chunks are read once here, to count their values, and again when they are used; the blocks,
        and so every result, do not depend on the chunking.

        Parameters
        ----------
        array : dask.array.Array of shape (n_users, n_items)
            Chunks are NumPy arrays, SciPy sparse matrices or arrays, or pydata/sparse arrays.
        users, items : sequence of ids, optional
            One per row and per column, ascending; by default 0, 1, 2, ...
        """
        from recscale_dask.data.dask_blocks import blocks_of

        sources, bounds, shape, nnz, dtype = blocks_of(array)
        user_ids, row_order = _vocabulary(users, shape[0], "users")
        item_ids, column_order = _vocabulary(items, shape[1], "items")
        if row_order is not None or column_order is not None:
            raise DataError("ids beside a Dask array must be ascending; sort its rows and columns by their ids first")
        return cls(sources, bounds, user_ids, item_ids, nnz, dtype)

    @classmethod
    def _from_csr(cls, rows: sp.csr_array, users: Vocabulary, items: Vocabulary) -> UserItemMatrix:
        bounds = balanced_bounds(rows.indptr, rows.shape[1])
        return cls(cut(rows, bounds), bounds, users, items, int(rows.nnz), rows.dtype)

    @classmethod
    def open(cls, store: str | os.PathLike[str]) -> UserItemMatrix:
        """Open a store that `save` or ``recscale ingest`` wrote; its blocks stay on disk.

        Parameters
        ----------
        store : path or URL
            The folder, on this machine or any file system that fsspec knows.

        Raises
        ------
        StoreError
            If it is missing, no store, cut short, altered, or of a newer format.
        """
        from recscale_dask.data.store import read_store

        return cls(*read_store(store))

    def save(self, store: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the matrix to a store: a folder of Arrow files that appears whole or not at all.

        Parameters
        ----------
        store : path or URL
            To a URL all files are copied from a temporary folder of this machine, under new names, and then the
            manifest that names them. That one writer is at work there at a time is the caller's to see to.
        overwrite : bool
            Whether a store that is there is replaced, at once, when the new one is whole.

        Raises
        ------
        OutputError
            If the path exists (and `overwrite` is false), is something else than a store, or cannot be written.
        StoreError
            If another process writes to that store.
        """
        from recscale_dask.data.store import STORE
        from recscale_dask.data.store_lock import store_lock
        from recscale_dask.data.store_writer import write_store

        check_folder(STORE, store, overwrite=overwrite)
        with nullcontext() if is_url(store) else store_lock(store):
            write_store(store, self.sources, self.users, self.items, overwrite=overwrite)

    def append(self, interactions: Interactions, *, duplicates: Aggregation = "sum") -> UserItemMatrix:
        """Add interactions, and users and items that are new in them, to the store; return the matrix as it is then.

        What is there stays where it is: it is read once, and the new values are written beside it. Codes stay what
        they are, and new ids get codes behind them. This matrix, and whoever else has the store open, still sees it
        as it was. After many additions, `compact` makes reading fast again.

        Parameters
        ----------
        interactions : Interactions
            As read by `read_interactions`; in memory.
        duplicates : {"sum", "max", "last"}
            What becomes of several rows of one user and item, and of a value that the store has already: the sum, the
            larger, or the new one.

        Raises
        ------
        StoreError
            If this matrix is not of a store on this machine, or another writer is at work on it.
        DataError
            If ids are of a kind that cannot be among those of the store, or a sum is not finite.
        OutputError
            If it cannot be written; the store is then what it was.
        """
        from recscale_dask.data.interactions import Interactions
        from recscale_dask.data.store_changes import append_to_store

        if not isinstance(interactions, Interactions):
            raise DataError(
                f"append takes what rs.read_interactions returns; got {type(interactions).__name__}. Read it first."
            )
        store = self._local_store("append to")
        append_to_store(store, interactions, duplicates)
        return self.open(store)

    def compact(self) -> UserItemMatrix:
        """Rewrite the store without the traces of `append`; return the matrix of the same values, cut into blocks anew.

        Blocks pass through memory one after another. Who has the store open has to open it again.

        Raises
        ------
        StoreError
            If this matrix is not of a store on this machine, or another writer is at work on it.
        OutputError
            If it cannot be written; the store is then what it was.
        """
        from recscale_dask.data.store_changes import compact_store

        store = self._local_store("compact")
        compact_store(store)
        return self.open(store)

    def _local_store(self, what: str) -> Path:
        if self.store is None or is_url(self.store):
            raise StoreError(
                f"there is no store to {what}: this matrix is {'in memory' if self.store is None else self.store}. "
                "Save it to a folder of this machine, and open that."
            )
        return Path(self.store)

    def verify(self) -> None:
        """Read the blocks of a store, and raise a StoreError naming the first that is not what was written."""
        for source in self.sources:
            if isinstance(source, StoredBlock | GrownBlock):
                source.verify()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        return len(self.users), len(self.items)

    @property
    def is_stored(self) -> bool:
        """Whether the blocks are read from a store each time they are used."""
        return self.store is not None

    @property
    def n_blocks(self) -> int:
        """Number of row blocks."""
        return len(self.sources)

    @cached_property
    def array(self) -> dask.array.Array:
        """The matrix as a lazy Dask array of SciPy CSR chunks, one chunk wide."""
        import dask.array
        from dask.base import tokenize

        name = "user-item-matrix-" + tokenize(self.shape, self.nnz, self.sources)
        graph = {(name, i, 0): (_load_csr, source) for i, source in enumerate(self.sources)}
        chunks = (tuple(int(n) for n in np.diff(self.bounds)), (self.shape[1],))
        return dask.array.Array(graph, name, chunks, meta=sp.csr_array((0, 0), dtype=self.dtype))

    def to_scipy(self) -> sp.csr_array:
        """Return the whole matrix in memory as a SciPy CSR array."""
        return sp.vstack([source.load().to_scipy() for source in self.sources], format="csr")

    def transposed(self) -> UserItemMatrix:
        """Return the matrix of items by users, cut into blocks in the same way.

        It is in memory, with two more copies for a while; that of a store that is large is written into the store
        instead, block by block, and found there the next time. A weighting that is applied on loading has been
        applied then.

        Raises
        ------
        OutputError
            If that of a large store cannot be written there.
        StoreError
            If the store was added to after it was opened, or does not hold what its manifest says.
        """
        if self.store is not None and self.nnz * (4 + self.dtype.itemsize) > _IN_MEMORY_BYTES:
            from recscale_dask.data.transposing import stored_transpose

            return self.open(stored_transpose(self, self._local_store("write the transpose to")))
        rows = self.loaded().to_scipy().T.tocsr()  # ascending in each row, because SciPy reads rows in order
        return self._from_csr(rows, self.items, self.users)

    def loaded(self) -> UserItemMatrix:
        """Return the matrix with its blocks in memory, so that reading it again costs nothing."""
        from recscale_dask.data.dask_blocks import DaskBlock, load_together

        lazy = [source for source in self.sources if isinstance(source, DaskBlock)]
        together = len(lazy) == len(self.sources)
        sources = load_together(lazy) if together else tuple(each.load() for each in self.sources)
        return replace(self, sources=sources, store=None)

    def ready(self) -> UserItemMatrix:
        """Return the matrix for many reads of its blocks: as it is if they are in a store, else in memory."""
        return self if self.is_stored else self.loaded()

    def transformed(self, transform: Transform) -> UserItemMatrix:
        """Return the matrix with a weighting and scaling that is applied block by block on loading.

        Parameters
        ----------
        transform : Transform
            See `recscale_dask.data.weighting`.
        """
        from recscale_dask.data.weighting import TransformedBlock

        sources = tuple(TransformedBlock(source, transform) for source in self.sources)
        return replace(self, sources=sources, fingerprint=None)

    def __repr__(self) -> str:
        n_users, n_items = self.shape
        return f"UserItemMatrix({n_users} users x {n_items} items, {self.nnz} values, {self.n_blocks} blocks)"


def _load_csr(source: Recipe[Block]) -> sp.csr_array:
    return source.load().to_scipy()


def _vocabulary(ids: Sequence[Any] | None, n: int, what: str) -> tuple[Vocabulary, NDArray[np.int64] | None]:
    """Return the vocabulary of `n` ids and, if they are not ascending, the order that sorts them."""
    if ids is None:
        return Vocabulary.range(n), None
    vocabulary, codes = (ids, None) if isinstance(ids, Vocabulary) else Vocabulary.from_ids(ids)
    if len(vocabulary) != n or (codes is not None and len(codes) != n):
        raise DataError(f"{what}: the matrix has {n}, but there are {len(vocabulary)} different ids. Give one id each.")
    if codes is None or bool((np.diff(codes) > 0).all()):
        return vocabulary, None
    return vocabulary, np.argsort(codes)
