"""How much the columns of a matrix vary, from its stored values alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.dense import DenseBlock, DenseMatrix, RowBlock
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.products import sums

_PIECES = 64  # of a dense block, so that what is computed of one is small


@dataclass(frozen=True, slots=True, eq=False)
class ColumnMoments:
    """Where the columns of some rows lie, and how far those rows are from there.

    Attributes
    ----------
    n_rows : int
        Number of rows, those without values too.
    means : ndarray of float64, shape (n_columns,)
        Mean of each column; what is not stored is zero.
    squares : float
        Sum of the squared distances from the means, over all entries.
    """

    n_rows: int
    means: NDArray[np.float64]
    squares: float


def column_moments(matrix: UserItemMatrix | DenseMatrix) -> ColumnMoments:
    """Return the moments of the columns of a matrix with at least one row, in one read of its blocks.

    Blocks are read in this process and added in the tree of `fold_blocks`, so the result does not depend on
    where a fit runs. Distances are taken from the means of each block, never as a difference of
    large sums (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979).
    """
    with SerialExecutor() as executor:
        moments: ColumnMoments = fold_blocks(
            executor, moments_of_block, matrix.sources, combine=joined, label="column moments"
        )
    return moments


def total_variance(matrix: UserItemMatrix | DenseMatrix) -> float:
    """Return the sum over the columns of their variance, ``numpy.var(matrix, axis=0).sum()``."""
    moments = column_moments(matrix)
    return moments.squares / moments.n_rows


def moments_of_block(block: RowBlock) -> ColumnMoments:
    """Return the moments of one block: a task for `fold_blocks`."""
    means = sums(block)[1] / max(1, block.n_rows)
    if isinstance(block, DenseBlock):
        squares = sum(float(np.square(row - means).sum()) for row in np.array_split(block.values, _PIECES))
        return ColumnMoments(block.n_rows, means, squares)
    empty = block.n_rows - np.bincount(block.indices, minlength=block.n_columns)
    stored = np.square(block.values - means[block.indices]).sum()
    return ColumnMoments(block.n_rows, means, float(stored + empty @ np.square(means)))


def joined(first: ColumnMoments, second: ColumnMoments) -> ColumnMoments:
    """Return the moments of the rows of both."""
    n_rows = first.n_rows + second.n_rows
    share = second.n_rows / max(1, n_rows)
    apart = second.means - first.means
    between = first.n_rows * share * float(apart @ apart)
    return ColumnMoments(n_rows, first.means + share * apart, first.squares + second.squares + between)
