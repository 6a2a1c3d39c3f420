"""Row blocks: CSR rows ``[start, stop)`` of the user-item matrix, and where to cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_BLOCK_VALUES = 1 << 21  # stored values in a block of a large matrix: 16 MB, some ms of work
_VALUES_PER_COLUMN = 32  # at least, in a block: a product of one has a row per column, which is cleared and added
_SMALL_BLOCK_VALUES = 1 << 16  # below this a block is not worth a task
_SMALL_BLOCKS = 4  # what a small matrix is cut into: work for a few workers, and few partial sums


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows ``[start, start + n_rows)`` as CSR; a recipe of itself.

    Attributes
    ----------
    index : int
        Number of the block in its matrix.
    start : int
        Number of its first row in the matrix.
    indptr : ndarray of int64, shape (n_rows + 1,)
        Where each row's values begin, from 0.
    indices : ndarray of int32, shape (n_stored,)
        Column codes, ascending within a row.
    values : ndarray of float32 or float64, shape (n_stored,)
        Stored values.
    n_columns : int
        Columns of the matrix.

    Notes
    -----
    The arrays are made read-only: a block is shared by the threads of a process, and kernels are
    compiled once for read-only arrays, which mapped files are too.
    """

    index: int
    start: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]
    n_columns: int

    def __post_init__(self) -> None:
        for name in ("indptr", "indices", "values"):
            array = np.ascontiguousarray(getattr(self, name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def load(self) -> Self:
        """Return the block itself."""
        return self

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def stop(self) -> int:
        """Number of the first row behind the block."""
        return self.start + self.n_rows

    def row_numbers(self) -> NDArray[np.int64]:
        """Return the row of each stored value, counted within the block."""
        return np.repeat(np.arange(self.n_rows), np.diff(self.indptr))

    def with_values(self, values: NDArray[Any]) -> Block:
        """Return a block of the same structure with other values."""
        return Block(self.index, self.start, self.indptr, self.indices, values, self.n_columns)

    def to_scipy(self) -> sp.csr_array:
        """Return the rows as a SciPy CSR array that shares memory with the block."""
        # SciPy makes both kinds of indices one: to int64 it would have to copy those of the columns.
        indptr = self.indptr.astype(np.int32) if len(self.values) < 2**31 else self.indptr
        return sp.csr_array((self.values, self.indices, indptr), shape=(self.n_rows, self.n_columns))


def balanced_bounds(indptr: NDArray[np.int64], n_columns: int) -> NDArray[np.int64]:
    """Return where to cut rows into blocks of about equal stored values.

    How many blocks there are follows from the data alone, never from the number of workers: that
    makes sums equal everywhere.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n_rows + 1,)
        Offsets of the rows.
    n_columns : int
        Columns of the matrix.

    Returns
    -------
    ndarray of int64, shape (n_blocks + 1,)
        Row bounds, from 0 to n_rows, ascending.
    """
    n_rows, stored = len(indptr) - 1, int(indptr[-1])
    n_blocks = row_block_count(stored, n_columns)
    targets = np.arange(1, n_blocks) * (stored / n_blocks)
    cuts = np.searchsorted(indptr, targets)
    return np.unique(np.concatenate([[0], cuts, [n_rows]])).astype(np.int64)


def row_block_count(stored: int, n_columns: int) -> int:
    """Return into how many blocks a sparse matrix of so many stored values and columns is cut."""
    full = max(_BLOCK_VALUES, _VALUES_PER_COLUMN * n_columns)
    return block_count(stored, full=full, small=_SMALL_BLOCK_VALUES)


def block_count(values: int, *, full: int, small: int) -> int:
    """Return into how many blocks to cut a matrix of so many values.

    Parameters
    ----------
    values : int
        Stored values of the matrix.
    full, small : int
        Values in a block of a large matrix, and the fewest in each of the blocks of a small one.
    """
    return max(1, min(_SMALL_BLOCKS, values // small), -(-values // full))


def cut(rows: sp.csr_array, bounds: NDArray[np.int64]) -> tuple[Block, ...]:
    """Cut a CSR array at row bounds into blocks that share its memory."""
    blocks = []
    indptr = rows.indptr.astype(np.int64, copy=False)
    indices = rows.indices.astype(np.int32, copy=False)
    for index, (start, stop) in enumerate(pairwise(bounds)):
        first, last = indptr[start], indptr[stop]
        blocks.append(
            Block(
                index,
                int(start),
                indptr[start : stop + 1] - first,
                indices[first:last],
                rows.data[first:last],
                rows.shape[1],
            )
        )
    return tuple(blocks)
