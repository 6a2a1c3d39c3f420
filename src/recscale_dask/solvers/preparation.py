"""Weighting and scaling of a matrix before a fit: what has to be known of it, and its lazy blocks."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number
from recscale_dask.data.blocks import Block
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import (
    Summary,
    Transform,
    TransformedBlock,
    check_weighting,
    column_sums,
    power_scale,
    row_sums,
    summarize,
)
from recscale_dask.errors import OptionError, StoreError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.portable import add
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.solvers.reading import reading_executor
from recscale_dask.tree import fold_tree


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMatrix:
    """A matrix that was weighted and scaled, and what undoes the scaling.

    Attributes
    ----------
    matrix : UserItemMatrix
        Its blocks are transformed as they are loaded.
    item_unscale : ndarray of float64, shape (n_items,), or None
        ``Di^b``: what rows of the item factors are multiplied by; None is 1.
    item_scale : ndarray of float64, shape (n_items,), or None
        ``Di^-b``: what columns of the matrix were multiplied by.
    summary : Summary
        Of the data before weighting.
    """

    matrix: UserItemMatrix
    item_unscale: NDArray[np.float64] | None
    item_scale: NDArray[np.float64] | None
    summary: Summary


def check_preparation(weighting: str | None, user_scaling: float, item_scaling: float) -> None:
    """Raise an OptionError if there is no such weighting, or an exponent is not finite."""
    check_weighting(weighting)
    for name, exponent in (("user_scaling", user_scaling), ("item_scaling", item_scaling)):
        if not is_number(exponent) or not np.isfinite(exponent):
            raise OptionError(f"{name} must be a finite number, such as 0 or 0.5; got {exponent!r}")


def prepare(
    matrix: UserItemMatrix, weighting: str | None, user_scaling: float, item_scaling: float, executor: Executor
) -> PreparedMatrix:
    """Read the matrix once (twice with scaling) and return it weighted and scaled, lazily.

    Blocks of a store are read by the workers of the executor, others on threads of this process, where they are; sums
    are added in the tree of `fold_blocks`, so they do not depend on that.

    Raises
    ------
    OptionError
        If there is no such weighting, or an exponent is not finite.
    DataError
        If values do not suit the weighting or scaling.
    StoreError
        If a store does not hold what its manifest says.
    """
    check_preparation(weighting, user_scaling, item_scaling)
    with reading_executor(matrix, executor) as where:
        summary = fold_blocks(where, summarize, matrix.sources, combine=operator.add, label="read matrix")
        if matrix.fingerprint not in (None, summary.digest.hex()):
            matrix.verify()
            raise StoreError(
                "the blocks are not those of the store that the matrix was opened from: it was altered. "
                "Open it again, or ingest the data again."
            )
        weigh = Transform(weighting, summary)
        item_unscale = item_scale = None
        if user_scaling or item_scaling:
            weighted = [TransformedBlock(source, weigh) for source in matrix.sources]
            sums = map_blocks(where, _degrees, weighted, label="degrees")
            users, columns = _gathered(sums)
            if user_scaling:
                power_scale(users, user_scaling, "user")  # or an error
            if item_scaling:
                item_scale = power_scale(columns, item_scaling, "item")
                item_unscale = power_scale(columns, -item_scaling, "item")
    if weighting is not None or user_scaling or item_scaling:
        matrix = matrix.transformed(Transform(weighting, summary, user_scaling, item_scale))
    return PreparedMatrix(matrix, item_unscale, item_scale, summary)


def _gathered(sums: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sums of all rows, and of all columns, of which few are in memory at once."""
    rows: list[NDArray[Any]] = []

    def columns() -> Iterator[NDArray[Any]]:
        for of_rows, of_columns in sums:
            rows.append(of_rows)
            yield of_columns

    total = fold_tree(columns(), add)
    return np.concatenate(rows), total


def _degrees(block: Block) -> tuple[NDArray[Any], NDArray[Any]]:
    return row_sums(block), column_sums(block)
