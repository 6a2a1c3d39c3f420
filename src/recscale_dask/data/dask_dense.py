"""Dense row blocks of any Dask array: each chunk is computed once, and written straight into its blocks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import dask
import dask.base
import dask.local
import dask.threaded
import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.dense import DenseBlock, clean_dense, even_bounds
from recscale_dask.data.sparse import is_sparse, require_numbers, value_dtype
from recscale_dask.errors import DataError
from recscale_dask.types import Recipe


class SparseChunkError(DataError):
    """A chunk of a Dask array is sparse, though the array says that it is dense."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseDaskBlock:
    """A block that is computed from rows of a Dask array when it is loaded.

    Attributes
    ----------
    array : dask.array.Array
        Has at least the rows of the block; chunk sizes are known.
    first_row : int
        Number of its first row in the matrix.
    index, start, stop : int
        Number and rows of the block in the matrix.
    dtype : numpy.dtype
        Of the matrix: float32 or float64.
    """

    array: Any
    first_row: int
    index: int
    start: int
    stop: int
    dtype: np.dtype[Any]

    def load(self) -> DenseBlock:
        """Compute the block with the scheduler that Dask has at that place."""
        (block,) = load_together([self])
        return block

    def __reduce__(self) -> tuple[Any, ...]:
        # Only what this block needs of the graph: each block travels on its own.
        (rows,) = dask.optimize(_rows_of(self.array, self.first_row, self.start, self.stop))
        return DenseDaskBlock, (rows, self.start, self.index, self.start, self.stop, self.dtype)


def load_together(sources: Sequence[DenseDaskBlock]) -> tuple[DenseBlock, ...]:
    """Compute neighbouring blocks of one Dask array at once; in memory are the blocks and a chunk a thread."""
    first = sources[0]
    rows = _rows_of(first.array, first.first_row, first.start, sources[-1].stop)
    canvas = _Canvas.of(
        bounds=np.array([*[source.start for source in sources], sources[-1].stop]),
        row_chunks=rows.chunks[0],
        column_chunks=rows.chunks[1],
        dtype=first.dtype,
    )
    if _runs_here(rows):
        # A name, because Dask would make one by hashing the canvas.
        name = f"dense-blocks-{uuid.uuid4().hex}"
        _chunks_of(rows.map_blocks(canvas.write, name=name, dtype=rows.dtype, meta=rows._meta))
    else:
        canvas.write_all(_chunks_of(rows))
    return canvas.blocks(first.index)


def blocks_of(array: Any) -> tuple[tuple[Recipe[DenseBlock], ...], NDArray[np.int64], tuple[int, int], np.dtype[Any]]:
    """Return blocks, row bounds, shape and dtype of a two-dimensional Dask array with NumPy chunks."""
    require_numbers(array)
    dtype = _dtype_of_any(array.dtype)
    if dtype is None or np.isnan(array.shape).any():
        return _computed_blocks(_chunks_of(array))
    bounds = even_bounds(array.shape)
    rows = enumerate(pairwise(bounds.tolist()))
    sources = tuple(DenseDaskBlock(array, 0, index, start, stop, dtype) for index, (start, stop) in rows)
    return sources, bounds, array.shape, dtype


def _computed_blocks(
    chunks: list[list[Any]],
) -> tuple[tuple[DenseBlock, ...], NDArray[np.int64], tuple[int, int], np.dtype[Any]]:
    """Return what `blocks_of` does, of chunks in memory; takes them out of the lists."""
    for chunk in (chunk for row in chunks for chunk in row):
        _refuse_sparse(chunk)
        require_numbers(chunk)
    row_chunks, column_chunks = [len(row[0]) for row in chunks], [chunk.shape[1] for chunk in chunks[0]]
    shape = sum(row_chunks), sum(column_chunks)
    dtype = np.result_type(*[value_dtype(chunk, chunk.dtype) for row in chunks for chunk in row])
    bounds = even_bounds(shape)
    canvas = _Canvas.of(bounds, row_chunks, column_chunks, dtype)
    canvas.write_all(chunks)
    return canvas.blocks(0), bounds, shape, dtype


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """Neighbouring blocks that are filled chunk by chunk, in any order and from several threads.

    Attributes
    ----------
    bounds : ndarray of int64, shape (n_blocks + 1,)
        Rows of the blocks in the matrix.
    row_starts, column_starts : ndarray of int64
        Where the chunks begin in the matrix, and the last one ends.
    parts : list of ndarray of shape (n_rows, n_columns)
        Values of the blocks.
    """

    bounds: NDArray[np.int64]
    row_starts: NDArray[np.int64]
    column_starts: NDArray[np.int64]
    parts: list[NDArray[Any]]

    @classmethod
    def of(
        cls,
        bounds: NDArray[np.int64],
        row_chunks: Sequence[int],
        column_chunks: Sequence[int],
        dtype: np.dtype[Any],
    ) -> Self:
        row_starts = bounds[0] + np.concatenate([[0], np.cumsum(row_chunks)]).astype(np.int64)
        column_starts = np.concatenate([[0], np.cumsum(column_chunks)]).astype(np.int64)
        parts = [np.empty((n_rows, column_starts[-1]), dtype) for n_rows in np.diff(bounds)]
        return cls(bounds, row_starts, column_starts, parts)

    def write(self, chunk: Any, block_id: tuple[int, int]) -> None:
        """Check a chunk and write it into the blocks; `block_id` is its place among the chunks."""
        (top, bottom), (left, right) = (
            starts[i : i + 2].tolist()
            for starts, i in zip((self.row_starts, self.column_starts), block_id, strict=True)
        )
        _refuse_sparse(chunk)
        here = f"the chunk at row {top}, column {left} of the Dask array"
        if np.shape(chunk) != (bottom - top, right - left):
            raise DataError(
                f"{here} has shape {np.shape(chunk)}, and by the array's chunks it is {(bottom - top, right - left)}. "
                "Give the right chunks= where the array is made."
            )
        values = clean_dense(chunk, first_row=top, first_column=left)
        dtype = self.parts[0].dtype
        if not np.can_cast(values.dtype, dtype):
            raise DataError(
                f"{here} holds {np.asarray(chunk).dtype} that {dtype} cannot hold, and by the array's dtype it could. "
                "Give the right dtype= where the array is made."
            )
        for part, (start, stop) in zip(self.parts, pairwise(self.bounds.tolist()), strict=True):
            first, last = max(start, top), min(stop, bottom)
            if first < last:
                part[first - start : last - start, left:right] = values[first - top : last - top]

    def write_all(self, chunks: list[list[Any]]) -> None:
        """Write all chunks, each taken out of the lists: the memory of one is free before the next is needed."""
        for i, row in enumerate(chunks):
            for j in range(len(row)):
                chunk, row[j] = row[j], None
                self.write(chunk, (i, j))

    def blocks(self, first_index: int) -> tuple[DenseBlock, ...]:
        """Return the filled blocks, numbered from `first_index`."""
        starts = self.bounds[:-1].tolist()
        numbered = enumerate(zip(starts, self.parts, strict=True), first_index)
        return tuple(DenseBlock(index, start, part) for index, (start, part) in numbered)


def _dtype_of_any(given: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return what values of a dtype become whatever they are, or None if that depends on them."""
    if given.kind in "iu" and given.itemsize > 2:
        return None
    return value_dtype(np.empty(0), given)


def _refuse_sparse(chunk: Any) -> None:
    if is_sparse(chunk):
        raise SparseChunkError(
            f"a chunk of the Dask array is a {type(chunk).__name__}, and by the array's meta it is a NumPy array. "
            "Use UserItemMatrix.from_dask_array, or give the right meta= where the array is made."
        )


def _rows_of(array: Any, first_row: int, start: int, stop: int) -> Any:
    """Return rows ``[start, stop)`` of the matrix of an array that begins at `first_row`."""
    return array[start - first_row : stop - first_row]


def _runs_here(array: Any) -> bool:
    """Return whether Dask would compute an array on threads of this process, which can write into ours."""
    return dask.base.get_scheduler(collections=[array]) in (dask.threaded.get, dask.local.get_sync)


def _chunks_of(array: Any) -> list[list[Any]]:
    """Compute the chunks of an array, which are not put together as `compute` does."""
    (array,) = dask.optimize(array)
    get = dask.base.get_scheduler(collections=[array])
    return [list(row) for row in get(array.__dask_graph__(), array.__dask_keys__())]
