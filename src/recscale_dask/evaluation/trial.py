"""A metric asked for by name, and tried on a few users before any work: mistakes would be plausible numbers later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recscale_dask.errors import OptionError, PluginError
from recscale_dask.evaluation.metric import (
    CatalogueMetric,
    Lists,
    MetricRequest,
    PerUser,
    RatingMetric,
    Training,
    is_metric,
    of_users,
)

_N_USERS = 5
_BEYOND = 3  # items that another metric beside this one asked for
_ERRORS = np.array([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0])


def parse_metric(name: str, resolve: Callable[[str], Any]) -> MetricRequest:
    """Return the metric that a name such as ``"recall@20"`` or ``"rmse"`` asks for, tried on a few users.

    Raises
    ------
    OptionError
        If a metric of lists has no ``@k``, or a rating metric has one.
    PluginError
        If what offers it is no metric, or gives numbers that cannot be right.
    """
    base, at, cut = name.partition("@")
    metric = resolve(base)
    if isinstance(metric, RatingMetric):
        if at:
            raise OptionError(f"{base} is a rating metric and takes no @k; got {name!r}")
        request = MetricRequest(name, metric, 0)
    else:
        if not at or not cut.isdecimal() or not int(cut):
            raise OptionError(f"metric {name!r} needs a length of the list of at least 1, such as {base}@20")
        if not is_metric(metric):
            raise PluginError(
                f"metric {base!r} is of type {type(metric).__name__}; expected a function of hits, n_relevant and k, a "
                "ListMetric, a CatalogueMetric or a RatingMetric. Mend the target of its MetricSpec."
            )
        request = MetricRequest(name, metric, int(cut))
    try_metric(request)
    return request


def try_metric(request: MetricRequest) -> None:
    """Compute a metric of a few users together, alone, and with longer lists.

    Raises
    ------
    PluginError
        If it does not give one number per user, is NaN for all, depends on who else is in the batch, or on items after
        the first k.
    """
    if isinstance(request.metric, RatingMetric):
        _try_rating_metric(request, request.metric)
        return
    lists = _lists(request.k)
    if isinstance(request.metric, CatalogueMetric):
        counts = np.bincount(lists.items[:, : request.k].ravel().clip(0), minlength=len(lists.training.popularity))
        found = np.asarray(request.metric.function(counts, lists.training))
        if found.shape != () or found.dtype.kind not in "fiub" or np.isnan(found):
            raise PluginError(f"metric {request.name!r} gave {found} for a few lists; expected one number")
        return
    of_users(request, _without_hits(lists))  # a user without hits is no reason to fail
    together = of_users(request, lists)
    if np.isnan(together).all():
        raise PluginError(
            f"metric {request.name!r} is NaN for each of {_N_USERS} users with hits; NaN leaves a user out of the "
            "mean, and nobody would be left. Look for a division by zero"
        )
    alone = np.concatenate([of_users(request, _rows(lists, slice(user, user + 1))) for user in range(_N_USERS)])
    if not _same(together, alone):
        raise PluginError(
            f"metric {request.name!r} of users alone is {alone}, and {together} of the same users in one batch; "
            "expected the same: batches differ. Compute each user's number from that user's row alone"
        )
    cut = of_users(request, _cut(lists, request.k))
    if not _same(together, cut):
        raise PluginError(
            f"metric {request.name!r} is {together} with lists of {request.k + _BEYOND} items and {cut} with the "
            f"first {request.k} of them; expected the same: another metric may ask for longer lists. Look at the first "
            "k columns alone, such as hits[:, :k]"
        )


def _try_rating_metric(request: MetricRequest, metric: RatingMetric) -> None:
    losses = np.asarray(metric.loss(_ERRORS))
    if losses.shape != _ERRORS.shape:
        raise PluginError(
            f"loss of {request.name!r} gave shape {losses.shape} for {len(_ERRORS)} errors; expected one loss each"
        )
    alone = np.concatenate([metric.loss(_ERRORS[row : row + 1]) for row in range(len(_ERRORS))])
    if not _same(losses, alone):
        raise PluginError(
            f"loss of {request.name!r} is {losses} for some rows together and {alone} for each alone; expected the same"
        )
    finished = np.asarray(metric.finish(np.sort(losses)))
    if finished.shape != losses.shape or not (np.diff(finished) >= 0).all():
        raise PluginError(
            f"finish of {request.name!r} gave {finished} for means of {np.sort(losses)}; expected as many numbers, "
            "increasing: smaller is better"
        )


def _lists(k: int) -> Lists:
    """Return lists with hits before and after k, one of them short."""
    depth = k + _BEYOND
    n_items = depth + 2
    items = (np.arange(depth) + np.arange(_N_USERS)[:, None]).astype(np.int32) % n_items
    hits = np.random.default_rng(0).random(items.shape) < 0.5
    hits[0, 0] = True
    hits[:, k:] = True
    short = max(1, k // 2)
    items[-1, short:], hits[-1, short:] = -1, False
    training = Training(np.arange(1, n_items + 1, dtype=np.int64), n_items + _N_USERS)
    return Lists(items, hits, hits.sum(axis=1) + np.arange(_N_USERS), training)


def _without_hits(lists: Lists) -> Lists:
    return replace(lists, items=np.full_like(lists.items, -1), hits=np.zeros_like(lists.hits))


def _rows(lists: Lists, rows: slice) -> Lists:
    return replace(lists, items=lists.items[rows], hits=lists.hits[rows], n_relevant=lists.n_relevant[rows])


def _cut(lists: Lists, k: int) -> Lists:
    return replace(lists, items=lists.items[:, :k], hits=lists.hits[:, :k])


def _same(one: PerUser, other: PerUser) -> bool:
    return np.allclose(one, other, rtol=1e-9, atol=0, equal_nan=True)
