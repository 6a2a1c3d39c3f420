"""One score per pair of user and item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import DataError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg import topk
from recscale_dask.model import Factors

_BATCH_PAIRS = 1 << 15

Pairs = tuple[NDArray[np.float32], NDArray[np.int32]]


def score_pairs(
    model: Factors,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> NDArray[np.float32]:
    """Return the score of each pair of user and item codes, shape (n,); that of `recommend`, bit for bit.

    Raises
    ------
    DataError
        If there are not as many users as items.
    """
    if len(users) != len(items):
        raise DataError(f"a pair has one user and one item; got {len(users)} users and {len(items)} items")
    starts = range(0, len(users), _BATCH_PAIRS)

    def batch(start: int) -> Pairs:
        part = slice(start, start + _BATCH_PAIRS)
        return np.ascontiguousarray(model.user_factors[users[part]]), items[part]

    scores = map_blocks(
        executor,
        score_batch,
        (batch(start) for start in starts),
        {"item_factors": np.ascontiguousarray(model.item_factors)},
        total=len(starts),
        label="score",
        observer=observer,
    )
    return np.concatenate([np.zeros(0, np.float32), *scores])


def score_batch(pairs: Pairs, *, item_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores of user factors, shape (n, rank), with item codes: a task for `map_blocks`."""
    users, items = pairs
    out = np.empty(len(items), np.float32)
    topk.pair_scores(users, item_factors, items, out)
    return out
