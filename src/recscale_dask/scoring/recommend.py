"""Recommendations of a model: the best unseen items of each user, best first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import load
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.topk_candidates import Candidates, prepare_candidates
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.filters import among, merged
from recscale_dask.scoring.request import RecommendRequest
from recscale_dask.scoring.row_scores import RowScorer, best_in_rows
from recscale_dask.scoring.topk import TopK, TopKQuery, top_k
from recscale_dask.scoring.user_rows import RowsOf, UserRows, placed_rows
from recscale_dask.types import Recipe

# -- jobs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One job: some users, and what is theirs alone.

    Attributes
    ----------
    rows : UserRows, or a Recipe of them
        What is scored of them, or where a worker finds that.
    allowed, denied : SeenItems or None
        See `RecommendRequest`.
    """

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
    exclude_seen: bool


def batches(wanted: RecommendRequest, rows_of: RowsOf, numbers: Iterable[int] | None = None) -> Iterator[Batch]:
    """Yield the jobs of a request, by default all; `rows_of` is that of `placed_rows`."""
    for number in range(wanted.n_batches) if numbers is None else numbers:
        part = wanted.part(number)
        yield Batch(rows_of(part), _rows_of(wanted.allowed, part), _rows_of(wanted.denied, part))


def _rows_of(lists: SeenItems | None, part: slice) -> SeenItems | None:
    if lists is None:
        return None
    indptr = lists.indptr[part.start : part.stop + 1]
    return SeenItems(indptr - indptr[0], lists.indices[indptr[0] : indptr[-1]])


def constants(model: Factors, wanted: RecommendRequest) -> dict[str, Any]:
    """Return what every job of a request needs, as arguments of `best_of`."""
    candidates: Candidates | RowScorer
    if model.item_operator is not None:
        candidates = RowScorer.of(model)
    else:
        candidates = prepare_candidates(
            model.item_factors if wanted.items is None else model.item_factors[wanted.items]
        )
    rules = Rules(wanted.k, wanted.min_score, wanted.items, len(model.items), wanted.exclude_seen)
    return {"candidates": candidates, "rules": rules}


def best_of(batch: Batch, *, candidates: Candidates | RowScorer, rules: Rules) -> TopK:
    """Return the recommendations of some users; candidates are item codes: a task for `map_blocks`."""
    rows: UserRows = load(batch.rows)
    excluded = merged(rows.seen if rules.exclude_seen else None, batch.denied, rules.n_items)
    query = TopKQuery(rows.factors, rules.k, excluded, batch.allowed, rules.min_score)
    if isinstance(candidates, RowScorer):
        return best_in_rows(query, rows, rules.items, scorer=candidates)
    query = replace(
        query,
        excluded=among(excluded, rules.items, rules.n_items),
        allowed=among(batch.allowed, rules.items, rules.n_items),
    )
    best = top_k(query, candidates=candidates)
    return best if rules.items is None else replace(best, candidates=rules.items[best.candidates])


# -- answers ---------------------------------------------------------------------------------------


def recommend_batches(
    model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore
) -> Iterator[TopK]:
    """Yield the recommendations of each batch of users, in order; candidates are item codes."""
    wanted = wanted.of(model)
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
    owners = np.repeat(np.arange(len(best.counts), dtype=np.int32), best.counts)
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
    wanted = wanted.of(model)
    for number, best in enumerate(recommend_batches(model, wanted, executor, observer=observer)):
        yield to_table(best, model.users.take(wanted.users[wanted.part(number)]), model.items.ids)


def recommend(model: Factors, wanted: RecommendRequest, executor: Executor, *, observer: Observer = ignore) -> pa.Table:
    """Return all recommendations as one table."""
    return pa.concat_tables(tables(model, wanted, executor, observer=observer))
