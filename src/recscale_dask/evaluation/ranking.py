"""Ranking metrics: how many test items are among the first k, and how far up.

Each function gives one value per user::

    metric(hits, n_relevant, k) -> ndarray of float64, shape (n_users,)

``hits`` is a boolean ndarray of shape (n_users, at least k): whether the item at each rank is a test item.
``n_relevant`` is an ndarray of shape (n_users,): how many test items a user has, at least 1. Gains are
binary. The definitions are those of trec_eval as `ranx` and `ir-measures` have them, but for average
precision, which is divided by ``min(k, n_relevant)`` so that a perfect list has 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
PerUser = NDArray[np.float64]


def recall(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the share of a user's test items that are among the first k."""
    result: PerUser = hits[:, :k].sum(axis=1) / n_relevant
    return result


def precision(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the share of the first k that are test items; a shorter list is filled up with misses."""
    result: PerUser = hits[:, :k].sum(axis=1) / k
    return result


def ndcg(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the discounted gain over that of the ideal list, cut at ``min(k, n_relevant)``.

    Discounts are ``1 / log2(rank + 1)`` (Järvelin and Kekäläinen, 2002).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    result: PerUser = gains / ideal
    return result


def average_precision(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the mean, over the test items found, of the precision at their rank, cut at k."""
    first = hits[:, :k]
    precisions = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    result: PerUser = (precisions * first).sum(axis=1) / np.minimum(n_relevant, k)
    return result
