"""Recommendations of a model: the best unseen items of each user, best first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import load
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.topk_candidates import Candidates, prepare_candidates
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.filters import (
    Unknown,
    among,
    candidate_codes,
    chosen_users,
    known_codes,
    lists_of_users,
    merged,
)
from recscale_dask.scoring.topk import TopK, TopKQuery, top_k
from recscale_dask.scoring.user_rows import RowsOf, UserRows, placed_rows
from recscale_dask.types import Recipe

BATCH_USERS = 8192
"""Users per job at most; fixed, so that partitions of written recommendations are the same everywhere.

Fewer make Dask and Spark, which take milliseconds for each job, slower: see benchmarks/recommend_to.py.
"""

_BATCH_ROWS = 1 << 20  # rows per job at most, for a large k


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
    allowed, denied : SeenItems of n rows, or None
        Item codes that each of `users` may get only, or must not get.
    min_score : float
        Items with a score below it are left out.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32] | None
    k: int
    exclude_seen: bool = True
    allowed: SeenItems | None = None
    denied: SeenItems | None = None
    min_score: float = -np.inf

    @property
    def batch_users(self) -> int:
        """Users per job; a function of k alone."""
        return max(1, min(BATCH_USERS, _BATCH_ROWS // self.k))

    @property
    def n_batches(self) -> int:
        """Number of jobs; one, with an empty answer, if there are no users."""
        return max(1, -(-len(self.users) // self.batch_users))


def request(
    model: Factors,
    users: Any = None,
    k: int = 10,
    *,
    exclude_seen: bool = True,
    allow: Any = None,
    deny: Any = None,
    min_score: float | None = None,
    unknown: Unknown = "raise",
) -> RecommendRequest:
    """Check what a user asks for and return it in codes.

    Parameters
    ----------
    users : sequence of ids, optional
        By default all.
    allow, deny : sequence of item ids, or Interactions, optional
        The same for all users, or the pairs that are allowed only or denied.
    unknown : {"raise", "skip"}
        What becomes of ids that the model does not know.

    Raises
    ------
    UnknownIdError
        If a user or item id is not in the model, unless it is to be skipped.
    DataError
        If a user is there twice, or no pair belongs to the model.
    OptionError
        If k is below 1, or another option is none.
    """
    k = whole_number(k, "k")
    if not isinstance(exclude_seen, bool | np.bool_):
        raise OptionError(
            f"exclude_seen is True or False: the model knows its own training data; got a "
            f"{type(exclude_seen).__name__}. Leave out other interactions with deny=."
        )
    codes = chosen_users(model, users, unknown)
    everyone: dict[str, NDArray[np.int32] | None] = {}
    by_user: dict[str, SeenItems | None] = {}
    for what, given in (("allow", allow), ("deny", deny)):
        pairs = isinstance(given, Interactions)
        by_user[what] = lists_of_users(model, given, codes, what, unknown) if pairs else None
        everyone[what] = None if given is None or pairs else known_codes(model.items, given, what, "item", unknown)
    return RecommendRequest(
        codes,
        candidate_codes(model, **everyone),
        k,
        bool(exclude_seen),
        by_user["allow"],
        by_user["deny"],
        -np.inf if min_score is None else _number(min_score),
    )


def _number(min_score: Any) -> float:
    try:
        number = float(min_score)
    except (TypeError, ValueError):
        number = np.nan
    if np.isnan(number):
        raise OptionError(f"min_score must be a number; got {min_score!r}")
    return number


# -- jobs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One job: some users, and what is theirs alone.

    Attributes
    ----------
    users : ndarray of int32, shape (n,)
        User codes.
    rows : UserRows, or a Recipe of them
        Their factors and seen items, or where a worker finds them.
    allowed, denied : SeenItems or None
        See `RecommendRequest`.
    """

    users: NDArray[np.int32]
    rows: UserRows | Recipe[UserRows]
    allowed: SeenItems | None
    denied: SeenItems | None


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What holds for all users of a request; see `RecommendRequest`."""

    k: int
    min_score: float
    items: NDArray[np.int32] | None
    n_items: int


def batches(wanted: RecommendRequest, rows_of: RowsOf, numbers: Iterable[int] | None = None) -> Iterator[Batch]:
    """Yield the jobs of a request, by default all; `rows_of` is that of `placed_rows`."""
    height = wanted.batch_users
    for number in range(wanted.n_batches) if numbers is None else numbers:
        part = slice(number * height, (number + 1) * height)
        lists = _rows_of(wanted.allowed, part), _rows_of(wanted.denied, part)
        yield Batch(wanted.users[part], rows_of(part), *lists)


def _rows_of(lists: SeenItems | None, part: slice) -> SeenItems | None:
    if lists is None:
        return None
    indptr = lists.indptr[part.start : part.stop + 1]
    return SeenItems(indptr - indptr[0], lists.indices[indptr[0] : indptr[-1]])


def constants(model: Factors, wanted: RecommendRequest) -> dict[str, Any]:
    """Return what every job of a request needs, as arguments of `best_of`."""
    factors = model.item_factors if wanted.items is None else model.item_factors[wanted.items]
    return {
        "candidates": prepare_candidates(factors),
        "rules": Rules(wanted.k, wanted.min_score, wanted.items, len(model.items)),
    }


def best_of(batch: Batch, *, candidates: Candidates, rules: Rules) -> TopK:
    """Return the recommendations of some users; candidates are item codes: a task for `map_blocks`."""
    rows: UserRows = load(batch.rows)
    excluded = among(merged(rows.seen, batch.denied, rules.n_items), rules.items, rules.n_items)
    allowed = among(batch.allowed, rules.items, rules.n_items)
    query = TopKQuery(batch.users, rows.factors, rules.k, excluded, allowed, rules.min_score)
    best = top_k(query, candidates=candidates)
    return best if rules.items is None else replace(best, candidates=rules.items[best.candidates])


# -- answers ---------------------------------------------------------------------------------------


def recommend_batches(
    model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore
) -> Iterator[TopK]:
    """Yield the recommendations of each batch of users, in order; candidates are item codes."""
    with placed_rows(model, wanted.users, executor, with_seen=wanted.exclude_seen) as rows_of:
        yield from map_blocks(
            executor,
            best_of,
            batches(wanted, rows_of),
            constants(model, wanted),
            total=wanted.n_batches,
            label="recommend",
            observer=observer,
        )


def to_table(best: TopK, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
    """Return recommendations with their original ids: user, item, rank (from 1), score.

    Parameters
    ----------
    best : TopK
        Of n users; candidates are item codes.
    user_ids : pyarrow.Array of shape (n,)
        Ids of these users, in their order.
    item_ids : pyarrow.Array
        Ids of all items.
    """
    owners = np.repeat(np.arange(len(best.rows), dtype=np.int32), best.counts)
    return pa.table(
        {
            "user": user_ids.take(pa.array(owners)),
            "item": item_ids.take(pa.array(best.candidates)),
            "rank": best.ranks(),
            "score": best.scores,
        }
    )


def tables(
    model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore
) -> Iterator[pa.Table]:
    """Yield the recommendations of each batch of users as a table, in order."""
    for best in recommend_batches(model, wanted, executor, observer=observer):
        yield to_table(best, model.users.take(best.rows), model.items.ids)


def recommend(model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore) -> pa.Table:
    """Return all recommendations as one table."""
    return pa.concat_tables(tables(model, wanted, executor, observer=observer))
