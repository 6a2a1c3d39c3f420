"""What alternating least squares makes of stored values: weights and targets of a row's ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block


@dataclass(frozen=True, slots=True, eq=False)
class WeightedEntries:
    """The stored values of some rows as `recscale_dask.linalg.ridge.ridge_rows` takes them.

    Attributes
    ----------
    roots : ndarray of float32, shape (n_stored,)
        Roots of the weights that they have more than entries that are not stored.
    targets : ndarray of float32, shape (n_stored,)
        What each is to become, so that ``root times target`` is its part of the right side.
    constants : ndarray of float64, shape (n_stored,)
        What each adds to the objective if its score is zero.
    """

    roots: NDArray[np.float32]
    targets: NDArray[np.float32]
    constants: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImplicitEntries:
    """Preferences of 1 with a confidence of ``1 + alpha value``; what is not stored is 0 with a confidence of 1.

    Attributes
    ----------
    alpha : float
    """

    alpha: float

    def of(self, block: Block) -> WeightedEntries:
        """Return the entries of a block, whose values are not negative; one of 0 is as one that is not stored."""
        weights = self.alpha * block.values.astype(np.float32, copy=False)
        roots, stored = np.sqrt(weights), weights > 0
        constants = np.add(weights, 1.0, out=np.zeros(len(weights)), where=stored, dtype=np.float64)
        targets = np.divide(1 + weights, roots, out=np.zeros_like(roots), where=stored)
        return WeightedEntries(roots, targets, constants)


@dataclass(frozen=True, slots=True, eq=False)
class ExplicitEntries:
    """Ratings less the mean of all and the bias of their column; entries that are not stored do not count.

    Attributes
    ----------
    mean : float
    biases : ndarray of float32, shape (n_columns,)
    """

    mean: float
    biases: NDArray[np.float32]

    def of(self, block: Block) -> WeightedEntries:
        """Return the entries of a block."""
        rest = block.values.astype(np.float64) - self.mean - self.biases[block.indices]
        return WeightedEntries(np.ones(len(rest), np.float32), rest.astype(np.float32), np.square(rest))


def smallest_value(block: Block) -> tuple[float, int, int]:
    """Return the smallest value of a block, and the numbers of its row and column; 0 if there is none below."""
    if not len(block.values) or block.values.min() >= 0:
        return 0.0, 0, 0
    at = int(np.argmin(block.values))
    return float(block.values[at]), block.start + int(block.row_numbers()[at]), int(block.indices[at])


Entries: TypeAlias = ImplicitEntries | ExplicitEntries


@dataclass(frozen=True, slots=True)
class Penalty:
    """``weight (n + offset n_columns)^exponent`` for the squares of a row with n of its `n_columns` entries stored.

    Attributes
    ----------
    weight, exponent, offset : float
    """

    weight: float
    exponent: float
    offset: float

    def of(self, block: Block) -> NDArray[np.float32]:
        """Return that of each row of a block, shape (n_rows,)."""
        lengths = np.diff(block.indptr) + self.offset * block.n_columns
        penalties: NDArray[np.float32] = (self.weight * np.power(lengths, self.exponent)).astype(np.float32)
        return penalties
