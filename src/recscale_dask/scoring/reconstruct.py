"""The low-rank product, as rectangles: lazily as a Dask array, or block by block on an executor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks

if TYPE_CHECKING:
    import dask.array

_CHUNK_BYTES = 1 << 26  # of a chunk of rows
LIMIT = 4 << 30
"""Bytes of the largest rectangle that is made dense in one piece, unless another limit is asked for."""


def rows_per_chunk(n_columns: int) -> int:
    """Return how many rows of float32 make a chunk; a function of the width alone."""
    return max(1, _CHUNK_BYTES // (4 * max(1, n_columns)))


def rectangle(rows: NDArray[np.float32], *, columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``rows @ columns.T``, shape (n_rows, n_columns): a task for `map_blocks`."""
    product: NDArray[np.float32] = rows @ columns.T
    return product


def reconstruct_array(
    rows: NDArray[np.float32], columns: NDArray[np.float32], limit: int | None = LIMIT
) -> dask.array.Array:
    """Return ``rows @ columns.T`` as a lazy Dask array in chunks of whole rows; nothing is computed.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, rank)
    columns : ndarray of float32, shape (n_columns, rank)
    limit : int or None
        See `recscale_dask.scoring.rectangle.Rectangle`.
    """
    from dask.base import tokenize

    from recscale_dask.scoring.rectangle import Rectangle

    height = rows_per_chunk(len(columns))
    starts = range(0, len(rows), height)
    name = "reconstruct-" + tokenize(rows, columns)
    graph: dict[Any, Any] = {f"{name}-columns": columns}
    for i, start in enumerate(starts):
        graph[name, i, 0] = (_chunk, rows[start : start + height], f"{name}-columns")
    if not starts:
        graph[name, 0, 0] = (_chunk, rows, f"{name}-columns")
    heights = tuple(min(height, len(rows) - start) for start in starts) or (0,)
    array = Rectangle(graph, name, (heights, (len(columns),)), dtype=np.float32)
    array.limit = limit
    return array


def _chunk(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    with single_threaded_blas():
        return rectangle(rows, columns=columns)


def reconstruct_blocks(
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> Iterator[NDArray[np.float32]]:
    """Yield ``rows @ columns.T`` in blocks of rows, in order: the chunks of `reconstruct_array`, bit for bit."""
    height = rows_per_chunk(len(columns))
    starts = range(0, len(rows), height)
    blocks = (np.ascontiguousarray(rows[start : start + height]) for start in starts)
    constants = {"columns": np.ascontiguousarray(columns)}
    return map_blocks(executor, rectangle, blocks, constants, label="reconstruct", total=len(starts), observer=observer)
