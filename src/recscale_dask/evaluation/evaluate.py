"""Judge a model on held-out interactions, from one top-k pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.model import Factors
from recscale_dask.scoring.pairs import score_pairs
from recscale_dask.scoring.recommend import recommend_batches
from recscale_dask.scoring.request import RecommendRequest

RATING_METRICS = ("rmse", "mae")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model reached on a test set.

    Attributes
    ----------
    metrics : dict of str to float
        Mean over users for ranking metrics, over test rows for rating metrics.
    n_users : int
        Users of the model with test items: those averaged over.
    n_unknown_users : int
        Users of the test set that the model does not know; they are left out.
    n_unknown_items : int
        Test rows of known users with an item that the model does not know; they count as misses in
        ranking metrics and are left out of rating metrics.
    per_user : dict of str to ndarray of float64, shape (n_users,)
        Ranking metrics of each user.
    """

    metrics: dict[str, float]
    n_users: int
    n_unknown_users: int
    n_unknown_items: int
    per_user: dict[str, NDArray[np.float64]] = field(repr=False)

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]


@dataclass(frozen=True, slots=True)
class MetricRequest:
    """A metric by its full name, such as ``recall@20``; `k` is None for rating metrics."""

    name: str
    function: Callable[..., Any]
    k: int | None


def parse_metric(name: str, resolve: Callable[[str], Callable[..., Any]]) -> MetricRequest:
    """Return the metric that a name such as ``"recall@20"`` or ``"rmse"`` asks for.

    Raises
    ------
    OptionError
        If a ranking metric has no ``@k``, or a rating metric has one.
    """
    base, at, cut = name.partition("@")
    function = resolve(base)
    if base in RATING_METRICS:
        if at:
            raise OptionError(f"{base} is a rating metric and takes no @k; got {name!r}")
        return MetricRequest(name, function, None)
    if not at or not cut.isdigit() or not int(cut):
        raise OptionError(f"metric {name!r} needs a length of the list of at least 1, such as {base}@20")
    return MetricRequest(name, function, int(cut))


def evaluate(
    model: Factors,
    test: Interactions,
    metrics: tuple[MetricRequest, ...],
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> Evaluation:
    """Return the metrics of a model on held-out interactions; items seen in training are not recommended.

    Raises
    ------
    DataError
        If no user of the test set is in the model, or rating metrics lack values.
    """
    # Codes of the model for every test row; -1 is an id that it does not know.
    users = model.users.codes(test.users.ids, missing="ignore")[test.user_codes]
    items = model.items.codes(test.items.ids, missing="ignore")[test.item_codes]
    n_unknown_users = len(np.unique(test.user_codes[users < 0]))
    known_user = users >= 0
    if not len(test):
        raise DataError("the test set has no rows, so there is nothing to evaluate on")
    if not known_user.any():
        raise DataError(
            "no user of the test set is in the model. Are these the ids that it was fitted with "
            f"({model.users.ids.type}, such as {model.users.ids[0]}; the test set has {test.users.ids[0]})?"
        )
    per_user: dict[str, NDArray[np.float64]] = {}
    results: dict[str, float] = {}
    # One key per (user, test item): what is relevant for ranking, each once, unknown items too.
    relevant = np.unique(users[known_user].astype(np.int64) * test.n_items + test.item_codes[known_user])
    test_users, n_relevant = np.unique(relevant // test.n_items, return_counts=True)
    both = known_user & (items >= 0)
    keys = np.unique(users[both].astype(np.int64) * len(model.items) + items[both])
    ranking = [metric for metric in metrics if metric.k is not None]
    if ranking:
        depth = max(metric.k or 0 for metric in ranking)
        wanted = RecommendRequest(test_users.astype(np.int32), None, depth)
        hits = np.zeros((len(test_users), depth), np.bool_)
        row = 0
        for best in recommend_batches(model, wanted, executor, observer=observer):
            owners = np.repeat(np.arange(len(best.rows)), best.counts)
            found = best.rows[owners].astype(np.int64) * len(model.items) + best.candidates
            hits[row + owners, best.ranks() - 1] = np.isin(found, keys)
            row += len(best.rows)
        for metric in ranking:
            per_user[metric.name] = metric.function(hits, n_relevant, metric.k)
    errors: NDArray[np.float64] | None = None
    for metric in metrics:
        if metric.k is not None:
            results[metric.name] = float(per_user[metric.name].mean())
            continue
        if errors is None:
            errors = _errors(model, test, users, items, both, executor, observer)
        results[metric.name] = metric.function(errors)
    n_unknown_items = int((known_user & (items < 0)).sum())
    return Evaluation(results, len(test_users), n_unknown_users, n_unknown_items, per_user)


def _errors(
    model: Factors,
    test: Interactions,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    known: NDArray[np.bool_],
    executor: Executor,
    observer: Observer,
) -> NDArray[np.float64]:
    if test.values is None:
        raise DataError("rmse and mae compare scores with values, but the test set has none. Name its value column.")
    if not known.any():
        raise DataError("no row of the test set has a user and an item of the model, so there are no errors to average")
    scores = score_pairs(model, users[known], items[known], executor, observer=observer)
    return scores.astype(np.float64) - test.values[known]
