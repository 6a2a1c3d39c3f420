"""The two kinds of data that alternating least squares fits, and what the rows of either side are solved against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.tall import TallAlgebra
from recscale_dask.solvers.als_entries import ExplicitEntries, ImplicitEntries, Penalty
from recscale_dask.solvers.als_rows import EXACT, Method, RowSystem, gram_of

_START = 0.1  # length of the first rows


class Against(NamedTuple):
    """What rows are solved against.

    Attributes
    ----------
    system : RowSystem
    columns : ndarray of float32, shape (n_columns, n_unknowns)
        Rows of the other side, in the axes of the system.
    rotation : ndarray of float32, shape (n_unknowns, n_unknowns)
        What takes both sides there.
    """

    system: RowSystem
    columns: NDArray[np.float32]
    rotation: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(ABC):
    """What is fitted: rows of unknowns for users and items.

    Attributes
    ----------
    penalty : Penalty
    nonnegative : bool
        Whether factors are not to be negative.
    """

    penalty: Penalty
    nonnegative: bool

    @property
    def last_method(self) -> Method:
        """How the rows of users are solved for when those of items are final."""
        return Method(nonnegative=True) if self.nonnegative else EXACT

    @abstractmethod
    def start(self, n_items: int, rank: int, seed: int) -> NDArray[np.float32]:
        """Return the first rows of items."""

    @abstractmethod
    def against(self, columns: NDArray[np.float32], gram: NDArray[np.float64], algebra: TallAlgebra) -> Against:
        """Return what rows are solved against, in the axes that suit it, given the columns and their Gram matrix."""

    @abstractmethod
    def final(self, items: NDArray[np.float32]) -> RowSystem:
        """Return what rows of users are solved against, given items that `against` returned."""

    @abstractmethod
    def without_items(self, users: NDArray[np.float32], empty: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the row of users without items, given all rows and which of them have none."""

    @abstractmethod
    def user_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the factors of a model: their product with those of items is the score."""

    @abstractmethod
    def item_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the factors of a model."""

    @abstractmethod
    def user_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return what `user_factors` was made of, but for rounding."""

    @abstractmethod
    def item_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return what `item_factors` was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitKind(Kind):
    """Confidence in preferences: ``sum c (p - x y)^2`` over all entries, and penalties.

    Attributes
    ----------
    alpha : float
    """

    alpha: float

    def start(self, n_items: int, rank: int, seed: int) -> NDArray[np.float32]:
        """Return the first rows of items."""
        return _random_rows(n_items, rank, seed, nonnegative=self.nonnegative)

    def against(self, columns: NDArray[np.float32], gram: NDArray[np.float64], algebra: TallAlgebra) -> Against:
        """Return what rows are solved against, in the axes of the Gram matrix, which point to their largest entries."""
        if self.nonnegative:
            return Against(self._system(columns, gram), columns, np.eye(len(gram), dtype=np.float32))
        values, vectors = np.linalg.eigh(gram)
        rotation = np.ascontiguousarray(vectors[:, ::-1]).astype(np.float32)
        columns = algebra.times(columns, rotation)
        signs = algebra.signs(columns).astype(np.float32)
        columns *= signs
        return Against(self._system(columns, np.diag(np.maximum(values[::-1], 0.0))), columns, rotation * signs)

    def final(self, items: NDArray[np.float32]) -> RowSystem:
        """Return what rows of users are solved against: from the items alone, so that a model can make it again."""
        if self.nonnegative:
            return self._system(items, gram_of(items))
        return self._system(items, np.diag(np.square(items, dtype=np.float64).sum(axis=0)))

    def without_items(self, users: NDArray[np.float32], empty: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the mean of the others: it ranks items by their mean score, so by popularity as the model sees it."""
        others = max(1, len(users) - int(np.count_nonzero(empty)))
        mean: NDArray[np.float32] = (users.sum(axis=0, dtype=np.float64) / others).astype(np.float32)
        return mean

    def user_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows themselves."""
        return rows

    def item_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows themselves."""
        return rows

    def user_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return the factors themselves."""
        return np.ascontiguousarray(factors)

    def item_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return the factors themselves."""
        return np.ascontiguousarray(factors)

    def _system(self, columns: NDArray[np.float32], gram: NDArray[np.float64]) -> RowSystem:
        return RowSystem.of(columns, gram, ImplicitEntries(self.alpha), self.penalty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitKind(Kind):
    """Ratings: ``sum (r - mean - b_u - b_i - x y)^2`` over stored entries, and penalties.

    A row has a bias behind its factors, which may be negative in any case.

    Attributes
    ----------
    mean : float
    bias_penalty : float
        Of the square of a bias.
    """

    mean: float
    bias_penalty: float

    def start(self, n_items: int, rank: int, seed: int) -> NDArray[np.float32]:
        """Return the first rows of items: biases are 0."""
        factors = _random_rows(n_items, rank, seed, nonnegative=self.nonnegative)
        return np.concatenate([factors, np.zeros((n_items, 1), np.float32)], axis=1)

    def against(self, columns: NDArray[np.float32], gram: NDArray[np.float64], algebra: TallAlgebra) -> Against:
        """Return what rows are solved against; entries that are not stored add nothing."""
        return Against(self.final(columns), columns, np.eye(len(gram), dtype=np.float32))

    def final(self, items: NDArray[np.float32]) -> RowSystem:
        """Return what rows of users are solved against."""
        columns, nothing = items.copy(), np.zeros((items.shape[1], items.shape[1]))
        columns[:, -1] = 1.0
        entries = ExplicitEntries(self.mean, items[:, -1].copy())
        return RowSystem.of(columns, nothing, entries, self.penalty, self.bias_penalty)

    def without_items(self, users: NDArray[np.float32], empty: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return zeros: the mean and the biases of items are left."""
        return np.zeros(users.shape[1], np.float32)

    def user_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return factors, the mean and the bias of the user, and 1."""
        return np.column_stack(
            [rows[:, :-1], rows[:, -1:] + np.float32(self.mean), np.ones((len(rows), 1), np.float32)]
        )

    def item_factors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return factors, 1, and the bias of the item."""
        return np.column_stack([rows[:, :-1], np.ones((len(rows), 1), np.float32), rows[:, -1:]])

    def user_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return factors and bias."""
        rows = np.array(factors[:, :-1])
        rows[:, -1] -= np.float32(self.mean)
        return rows

    def item_rows(self, factors: NDArray[Any]) -> NDArray[np.float32]:
        """Return factors and bias."""
        return np.ascontiguousarray(np.delete(factors, -2, axis=1))


def _random_rows(n_rows: int, rank: int, seed: int, *, nonnegative: bool) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((n_rows, rank), np.float32) * np.float32(_START / np.sqrt(rank))
    return np.abs(rows) if nonnegative else rows
