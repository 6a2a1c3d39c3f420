"""The factors and seen items of users, brought to where they are scored: mapped, placed once, or sent with each job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.contract import Broadcast, Executor
from recscale_dask.model import Factors, SeenItems, StoredModel, consecutive
from recscale_dask.types import Recipe

_MOST_PLACED = 1 << 30  # bytes; the rows of larger models in memory are sent with each job, and never all there twice


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

    def take(self, users: NDArray[np.int32]) -> UserRows:
        """Return the rows of some users, in memory of their own."""
        chosen = self.factors[users[0] : int(users[-1]) + 1] if consecutive(users) else self.factors[users]
        return UserRows(np.array(chosen), None if self.seen is None else self.seen.rows(users))


@dataclass(frozen=True, slots=True, eq=False)
class StoredUserRows:
    """A recipe of `UserRows`: codes and the place of a saved model, whose files the worker maps."""

    stored: StoredModel
    users: NDArray[np.int32]
    with_seen: bool

    def load(self) -> UserRows:
        """Return the rows of these users."""
        if not self.with_seen:
            (factors,) = self.stored.arrays("user_factors")
            return UserRows(factors, None).take(self.users)
        factors, indptr, indices = self.stored.arrays("user_factors", "seen_indptr", "seen_indices")
        return UserRows(factors, SeenItems(indptr, indices)).take(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedUserRows:
    """A recipe of `UserRows`: positions among rows that were broadcast."""

    rows: Broadcast
    positions: NDArray[np.int32]

    def load(self) -> UserRows:
        """Return the rows at these positions."""
        rows: UserRows = self.rows.load()
        return rows.take(self.positions)


RowsOf: TypeAlias = Callable[[slice], UserRows | Recipe[UserRows]]
"""Gives what a job gets for a part of the users: rows, or a recipe of them."""


@contextmanager
def placed_rows(model: Factors, users: NDArray[np.int32], executor: Executor, *, with_seen: bool) -> Iterator[RowsOf]:
    """Yield where jobs find the rows of their users; everything is freed at the end.

    Workers that share files with the driver map the files of a saved model, and otherwise one file of the
    rows of all these users. Workers elsewhere get the rows of a job with it: each row is needed once.

    Parameters
    ----------
    model : Factors
    users : ndarray of int32, shape (n,)
        Codes of all users of a run.
    executor : Executor
        Open.
    with_seen : bool
        Whether their seen items are needed.
    """
    stored, where = model.stored, executor.capabilities
    rows = UserRows(model.user_factors, model.seen if with_seen else None)
    if not where.isolated:
        memory = executor.broadcast(rows)  # no copy is made
        yield lambda part: PlacedUserRows(memory, users[part])
    elif where.shared_files and stored is not None:
        yield lambda part: StoredUserRows(stored, users[part], with_seen)
    elif where.shared_files and _size(rows, len(users)) <= _MOST_PLACED:
        positions = np.arange(len(users), dtype=np.int32)
        everyone = len(users) == len(model.users) and consecutive(users)
        file = executor.broadcast(rows if everyone else rows.take(users))
        try:
            yield lambda part: PlacedUserRows(file, positions[part])
        finally:
            file.release()
    else:
        yield lambda part: rows.take(users[part])


def _size(rows: UserRows, n_users: int) -> int:
    """Return about how many bytes the rows of some users are."""
    per_user = rows.factors.nbytes
    if rows.seen is not None:
        per_user += rows.seen.indices.nbytes + rows.seen.indptr.nbytes
    return per_user * n_users // max(1, len(rows.factors))
