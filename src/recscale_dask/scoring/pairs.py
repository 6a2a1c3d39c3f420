"""One score per pair of user and item."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import DataError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import load, read_only
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg import topk
from recscale_dask.model import Factors
from recscale_dask.scoring.request import ROW_BATCH_USERS
from recscale_dask.scoring.row_scores import RowScorer
from recscale_dask.scoring.user_rows import UserRows, placed_rows
from recscale_dask.types import Recipe

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
    if model.item_operator is not None:
        return _from_rows(model, users, items, executor, observer)
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


# -- models with an item operator: whole rows of scores, of which the wanted ones are taken -------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PairsOfUsers:
    """One job: some users, and pairs of them with items.

    Attributes
    ----------
    rows : UserRows, or a Recipe of them
    owners : ndarray of int64, shape (n,)
        Which of these users each pair has, ascending.
    items : ndarray of int32, shape (n,)
        Item codes.
    """

    rows: UserRows | Recipe[UserRows]
    owners: NDArray[np.int64]
    items: NDArray[np.int32]


def _from_rows(
    model: Factors, users: NDArray[np.int32], items: NDArray[np.int32], executor: Executor, observer: Observer
) -> NDArray[np.float32]:
    occurring, owners = np.unique(users, return_inverse=True)
    order = np.argsort(owners, kind="stable")
    owners = owners[order]
    starts = range(0, len(occurring), ROW_BATCH_USERS)
    cuts = np.searchsorted(owners, [*starts, len(occurring)])
    together = np.empty(len(users), np.float32)
    with placed_rows(model, occurring.astype(np.int32), executor, with_seen=False) as rows_of:
        batches = (
            PairsOfUsers(rows_of(slice(start, start + ROW_BATCH_USERS)), owners[i:j] - start, items[order[i:j]])
            for start, (i, j) in zip(starts, pairwise(cuts), strict=True)
        )
        scorer = {"scorer": RowScorer.of(model)}
        parts = map_blocks(executor, score_rows, batches, scorer, total=len(starts), label="score", observer=observer)
        for (i, j), part in zip(pairwise(cuts), parts, strict=True):
            together[order[i:j]] = part
    return together


def score_rows(pairs: PairsOfUsers, *, scorer: RowScorer) -> NDArray[np.float32]:
    """Return the scores of pairs, from whole rows: a task for `map_blocks`."""
    out = np.empty(len(pairs.items), np.float32)
    for part, scores in scorer.blocks(load(pairs.rows)):
        i, j = np.searchsorted(pairs.owners, [part.start, part.stop])
        out[i:j] = scores[pairs.owners[i:j] - part.start, pairs.items[i:j]]
    return out
