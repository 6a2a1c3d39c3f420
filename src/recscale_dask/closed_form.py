"""Factors of users that were not fitted: what a solver offers, and how much of their rows it explains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block


@dataclass(frozen=True, slots=True)
class Energy:
    """Squared lengths of the training rows as they are fitted: weighted, scaled and centred.

    Attributes
    ----------
    total : float
        Of the rows.
    explained : float
        Of their projections on the space of the item factors.
    left_out : float
        Of their projections if each row had been left out of the fit, estimated: what to expect of new
        users who are like these, because factors fit the noise of their own rows too.
    """

    total: float
    explained: float
    left_out: float

    @classmethod
    def of(cls, training: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return what a model holds as ``training["energy"]``, or None."""
        return cls(*map(float, training["energy"])) if "energy" in training else None

    def numbers(self) -> NDArray[np.float64]:
        """Return all three as an array, which a model can hold."""
        return np.array([self.total, self.explained, self.left_out])


@dataclass(frozen=True, slots=True, eq=False)
class FoldedRows:
    """Factors of users that were not fitted, and the energy of each one's row.

    Attributes
    ----------
    user_factors : ndarray of float32, shape (n_rows, rank)
    total, explained : ndarray of float64, shape (n_rows,)
        Of each row; see `Energy`.
    """

    user_factors: NDArray[np.float32]
    total: NDArray[np.float64]
    explained: NDArray[np.float64]


class ClosedForm(ABC):
    """What a fitted solver makes of the rows of new users, in closed form; travels to the workers.

    Made by `recscale_dask.solvers.base.Solver.closed_form`.
    """

    @abstractmethod
    def fold(self, block: Block) -> FoldedRows:
        """Return the factors of the users of a block: its rows hold values as they were before weighting."""

    @abstractmethod
    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return what each stored value of a block adds to its user's score of an item code, shape (n_stored,)."""
