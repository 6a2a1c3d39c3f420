"""Recommendations of a model: the best unseen items of each user, best first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.topk import TopK, TopKQuery, run_top_k

BATCH_USERS = 2048
"""Users per job; fixed, so that partitions of written recommendations are the same everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class RecommendRequest:
    """Which users get which items.

    Attributes
    ----------
    users : ndarray of int32, shape (n,)
        User codes, in the order of the answer.
    items : ndarray of int32, shape (n_candidates,) or None
        Item codes that may be recommended, ascending; None is all.
    k : int
        Items per user at most.
    exclude_seen : bool
        Leave out the items of the training data.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32] | None
    k: int
    exclude_seen: bool = True

    @property
    def n_batches(self) -> int:
        """Number of jobs; one, with an empty answer, if there are no users."""
        return max(1, -(-len(self.users) // BATCH_USERS))


def request(
    model: Factors,
    users: Any = None,
    k: int = 10,
    *,
    exclude_seen: bool = True,
    allow: Any = None,
    deny: Any = None,
) -> RecommendRequest:
    """Check what a user asks for and return it in codes.

    Raises
    ------
    UnknownIdError
        If a user or item id is not in the model.
    OptionError
        If k is below 1.
    """
    k = whole_number(k, "k")
    if users is None:
        user_codes = np.arange(len(model.users), dtype=np.int32)
    else:
        user_codes = model.users.codes(_sequence(users, "users"), kind="user")
    items: NDArray[np.int32] | None = None
    if allow is not None or deny is not None:
        allowed = np.full(len(model.items), allow is None)
        if allow is not None:
            allowed[model.items.codes(_sequence(allow, "allow"), kind="item")] = True
        if deny is not None:
            allowed[model.items.codes(_sequence(deny, "deny"), kind="item")] = False
        items = np.flatnonzero(allowed).astype(np.int32)
    return RecommendRequest(user_codes, items, k, exclude_seen)


def _sequence(ids: Any, what: str) -> Any:
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise OptionError(f"{what} must be a list of ids; got the single id {ids!r}. Write [{ids!r}].")
    return ids


def queries(model: Factors, wanted: RecommendRequest, batches: range | None = None) -> Iterator[TopKQuery]:
    """Yield the jobs of a request, each with the factors and seen items of its own users only."""
    positions: NDArray[np.int32] | None = None
    if wanted.items is not None:
        positions = np.full(len(model.items), -1, np.int32)
        positions[wanted.items] = np.arange(len(wanted.items), dtype=np.int32)
    for batch in batches if batches is not None else range(wanted.n_batches):
        users = wanted.users[batch * BATCH_USERS : (batch + 1) * BATCH_USERS]
        excluded = None
        if wanted.exclude_seen:
            excluded = model.seen.rows(users)
            if positions is not None:
                excluded = _among_candidates(excluded, positions)
        yield TopKQuery(users, np.ascontiguousarray(model.user_factors[users]), wanted.k, excluded)


def _among_candidates(excluded: SeenItems, positions: NDArray[np.int32]) -> SeenItems:
    """Return excluded items as positions among the candidates, without those that are none."""
    found = positions[excluded.indices]
    kept = np.concatenate([[0], np.cumsum(found >= 0)])
    return SeenItems(kept[excluded.indptr], found[found >= 0])


def candidate_factors(model: Factors, wanted: RecommendRequest) -> NDArray[np.float32]:
    """Return the factors of the items that may be recommended."""
    return model.item_factors if wanted.items is None else model.item_factors[wanted.items]


def recommend_batches(
    model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore
) -> Iterator[TopK]:
    """Yield the recommendations of each batch of users, in order; candidates are item codes."""
    answers = run_top_k(
        executor,
        queries(model, wanted),
        candidate_factors(model, wanted),
        total=wanted.n_batches,
        label="recommend",
        observer=observer,
    )
    for best in answers:
        yield best if wanted.items is None else replace(best, candidates=wanted.items[best.candidates])


def to_table(model: Factors, best: TopK) -> pa.Table:
    """Return recommendations with their original ids: user, item, rank (from 1), score."""
    users = np.repeat(best.rows, best.counts)
    return pa.table(
        {
            "user": model.users.take(users),
            "item": model.items.take(best.candidates),
            "rank": best.ranks(),
            "score": best.scores,
        }
    )


def recommend(model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore) -> pa.Table:
    """Return all recommendations as one table."""
    batches = recommend_batches(model, wanted, executor, observer=observer)
    return pa.concat_tables([to_table(model, best) for best in batches])
