"""One score per pair of user and item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import DataError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import read_only
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg import topk
from recscale_dask.model import Factors

_BATCH_PAIRS = 1 << 18

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]


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
    user_factors, users = _needed(model.user_factors, users)
    item_factors, items = _needed(model.item_factors, items)
    batches = [slice(start, start + _BATCH_PAIRS) for start in range(0, len(users), _BATCH_PAIRS)]
    scores = map_blocks(
        executor,
        score_batch,
        [(users[batch], items[batch]) for batch in batches],
        {"user_factors": user_factors, "item_factors": item_factors},
        label="score",
        observer=observer,
    )
    together = np.empty(len(users), np.float32)
    for batch, part in zip(batches, scores, strict=True):
        together[batch] = part
    return together


def _needed(factors: NDArray[np.float32], codes: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return factors to send and codes in them: all rows, or for fewer codes than rows only theirs."""
    if len(codes) < len(factors):
        occurring, places = np.unique(codes, return_inverse=True)
        factors, codes = factors[occurring], places.astype(np.int32)
    return np.ascontiguousarray(factors), np.ascontiguousarray(codes)


def score_batch(
    pairs: Pairs, *, user_factors: NDArray[np.float32], item_factors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the scores of pairs of codes: a task for `map_blocks`."""
    users, items = (read_only(codes) for codes in pairs)
    out = np.empty(len(users), np.float32)
    topk.pair_scores(user_factors, item_factors, users, items, out)
    return out
