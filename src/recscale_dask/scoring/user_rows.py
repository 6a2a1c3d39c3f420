"""What is scored of users, brought to where that is done: mapped, placed once, or sent with each job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
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
        What they have in the training data.
    values : ndarray of shape (n_interactions,) or (1,), or None
        Of these items, as they were before weighting; one if they are all equal.
    """

    factors: NDArray[np.float32]
    seen: SeenItems | None
    values: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.factors)

    @classmethod
    def of(cls, model: Factors, *, with_seen: bool) -> Self:
        """Return those of all users of a model: with their seen items if these are wanted, or needed for scores."""
        if model.item_operator is None:
            return cls(model.user_factors, model.seen if with_seen else None)
        return cls(model.user_factors, model.seen, model.training["values"])

    def take(self, users: NDArray[np.int32]) -> UserRows:
        """Return the rows of some users, in memory of their own."""
        chosen = np.array(self.factors[users[0] : int(users[-1]) + 1] if consecutive(users) else self.factors[users])
        if self.seen is None:
            return UserRows(chosen, None)
        indptr, where = self.seen.places(users)
        values = self.values
        if values is not None and len(values) > 1:
            values = np.array(values[where])
        return UserRows(chosen, SeenItems(indptr, np.array(self.seen.indices[where])), values)

    def block(self, n_items: int) -> Block:
        """Return their rows of the training data."""
        assert self.seen is not None
        assert self.values is not None
        n = len(self.seen.indices)
        values = self.values if len(self.values) == n else np.full(n, self.values[0])
        return Block(0, 0, self.seen.indptr, self.seen.indices, values, n_items)


@dataclass(frozen=True, slots=True, eq=False)
class StoredUserRows:
    """A recipe of `UserRows`: codes and the place of a saved model, whose files the worker maps."""

    stored: StoredModel
    users: NDArray[np.int32]
    with_seen: bool
    with_values: bool

    def load(self) -> UserRows:
        """Return the rows of these users."""
        if not self.with_seen:
            (factors,) = self.stored.arrays("user_factors")
            return UserRows(factors, None).take(self.users)
        names = ("user_factors", "seen_indptr", "seen_indices", *(("training_values",) if self.with_values else ()))
        factors, indptr, indices, *values = self.stored.arrays(*names)
        return UserRows(factors, SeenItems(indptr, indices), *values).take(self.users)


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
        Whether their seen items are needed for more than scores.
    """
    stored, where = model.stored, executor.capabilities
    rows = UserRows.of(model, with_seen=with_seen)
    if not where.isolated:
        memory = executor.broadcast(rows)  # no copy is made
        yield lambda part: PlacedUserRows(memory, users[part])
    elif where.shared_files and stored is not None:
        yield lambda part: StoredUserRows(stored, users[part], rows.seen is not None, rows.values is not None)
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
    if rows.values is not None:
        per_user += rows.values.nbytes
    return per_user * n_users // max(1, len(rows.factors))
