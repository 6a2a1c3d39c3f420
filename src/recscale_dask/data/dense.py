"""A matrix of which most values are not zero, as dense row blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block, block_count
from recscale_dask.data.sparse import not_finite, require_numbers, value_dtype
from recscale_dask.types import Recipe

if TYPE_CHECKING:
    import dask.array

_BLOCK_VALUES = 1 << 22  # in a block of a large matrix: 16 MB of float32, some ms of work
_SMALL_BLOCK_VALUES = 1 << 17  # below this a block is not worth a task


@dataclass(frozen=True, slots=True, eq=False)
class DenseBlock:
    """Rows ``[start, start + n_rows)`` as an array; a recipe of itself.

    Attributes
    ----------
    index : int
        Number of the block in its matrix.
    start : int
        Number of its first row in the matrix.
    values : ndarray of float32 or float64, shape (n_rows, n_columns)
        C-contiguous and read-only, as blocks in mapped files are.
    """

    index: int
    start: int
    values: NDArray[Any]

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values).view()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def load(self) -> Self:
        """Return the block itself."""
        return self

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def stop(self) -> int:
        """Number of the first row behind the block."""
        return self.start + self.n_rows

    @property
    def n_columns(self) -> int:
        """Columns of the matrix."""
        return int(self.values.shape[1])


RowBlock: TypeAlias = Block | DenseBlock
"""What products are made of: the rows of a block are sparse or dense."""


def array_of(block: RowBlock) -> Any:
    """Return the rows of a block as NumPy or SciPy multiply them, shape (n_rows, n_columns)."""
    return block.values if isinstance(block, DenseBlock) else block.to_scipy()


@dataclass(frozen=True, eq=False)
class DenseMatrix:
    """Dense row blocks, each a small recipe that loads where it is needed.

    Made by `from_numpy` or `from_dask_array`.

    Attributes
    ----------
    sources : tuple of Recipe of DenseBlock
        One per block, in row order.
    bounds : ndarray of int64, shape (n_blocks + 1,)
        Where the blocks begin; a function of the shape alone.
    shape : tuple of int
        Rows and columns.
    dtype : numpy.dtype
        float32 or float64.
    """

    sources: tuple[Recipe[DenseBlock], ...]
    bounds: NDArray[np.int64]
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @classmethod
    def from_numpy(cls, array: Any) -> DenseMatrix:
        """Make a matrix of a NumPy array; where the array can serve as it is, the blocks share its memory.

        Parameters
        ----------
        array : ndarray of shape (n_rows, n_columns)
            float64 is kept, other dtypes become float32 where that is exact.

        Raises
        ------
        DataError
            If it is not two-dimensional, not numeric, or holds NaN or infinite values (names the first).
        """
        array = np.asarray(array)
        require_numbers(array)
        dtype = value_dtype(array, array.dtype)
        bounds = even_bounds(array.shape)
        parts = [
            clean_dense(array[start:stop], first_row=start).astype(dtype, copy=False)
            for start, stop in pairwise(bounds.tolist())
        ]
        return cls._of(parts, bounds)

    @classmethod
    def from_dask_array(cls, array: dask.array.Array) -> DenseMatrix:
        """Make a matrix of a Dask array with NumPy chunks, chunked in any way; the blocks do not depend on it.

        Chunks are computed when the blocks are loaded: by `loaded` all together, each once. They are computed
        here, once, if their sizes are unknown (nan), or if it depends on the values whether float32 holds
        them (integers of 32 bits and more).

        Parameters
        ----------
        array : dask.array.Array of shape (n_rows, n_columns)
            float64 is kept, other dtypes become float32 where that is exact.

        Raises
        ------
        DataError
            If it is not two-dimensional or not numeric; on loading, if a value is NaN or infinite (names the row
            and the column), or a chunk is not what the array says.
        """
        from recscale_dask.data.dask_dense import blocks_of

        return cls(*blocks_of(array))

    @classmethod
    def _of(cls, parts: list[NDArray[Any]], bounds: NDArray[np.int64]) -> DenseMatrix:
        starts = bounds[:-1].tolist()
        blocks = tuple(DenseBlock(i, start, part) for i, (start, part) in enumerate(zip(starts, parts, strict=True)))
        return cls(blocks, bounds, (int(bounds[-1]), parts[0].shape[1]), parts[0].dtype)

    @property
    def nnz(self) -> int:
        """Number of stored values: all of them."""
        return self.shape[0] * self.shape[1]

    @property
    def n_blocks(self) -> int:
        """Number of row blocks."""
        return len(self.sources)

    def loaded(self) -> DenseMatrix:
        """Return the matrix with its blocks in memory, so that reading it again costs nothing."""
        from recscale_dask.data.dask_dense import DenseDaskBlock, load_together

        lazy = [source for source in self.sources if isinstance(source, DenseDaskBlock)]
        together = len(lazy) == len(self.sources)
        return replace(self, sources=load_together(lazy) if together else tuple(each.load() for each in self.sources))

    def transposed(self) -> DenseMatrix:
        """Return the matrix of columns by rows in memory: one more copy."""
        n_rows, n_columns = self.shape
        bounds = even_bounds((n_columns, n_rows))
        parts = [np.empty((stop - start, n_rows), self.dtype) for start, stop in pairwise(bounds)]
        for source in self.loaded().sources:
            block = source.load()
            for part, (start, stop) in zip(parts, pairwise(bounds), strict=True):
                part[:, block.start : block.stop] = block.values[:, start:stop].T
        return self._of(parts, bounds)

    def __repr__(self) -> str:
        n_rows, n_columns = self.shape
        return f"DenseMatrix({n_rows} x {n_columns} {self.dtype}, {self.n_blocks} blocks)"


def even_bounds(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return where to cut the rows of a matrix into blocks of equal size, shape (n_blocks + 1,)."""
    n_rows, n_columns = shape
    n_blocks = block_count(n_rows * n_columns, full=_BLOCK_VALUES, small=_SMALL_BLOCK_VALUES)
    n_blocks = max(1, min(n_blocks, n_rows))
    return np.arange(n_blocks + 1, dtype=np.int64) * n_rows // n_blocks


def clean_dense(values: Any, *, first_row: int = 0, first_column: int = 0) -> NDArray[Any]:
    """Return numbers as float32 or float64, by the rules of `clean_csr`; not copied if they are that already.

    Parameters
    ----------
    values : array_like of shape (n_rows, n_columns)
    first_row, first_column : int
        Added to row and column numbers in errors, for a part of a larger matrix.

    Raises
    ------
    DataError
        If it is not two-dimensional, not numeric, or holds NaN or infinite values (names the first).
    """
    values = np.asarray(values)
    require_numbers(values)
    clean: NDArray[Any] = values.astype(value_dtype(values, values.dtype), copy=False)
    if values.dtype.kind == "f":
        finite = np.isfinite(clean)
        if not finite.all():
            row, column = np.unravel_index(int(np.argmin(finite)), finite.shape)
            count = finite.size - int(np.count_nonzero(finite))
            raise not_finite(first_row + int(row), first_column + int(column), clean[row, column], count)
    return clean
