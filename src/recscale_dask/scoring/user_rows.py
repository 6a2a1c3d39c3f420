"""The factors and seen items of some users: in memory, or as a recipe where workers map the model's files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.model import SeenItems, StoredModel, consecutive


@dataclass(frozen=True, slots=True, eq=False)
class UserRows:
    """What scoring needs of n users.

    Attributes
    ----------
    factors : ndarray of float32, shape (n, rank)
    seen : SeenItems of n rows, or None
        What they must not get.
    """

    factors: NDArray[np.float32]
    seen: SeenItems | None


@dataclass(frozen=True, slots=True, eq=False)
class StoredUserRows:
    """A recipe of `UserRows`: codes and the place of a saved model; the numbers do not travel."""

    stored: StoredModel
    users: NDArray[np.int32]
    with_seen: bool

    def load(self) -> UserRows:
        """Return the rows, read from the mapped files."""
        if not self.with_seen:
            (factors,) = self.stored.arrays("user_factors")
            return user_rows(factors, None, self.users)
        factors, indptr, indices = self.stored.arrays("user_factors", "seen_indptr", "seen_indices")
        return user_rows(factors, SeenItems(indptr, indices), self.users)


def user_rows(factors: NDArray[np.float32], seen: SeenItems | None, users: NDArray[np.int32]) -> UserRows:
    """Return the rows of some users, in memory of their own."""
    chosen = factors[users[0] : int(users[-1]) + 1] if consecutive(users) else factors[users]
    return UserRows(np.array(chosen), None if seen is None else seen.rows(users))
