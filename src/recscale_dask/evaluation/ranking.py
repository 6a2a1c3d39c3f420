"""Ranking metrics: how many test items are among the first k, and how far up.

Each function is a `recscale_dask.evaluation.metric.RankingMetric`: ``metric(hits, n_relevant, k)``, one value per
user. Gains are binary. The definitions are those of trec_eval, as `ranx` and `ir-measures` have them. A user without
test items has 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.evaluation.metric import Hits, PerUser


def recall(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the share of a user's test items that are among the first k."""
    result: PerUser = hits[:, :k].sum(axis=1) / np.maximum(n_relevant, 1)
    return result


def precision(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the share of the first k that are test items; a shorter list is filled up with misses."""
    result: PerUser = hits[:, :k].sum(axis=1) / k
    return result


def hit_rate(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return 1 for a user with a test item among the first k, else 0."""
    result: PerUser = np.asarray(hits[:, :k].any(axis=1), np.float64)
    return result


def reciprocal_rank(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return 1 / the rank of the first test item, 0 if there is none among the first k (Voorhees, 1999)."""
    first = hits[:, :k] & (np.cumsum(hits[:, :k], axis=1) == 1)
    result: PerUser = (first / np.arange(1, first.shape[1] + 1)).sum(axis=1)
    return result


def ndcg(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the discounted gain over that of the ideal list, cut at ``min(k, n_relevant)``.

    Discounts are ``1 / log2(rank + 1)`` (Järvelin and Kekäläinen, 2002).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    first = hits[:, :k]
    # A sum and no matrix product, whose last bit depends on how many users there are.
    gains = (first * discounts[: first.shape[1]]).sum(axis=1)
    ideal = np.cumsum(discounts)[np.clip(n_relevant, 1, k) - 1]
    result: PerUser = gains / ideal
    return result


def average_precision(hits: Hits, n_relevant: NDArray[np.int64], k: int) -> PerUser:
    """Return the sum, over the test items among the first k, of the precision at their rank, over all test items."""
    first = hits[:, :k]
    precisions = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    result: PerUser = (precisions * first).sum(axis=1) / np.maximum(n_relevant, 1)
    return result
