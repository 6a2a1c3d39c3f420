"""What a metric is: four kinds, the names that ask for them, and what a metric may know.

A plain function is a *ranking metric*; `ListMetric`, `CatalogueMetric` and `RatingMetric` are the other kinds. The
target of a `recscale_dask.hooks.specs.MetricSpec` is one of these. They run where lists are made, so they must be
pure, and workers must be able to import them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocked_array import parts_of
from recscale_dask.errors import PluginError
from recscale_dask.model import Factors

Hits = NDArray[np.bool_]
PerUser = NDArray[np.float64]

RankingMetric: TypeAlias = Callable[[Hits, NDArray[np.int64], int], PerUser]
"""``metric(hits, n_relevant, k)``, a value for each user: larger is better; NaN leaves a user out of the mean.

``hits`` is a boolean ndarray of shape (n_users, at least k): whether the item at each rank is a test item.
``n_relevant`` is an ndarray of int64 of shape (n_users,): how many test items a user has.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What metrics may know of the training data.

    Attributes
    ----------
    popularity : ndarray of int64, shape (n_items,)
        Users with each item.
    n_users : int
        Users of the model.
    """

    popularity: NDArray[np.int64]
    n_users: int

    @classmethod
    def of(cls, model: Factors) -> Training:
        """Return that of a fitted model; one pass over its seen items."""
        popularity = np.zeros(len(model.items), np.int64)
        for part in parts_of(model.seen.indices):
            popularity += np.bincount(part, minlength=len(popularity))
        return cls(popularity, len(model.users))


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Lists of some users, best first.

    Attributes
    ----------
    items : ndarray of int32, shape (n_users, depth)
        Item codes; -1 where a list has ended. `depth` is at least every k that is asked for.
    hits : ndarray of bool, shape (n_users, depth)
        Whether it is a test item of the user.
    n_relevant : ndarray of int64, shape (n_users,)
        How many test items a user has.
    training : Training
    """

    items: NDArray[np.int32]
    hits: Hits
    n_relevant: NDArray[np.int64]
    training: Training


@dataclass(frozen=True, slots=True)
class ListMetric:
    """A value for each user, from the items of the list: ``function(lists, k)``.

    Attributes
    ----------
    function : callable
        Takes `Lists` and k; returns an ndarray of float64, shape (n_users,). NaN leaves a user out of the mean.
    smaller_is_better : bool
    """

    function: Callable[[Lists, int], PerUser]
    smaller_is_better: bool = False


@dataclass(frozen=True, slots=True)
class CatalogueMetric:
    """One value for all lists together: ``function(counts, training)``.

    Attributes
    ----------
    function : callable
        Takes an ndarray of int64 of shape (n_items,), in how many of the lists of length k each item is, and
        `Training`; returns a float.
    smaller_is_better : bool
    """

    function: Callable[[NDArray[np.int64], Training], float]
    smaller_is_better: bool = False


def as_it_is(mean: Any) -> Any:
    """Return a mean, or an ndarray of them: what most metrics do with it."""
    return mean


@dataclass(frozen=True, slots=True)
class RatingMetric:
    """A mean over test rows, smaller is better: ``finish(mean(loss(errors)))``.

    It is a mean of losses so that intervals follow from sums over users.

    Attributes
    ----------
    loss : callable
        Takes scores minus values, an ndarray of float64 of shape (n,); returns the same shape.
    finish : callable
        Takes a mean loss, or an ndarray of them; increasing.
    """

    loss: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    finish: Callable[[Any], Any] = as_it_is

    def __call__(self, errors: NDArray[np.float64]) -> float:
        """Return the metric of some errors."""
        return float(self.finish(np.mean(self.loss(errors))))


Metric: TypeAlias = RankingMetric | ListMetric | CatalogueMetric | RatingMetric


@dataclass(frozen=True, slots=True)
class MetricRequest:
    """A metric by its full name, such as ``recall@20``; `k` is 0 for rating metrics."""

    name: str
    metric: Metric
    k: int

    @property
    def smaller_is_better(self) -> bool:
        """Whether the best model is that with the smallest value."""
        return isinstance(self.metric, RatingMetric) or bool(getattr(self.metric, "smaller_is_better", False))


def is_metric(target: Any) -> bool:
    """Return whether an object is of one of the kinds of metrics."""
    return isinstance(target, ListMetric | CatalogueMetric | RatingMetric) or callable(target)


def of_users(request: MetricRequest, lists: Lists) -> PerUser:
    """Return a ranking or list metric of each user, shape (n_users,).

    Raises
    ------
    PluginError
        If it does not give one number per user.
    """
    metric = request.metric
    assert not isinstance(metric, CatalogueMetric | RatingMetric)
    if isinstance(metric, ListMetric):
        found = metric.function(lists, request.k)
    else:
        found = metric(lists.hits, lists.n_relevant, request.k)
    values = np.asarray(found)
    if values.shape != lists.n_relevant.shape or values.dtype.kind not in "fiub":
        raise PluginError(
            f"metric {request.name!r} gave {values.dtype} of shape {values.shape} for {len(lists.n_relevant)} users; "
            "expected one number for each user"
        )
    return values.astype(np.float64, copy=False)
