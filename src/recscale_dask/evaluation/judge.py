"""One top-k pass whose workers answer with metrics of their users, and counts of items, instead of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.evaluation.held_out import HeldOut
from recscale_dask.evaluation.metric import (
    CatalogueMetric,
    ListMetric,
    Lists,
    MetricRequest,
    PerUser,
    Training,
    of_users,
)
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.topk_candidates import Candidates
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.recommend import Batch, Rules, batches, best_of, constants
from recscale_dask.scoring.request import RecommendRequest
from recscale_dask.scoring.row_scores import RowScorer
from recscale_dask.scoring.topk import TopK
from recscale_dask.scoring.user_rows import placed_rows


@dataclass(frozen=True, slots=True, eq=False)
class JudgedBatch:
    """One job: some users, and what is held out of them.

    Attributes
    ----------
    batch : Batch
    relevant : SeenItems
        Item codes that are right, of each user.
    n_relevant : ndarray of int64, shape (n,)
        How many there are, those that the model does not know too.
    """

    batch: Batch
    relevant: SeenItems
    n_relevant: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The answer of a job, or of all.

    Attributes
    ----------
    per_user : dict of str to ndarray of float64, shape (n,)
        Ranking and list metrics of each user.
    counts : dict of int to ndarray of int64, shape (n_items,)
        For each k of a catalogue metric, in how many lists each item is.
    """

    per_user: dict[str, PerUser]
    counts: dict[int, NDArray[np.int64]]


def judge(
    model: Factors,
    test: HeldOut,
    metrics: Sequence[MetricRequest],
    training: Training,
    executor: Executor,
    *,
    observer: Observer,
) -> Judged:
    """Return the ranking, list and catalogue metrics of a model, users in the order of `test`, from one top-k pass.

    Parameters
    ----------
    metrics : sequence of MetricRequest
        At least one, none of them a rating metric.
    training : Training
        Of the model, or of the one that it was folded into.
    """
    wanted = RecommendRequest(test.users, None, max(each.k for each in metrics)).of(model)
    with placed_rows(model, wanted.users, executor, with_seen=True) as rows_of:
        jobs = _jobs(test, wanted, batches(wanted, rows_of))
        shared = {**constants(model, wanted), "metrics": tuple(metrics), "training": training}
        parts = list(
            map_blocks(executor, judge_batch, jobs, shared, total=wanted.n_batches, label="evaluate", observer=observer)
        )
    first: Judged = parts[0]
    return Judged(
        {name: np.concatenate([part.per_user[name] for part in parts]) for name in first.per_user},
        {k: np.sum([part.counts[k] for part in parts], axis=0) for k in first.counts},
    )


def _jobs(test: HeldOut, wanted: RecommendRequest, each: Iterator[Batch]) -> Iterator[JudgedBatch]:
    positions = np.arange(len(wanted.users), dtype=np.int32)
    for number, batch in enumerate(each):
        part = wanted.part(number)
        yield JudgedBatch(batch, test.relevant.rows(positions[part]), test.n_relevant[part])


def judge_batch(
    job: JudgedBatch,
    *,
    candidates: Candidates | RowScorer,
    rules: Rules,
    metrics: tuple[MetricRequest, ...],
    training: Training,
) -> Judged:
    """Return the metrics of some users: a task for `map_blocks`."""
    best = best_of(job.batch, candidates=candidates, rules=rules)
    lists = _lists(best, job, rules, training)
    per_user = {each.name: of_users(each, lists) for each in metrics if not isinstance(each.metric, CatalogueMetric)}
    counts = {}
    for k in {each.k for each in metrics if isinstance(each.metric, CatalogueMetric)}:
        shown = lists.items[:, :k]
        counts[k] = np.bincount(shown[shown >= 0], minlength=rules.n_items)
    return Judged(per_user, counts)


def _lists(best: TopK, job: JudgedBatch, rules: Rules, training: Training) -> Lists:
    owners = np.repeat(np.arange(len(best.counts)), best.counts)
    found = owners * rules.n_items + best.candidates
    asked = np.repeat(np.arange(len(best.counts)), np.diff(job.relevant.indptr)) * rules.n_items + job.relevant.indices
    items = np.full((len(best.counts), rules.k), -1, np.int32)
    hits = np.zeros(items.shape, np.bool_)
    ranks = best.ranks() - 1
    items[owners, ranks] = best.candidates
    hits[owners, ranks] = np.isin(found, asked, assume_unique=True)
    return Lists(items, hits, job.n_relevant, training)


def needs_training(metrics: Sequence[MetricRequest]) -> bool:
    """Return whether a metric asks for what is known of the training data, which takes a pass over it."""
    return any(isinstance(each.metric, ListMetric | CatalogueMetric) for each in metrics)
