"""What is scored of users, brought to where that is done: mapped, placed once, or sent with each job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
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
    ids : pyarrow.Array of shape (n,), or None
    """

    factors: NDArray[np.float32]
    seen: SeenItems | None
    values: NDArray[Any] | None = None
    ids: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.factors)

    @classmethod
    def of(cls, model: Factors, *, with_seen: bool, with_ids: bool = False) -> Self:
        """Return those of all users of a model: with their seen items if these are wanted, or needed for scores."""
        ids = model.users.ids if with_ids else None
        if model.item_operator is None:
            return cls(model.user_factors, model.seen if with_seen else None, None, ids)
        return cls(model.user_factors, model.seen, model.training["values"], ids)

    def take(self, users: NDArray[np.int32]) -> UserRows:
        """Return the rows of some users, in memory of their own."""
        chosen = np.array(self.factors[users[0] : int(users[-1]) + 1] if consecutive(users) else self.factors[users])
        ids = None if self.ids is None else self.ids.take(pa.array(users))
        if self.seen is None:
            return UserRows(chosen, None, None, ids)
        indptr, where = self.seen.places(users)
        values = self.values
        if values is not None and len(values) > 1:
            values = np.array(values[where])
        return UserRows(chosen, SeenItems(indptr, np.array(self.seen.indices[where])), values, ids)

    def block(self, n_items: int) -> Block:
        """Return their rows of the training data."""
        assert self.seen is not None
        assert self.values is not None
        n = len(self.seen.indices)
        values = self.values if len(self.values) == n else np.full(n, self.values[0])
        return Block(0, 0, self.seen.indptr, self.seen.indices, values, n_items)


Chosen: TypeAlias = NDArray[np.int32] | range
"""Rows of an array; those that follow one another as a range, which travels in a few bytes."""


def _chosen(codes: NDArray[np.int32]) -> Chosen:
    return range(int(codes[0]), int(codes[-1]) + 1) if consecutive(codes) else codes


def _codes(chosen: Chosen) -> NDArray[np.int32]:
    return np.arange(chosen.start, chosen.stop, dtype=np.int32) if isinstance(chosen, range) else chosen


@dataclass(frozen=True, slots=True, eq=False)
class StoredUserRows:
    """A recipe of `UserRows`: codes and the place of a saved model, whose files the worker maps."""

    stored: StoredModel
    users: Chosen
    with_seen: bool
    with_values: bool
    with_ids: bool

    def load(self) -> UserRows:
        """Return the rows of these users."""
        seen, values = None, None
        (factors,) = self.stored.arrays("user_factors")
        if self.with_seen:
            seen = SeenItems(*self.stored.arrays("seen_indptr", "seen_indices"))
        if self.with_values:
            (values,) = self.stored.arrays("training_values")
        ids = self.stored.users().ids if self.with_ids else None
        return UserRows(factors, seen, values, ids).take(_codes(self.users))


@dataclass(frozen=True, slots=True, eq=False)
class PlacedUserRows:
    """A recipe of `UserRows`: positions among rows that were broadcast."""

    rows: Broadcast
    positions: Chosen

    def load(self) -> UserRows:
        """Return the rows at these positions."""
        rows: UserRows = self.rows.load()
        return rows.take(_codes(self.positions))


RowsOf: TypeAlias = Callable[[slice], UserRows | Recipe[UserRows]]
"""Gives what a job gets for a part of the users: rows, or a recipe of them."""


@contextmanager
def placed_rows(
    model: Factors, users: NDArray[np.int32], executor: Executor, *, with_seen: bool, with_ids: bool = False
) -> Iterator[RowsOf]:
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
    with_ids : bool
        Whether their ids are needed.
    """
    stored, where = model.stored, executor.capabilities
    rows = UserRows.of(model, with_seen=with_seen, with_ids=with_ids)
    if not where.isolated:
        memory = executor.broadcast(rows)  # no copy is made
        yield lambda part: PlacedUserRows(memory, users[part])
    elif where.shared_files and stored is not None:
        needed = rows.seen is not None, rows.values is not None, with_ids
        yield lambda part: StoredUserRows(stored, _chosen(users[part]), *needed)
    elif where.shared_files and _size(rows, len(users)) <= _MOST_PLACED:
        positions = range(len(users))
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
    if rows.ids is not None:
        per_user += rows.ids.nbytes
    return per_user * n_users // max(1, len(rows.factors))
