"""Judge a model on held-out interactions, from one top-k pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError
from recscale_dask.evaluation.bootstrap import LEVEL, REPLICATES, Interval, UserSums, interval, resample
from recscale_dask.evaluation.held_out import HeldOut, check_unseen, held_out, warn_of_strangers
from recscale_dask.evaluation.judge import judge, needs_training
from recscale_dask.evaluation.metric import CatalogueMetric, MetricRequest, PerUser, RatingMetric, Training
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.model import Factors
from recscale_dask.scoring.pairs import score_pairs


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model reached on a test set.

    Attributes
    ----------
    metrics : dict of str to float
        Mean over users for metrics of lists, over test rows for rating metrics; one value for metrics of
        the catalogue.
    n_users : int
        Users of the model with test items: those averaged over.
    n_unknown_users : int
        Users of the test set that the model does not know; they are left out.
    n_unknown_items : int
        Test rows of known users with an item that the model does not know; they count as misses in
        ranking metrics and are left out of rating metrics.
    n_seen : int
        Test pairs that are in the training data (or were folded in), which are never recommended.
    n_skipped : int
        Interactions that were folded in without effect, as the model does not know their items.
    per_user : dict of str to ndarray of float64, shape (n_users,)
        Ranking metrics of each user.
    users : pyarrow.Array of shape (n_users,)
        Their ids, in the order of the test set's vocabulary.
    sums : dict of str to UserSums
        What means, and their intervals, are made of; metrics of the catalogue have none.
    """

    metrics: dict[str, float]
    n_users: int
    n_unknown_users: int
    n_unknown_items: int
    n_seen: int
    n_skipped: int
    per_user: dict[str, PerUser] = field(repr=False)
    users: pa.Array = field(repr=False)
    sums: dict[str, UserSums] = field(repr=False)

    def __getitem__(self, name: str) -> float:
        if name not in self.metrics:
            raise KeyError(f"{name!r} was not evaluated; there are: {', '.join(self.metrics)}")
        return self.metrics[name]

    def __str__(self) -> str:
        return self.described()

    def described(self, *, level: float = LEVEL, seed: int = 0) -> str:
        """Return a line for each metric, with its interval, and what was left out; options as of `intervals`."""
        intervals = self.intervals(level=level, seed=seed)
        width = max(len(name) for name in self.metrics)
        lines = [f"{name:<{width}}  {value:.4f}{_between(intervals.get(name))}" for name, value in self.metrics.items()]
        lines.append(f"Over {self.n_users:,} users. [{level:.0%} intervals, by bootstrap over users]")
        if self.n_unknown_users:
            lines.append(f"{self.n_unknown_users:,} users of the test set are not in the model and were left out.")
        if self.n_unknown_items:
            lines.append(f"{self.n_unknown_items:,} test rows are of items that are not in the model.")
        if self.n_seen:
            lines.append(f"{self.n_seen:,} test pairs are in the training data, and are never recommended.")
        if self.n_skipped:
            lines.append(f"{self.n_skipped:,} interactions to fold in are of items that are not in the model.")
        return "\n".join(lines)

    def intervals(self, *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Interval]:
        """Return a bootstrap confidence interval of each metric, over users drawn with replacement.

        Metrics of the catalogue have none: a sample of users has other items, not a mean of the same.

        Parameters
        ----------
        level : float
            How often such an interval holds the value of all users like these.
        replicates : int
            Number of samples.
        seed : int
            Of the samples.

        Raises
        ------
        OptionError
            If `level` is not between 0 and 1, or `replicates` is below 1.
        """
        if not self.sums:
            return {}
        samples = resample(list(self.sums.values()), replicates=replicates, seed=seed)
        return {name: interval(column, level) for name, column in zip(self.sums, samples.T, strict=True)}


def _between(ends: Interval | None) -> str:
    return "" if ends is None else f"  [{ends.low:.4f}, {ends.high:.4f}]"


def evaluate(
    model: Factors,
    test: Interactions,
    metrics: Sequence[MetricRequest],
    executor: Executor,
    *,
    training: Training | None = None,
    observer: Observer = ignore,
) -> Evaluation:
    """Return the metrics of a model on held-out interactions; items seen in training are not recommended.

    Parameters
    ----------
    training : Training, optional
        Of the fitted model, if `model` is of users that were folded in.

    Raises
    ------
    DataError
        If no user of the test set is in the model, all of it was fitted to, or rating metrics lack values.
    """
    known = held_out(model, test)
    order = known.by_test
    lists = [each for each in metrics if not isinstance(each.metric, RatingMetric)]
    warn_of_strangers(known.n_unknown_users, known.n_unknown_users + len(order))
    check_unseen(known, ranked=bool(lists))
    sums: dict[str, UserSums] = {}
    values: dict[str, float] = {}
    per_user: dict[str, PerUser] = {}
    if lists:
        if training is None:
            training = Training.of(model) if needs_training(lists) else Training(np.zeros(0, np.int64), 0)
        judged = judge(model, known, lists, training, executor, observer=observer)
        per_user = {name: each[order] for name, each in judged.per_user.items()}
        sums |= {name: _mean_of(each) for name, each in per_user.items()}
        for each in lists:
            if isinstance(each.metric, CatalogueMetric):
                values[each.name] = float(each.metric.function(judged.counts[each.k], training))
    if len(lists) < len(metrics):
        errors = _errors(model, test, known, executor, observer)
        counts = np.bincount(known.places, minlength=len(order)).astype(np.float64)[order]
        for each in metrics:
            if isinstance(each.metric, RatingMetric):
                losses = np.bincount(known.places, each.metric.loss(errors), len(order)).astype(np.float64)[order]
                sums[each.name] = UserSums(losses, counts, each.metric.finish)
    values |= {name: each.value for name, each in sums.items()}
    return Evaluation(
        metrics={each.name: values[each.name] for each in metrics},
        n_users=len(order),
        n_unknown_users=known.n_unknown_users,
        n_unknown_items=known.n_unknown_items,
        n_seen=known.n_seen,
        n_skipped=model.provenance.get("folded_in", {}).get("skipped_interactions", 0),
        per_user=per_user,
        users=test.users.take(known.test_users[order]),
        sums={each.name: sums[each.name] for each in metrics if each.name in sums},
    )


def _mean_of(values: PerUser) -> UserSums:
    counted = ~np.isnan(values)
    return UserSums(np.where(counted, values, 0.0), counted.astype(np.float64))


def _errors(
    model: Factors, test: Interactions, known: HeldOut, executor: Executor, observer: Observer
) -> NDArray[np.float64]:
    if test.values is None:
        raise DataError("rmse and mae compare scores with values, but the test set has none. Name its value column.")
    if not len(known.rows):
        raise DataError("no row of the test set has a user and an item of the model, so there are no errors to average")
    scores = score_pairs(model, known.users[known.places], known.items, executor, observer=observer)
    return scores.astype(np.float64) - test.values[known.rows]
