"""Scores as rectangles: lazily as a Dask array, or block by block on an executor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks
from recscale_dask.model import Factors
from recscale_dask.scoring.row_scores import RowScorer
from recscale_dask.scoring.user_rows import UserRows

if TYPE_CHECKING:
    import dask.array

_CHUNK_BYTES = 1 << 26  # of a chunk of rows
LIMIT = 4 << 30
"""Bytes of the largest rectangle that is made dense in one piece, unless another limit is asked for."""


def rows_per_chunk(n_columns: int) -> int:
    """Return how many rows of float32 make a chunk; a function of the width alone."""
    return max(1, _CHUNK_BYTES // (4 * max(1, n_columns)))


@dataclass(frozen=True, slots=True, eq=False)
class ScoredColumns:
    """The columns of a model with an item operator: whole rows are scored, and these items taken of them.

    Attributes
    ----------
    scorer : RowScorer
    items : ndarray of int32, or None
        Item codes; None is all.
    """

    scorer: RowScorer
    items: NDArray[np.int32] | None

    def __len__(self) -> int:
        return self.scorer.n_items if self.items is None else len(self.items)


Rows: TypeAlias = NDArray[np.float32] | UserRows
Columns: TypeAlias = NDArray[np.float32] | ScoredColumns


def sides(model: Factors, users: NDArray[np.int32] | None, items: NDArray[np.int32] | None) -> tuple[Rows, Columns]:
    """Return the rows and columns of a rectangle of user and item codes; None is all."""
    if model.item_operator is not None:
        rows = UserRows.of(model, with_seen=False)
        return rows if users is None else rows.take(users), ScoredColumns(RowScorer.of(model), items)
    return (
        model.user_factors if users is None else model.user_factors[users],
        model.item_factors if items is None else model.item_factors[items],
    )


def rectangle(rows: Rows, *, columns: Columns) -> NDArray[np.float32]:
    """Return the scores of rows and columns, shape (n_rows, n_columns): a task for `map_blocks`.

    Of factors they are ``rows @ columns.T``.
    """
    if isinstance(columns, ScoredColumns):
        assert isinstance(rows, UserRows)
        out = np.empty((len(rows), len(columns)), np.float32)
        for part, scores in columns.scorer.blocks(rows):
            out[part] = scores if columns.items is None else scores[:, columns.items]
        return out
    assert isinstance(rows, np.ndarray)
    product: NDArray[np.float32] = rows @ columns.T
    return product


def reconstruct_array(rows: Rows, columns: Columns, limit: int | None = LIMIT) -> dask.array.Array:
    """Return the scores of rows and columns as a lazy Dask array in chunks of whole rows; nothing is computed.

    Parameters
    ----------
    rows, columns : ndarray of float32, shape (n, rank), or what `sides` returns
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
        graph[name, i, 0] = (_chunk, _rows_of(rows, start, height), f"{name}-columns")
    if not starts:
        graph[name, 0, 0] = (_chunk, rows, f"{name}-columns")
    heights = tuple(min(height, len(rows) - start) for start in starts) or (0,)
    array = Rectangle(graph, name, (heights, (len(columns),)), dtype=np.float32)
    array.limit = limit
    return array


def _rows_of(rows: Rows, start: int, height: int) -> Rows:
    if isinstance(rows, UserRows):
        return rows.take(np.arange(start, min(start + height, len(rows)), dtype=np.int32))
    return np.ascontiguousarray(rows[start : start + height])


def _chunk(rows: Rows, columns: Columns) -> NDArray[np.float32]:
    with single_threaded_blas():
        return rectangle(rows, columns=columns)


def reconstruct_blocks(
    rows: Rows,
    columns: Columns,
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> Iterator[NDArray[np.float32]]:
    """Yield the scores of rows and columns in blocks of rows, in order: the chunks of `reconstruct_array`."""
    height = rows_per_chunk(len(columns))
    starts = range(0, len(rows), height)
    blocks = (_rows_of(rows, start, height) for start in starts)
    constants = {"columns": np.ascontiguousarray(columns) if isinstance(columns, np.ndarray) else columns}
    return map_blocks(executor, rectangle, blocks, constants, label="reconstruct", total=len(starts), observer=observer)
