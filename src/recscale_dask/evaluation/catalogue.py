"""Metrics of what is recommended, right or wrong: novelty, coverage of the catalogue, concentration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.evaluation.metric import CatalogueMetric, ListMetric, Lists, PerUser, Training


def mean_self_information(lists: Lists, k: int) -> PerUser:
    """Return the mean of ``-log2(share of training users with the item)`` over the first k of each user, in bits.

    An item that no training user has counts as if one had. A user without a list has NaN. (Zhou et al., "Solving the
    apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.)
    """
    training = lists.training
    information = np.log2(max(1, training.n_users)) - np.log2(np.maximum(training.popularity, 1))
    first = lists.items[:, :k]
    there = first >= 0
    total = np.where(there, information[np.maximum(first, 0)], 0.0).sum(axis=1)
    length = there.sum(axis=1)
    result: PerUser = np.divide(total, length, out=np.full(len(total), np.nan), where=length > 0)
    return result


def share_recommended(counts: NDArray[np.int64], training: Training) -> float:
    """Return the share of all items that are in at least one list (Ge et al., "Beyond accuracy", RecSys 2010)."""
    return float(np.count_nonzero(counts) / max(1, len(counts)))


def gini_coefficient(counts: NDArray[np.int64], training: Training) -> float:
    """Return how unequally often items are recommended: 0 for all equally often, near 1 for always the same few.

    With counts ascending, ``sum((2 i - n - 1) x_i) / (n sum(x))``, over all n items of the model (Fleder and Hosanagar,
    "Blockbuster culture's next rise or fall", Management Science 2009). Without any list it is 0.
    """
    n, total = len(counts), int(counts.sum())
    if not total:
        return 0.0
    places = 2 * np.arange(1, n + 1) - n - 1
    return int((places * np.sort(counts)).sum()) / (n * total)


novelty = ListMetric(mean_self_information)
coverage = CatalogueMetric(share_recommended)
gini = CatalogueMetric(gini_coefficient, smaller_is_better=True)
