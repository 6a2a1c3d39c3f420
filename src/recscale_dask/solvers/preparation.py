"""Weighting and scaling of a matrix before a fit: what has to be known of it, and its lazy blocks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from recscale_dask.errors import BlockFailed, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.portable import add, fold_tree
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Powers of the degrees; None is 1.

    Attributes
    ----------
    undo_users, undo_items : ndarray of float64, shape (n_users,) and (n_items,), or None
        ``Du^a`` and ``Di^b``: what rows of the factors are multiplied by.
    items : ndarray of float64, shape (n_items,), or None
        ``Di^-b``: what columns of the matrix are multiplied by.
    """

    undo_users: NDArray[np.float64] | None = None
    undo_items: NDArray[np.float64] | None = None
    items: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMatrix:
    """A matrix that was weighted and scaled, and what undoes the scaling.

    Attributes
    ----------
    matrix : UserItemMatrix
        Its blocks are transformed as they are loaded.
    scales : Scales
        What it was scaled by, and what undoes that.
    summary : Summary
        Of the data before weighting.
    energy : float
        Sum of the squared values of `matrix`.
    """

    matrix: UserItemMatrix
    scales: Scales
    summary: Summary
    energy: float


def check_preparation(weighting: str | None, user_scaling: float, item_scaling: float) -> None:
    """Raise an OptionError if there is no such weighting, or an exponent is not finite."""
    check_weighting(weighting)
    for name, exponent in (("user_scaling", user_scaling), ("item_scaling", item_scaling)):
        if not isinstance(exponent, int | float | np.number) or not np.isfinite(exponent):
            raise OptionError(f"{name} must be a finite number, such as 0 or 0.5; got {exponent!r}")


def prepare(matrix: UserItemMatrix, weighting: str | None, user_scaling: float, item_scaling: float) -> PreparedMatrix:
    """Read the matrix twice and return it weighted and scaled, lazily.

    Blocks are read on threads of this process, where in-memory ones are; sums are added in the tree of
    `fold_blocks`, so they do not depend on where the fit runs.

    Raises
    ------
    OptionError
        If there is no such weighting, or an exponent is not finite.
    DataError
        If values do not suit the weighting or scaling.
    """
    check_preparation(weighting, user_scaling, item_scaling)
    with ThreadsExecutor() if matrix.n_blocks > 1 else SerialExecutor() as executor:
        summary = fold_blocks(executor, summarize, matrix.sources, combine=operator.add, label="read matrix")
        weighted = [TransformedBlock(source, Transform(weighting, summary)) for source in matrix.sources]
        try:
            scales, energy = _measured(executor, weighted, user_scaling, item_scaling)
        except BlockFailed:
            for source in weighted:
                source.load()  # raises, here, the error about a value that does not suit the weighting
            raise
    if weighting is not None or user_scaling or item_scaling:
        matrix = matrix.transformed(Transform(weighting, summary, user_scaling, scales.items))
    return PreparedMatrix(matrix, scales, summary, energy)


def _measured(
    executor: Executor, weighted: Sequence[TransformedBlock], user_scaling: float, item_scaling: float
) -> tuple[Scales, float]:
    """Return what to scale by, and the sum of the squared values after that."""
    if not user_scaling and not item_scaling:
        return Scales(), fold_blocks(executor, _energy, weighted, combine=operator.add, label="energy")
    degrees = partial(_degrees, user_scaling=user_scaling)
    sums = list(map_blocks(executor, degrees, weighted, label="degrees"))
    columns, squares = fold_tree((each[1:] for each in sums), add)
    scales = Scales()
    if user_scaling:
        rows = np.concatenate([each[0] for each in sums])
        scales = replace(scales, undo_users=power_scale(rows, -user_scaling, "user"))
    if item_scaling:
        items = power_scale(columns, item_scaling, "item")
        squares = squares * np.square(items)
        scales = replace(scales, items=items, undo_items=power_scale(columns, -item_scaling, "item"))
    return scales, float(squares.sum())


def _degrees(block: Block, user_scaling: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the sums of rows and of columns, and of the squares in each column after scaling of the rows."""
    rows = row_sums(block)
    scale = np.ones_like(rows)
    if user_scaling:
        scale = power_scale(np.maximum(rows, 0), user_scaling, "user")  # a negative sum is refused later, by its number
    with np.errstate(over="ignore"):
        scaled = np.square(block.values * np.repeat(scale, np.diff(block.indptr)))
    squares = np.bincount(block.indices, weights=scaled, minlength=block.n_columns)
    return rows, column_sums(block), squares


def _energy(block: Block) -> float:
    with np.errstate(over="ignore"):
        return float(np.square(block.values, dtype=np.float64).sum())
