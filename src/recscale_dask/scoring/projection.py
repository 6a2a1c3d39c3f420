"""Rows times a small dense matrix: lazily on a Dask array, or block by block on an executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.sparse import clean_csr, is_sparse
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks

if TYPE_CHECKING:
    import dask.array


def projected_blocks(
    matrix: UserItemMatrix, weights: NDArray[Any], *, executor: Executor, observer: Observer = ignore
) -> NDArray[Any]:
    """Return ``matrix @ weights``, dense and in memory, shape (n_users, width).

    Parameters
    ----------
    matrix : UserItemMatrix
        With at least one row.
    weights : ndarray of float32 or float64, shape (n_items, width)
        Sent to the workers once.
    """
    constants = {"weights": weights}
    return np.concatenate(
        list(map_blocks(executor, image, matrix.sources, constants, label="project", observer=observer))
    )


def image(block: Block, *, weights: NDArray[Any]) -> NDArray[Any]:
    """Return ``rows @ weights`` of one block: a task for `map_blocks`."""
    product: NDArray[Any] = block.to_scipy() @ weights
    return product


def projected_array(array: dask.array.Array, weights: NDArray[Any]) -> dask.array.Array:
    """Return ``array @ weights`` as a lazy Dask array of dense chunks, one chunk wide; nothing is computed.

    Parameters
    ----------
    array : dask.array.Array of shape (n_rows, n_columns)
        Chunks are NumPy arrays, SciPy sparse matrices or arrays, or pydata/sparse arrays, cut in any way; how many
        rows there are may be unknown. Values that are not finite raise a DataError when the product is
        computed.
    weights : ndarray of float32 or float64, shape (n_columns, width)
        In memory.
    """
    import dask.array

    dtype = np.result_type(array.dtype, weights.dtype)
    parts = dask.array.from_array(weights, chunks=(array.chunks[1], weights.shape[1]))
    empty = np.empty((0, 0), dtype)
    return dask.array.blockwise(_chunk, "ik", array, "ij", parts, "jk", result=dtype, dtype=dtype, meta=empty)


def _chunk(pieces: list[Any], weights: list[NDArray[Any]], result: np.dtype[Any]) -> NDArray[Any]:
    """Return the product of the chunks of one chunk row with the weights of their columns."""
    with single_threaded_blas():
        images = (_finite(piece) @ part for piece, part in zip(pieces, weights, strict=True))
        return np.asarray(sum(images), result)


def _finite(piece: Any) -> Any:
    """Return a chunk as SciPy or NumPy multiply it."""
    if not is_sparse(piece):
        dense = np.asarray(piece)
        if dense.ndim == 2 and dense.dtype.kind in "fiub" and np.isfinite(dense).all():
            return dense
    return clean_csr(piece)
