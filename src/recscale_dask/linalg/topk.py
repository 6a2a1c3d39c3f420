"""Scores of pairs, and the best of some pairs: the one definition that all else has to agree with.

The score of a pair is the product of its factors in float64, added up in the order of `recscale_dask.linalg.dots`,
rounded to float32 (`dot`). Better is a higher score, then a lower code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.dots import dot_at
from recscale_dask.linalg.kernels import strict_kernel
from recscale_dask.linalg.prefetch import LINE_BYTES, prefetch

_LINE = LINE_BYTES // 4  # factors in a cache line
_AHEAD = 12  # pairs between asking for their factors and using them


@strict_kernel
def dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    """Return the score of one pair of factor rows."""
    return np.float32(dot_at(left, 0, right, 0, len(left)))


@strict_kernel
def row_scores(
    rows: NDArray[np.float32],
    row: int,
    factors: NDArray[np.float32],
    codes: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the score of one of the rows and ``factors[codes[i]]`` to ``out[i]``."""
    rank = rows.shape[1]
    flat_rows, flat_factors = rows.reshape(-1), factors.reshape(-1)
    for i in range(len(codes)):
        out[i] = np.float32(dot_at(flat_rows, row * rank, flat_factors, codes[i] * rank, rank))


@strict_kernel
def pair_scores(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    user_codes: NDArray[np.int32],
    item_codes: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the score of ``users[user_codes[i]]`` and ``items[item_codes[i]]`` to ``out[i]``."""
    n, rank = len(out), users.shape[1]
    flat_users, flat_items = users.reshape(-1), items.reshape(-1)
    for i in range(n):
        ahead = min(i + _AHEAD, n - 1)
        for j in range(0, rank, _LINE):
            prefetch(flat_users, user_codes[ahead] * rank + j)
            prefetch(flat_items, item_codes[ahead] * rank + j)
        out[i] = np.float32(dot_at(flat_users, user_codes[i] * rank, flat_items, item_codes[i] * rank, rank))


@strict_kernel
def _worse(score: Any, code: Any, other_score: Any, other_code: Any) -> bool:
    return bool(score < other_score or (score == other_score and code > other_code))


@strict_kernel
def _sift(scores: NDArray[np.float32], codes: NDArray[np.int32], size: int, at: int) -> None:
    """Restore the heap below position `at`; its root is the worst pair."""
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _worse(scores[child + 1], codes[child + 1], scores[child], codes[child]):
            child += 1
        if not _worse(scores[child], codes[child], scores[at], codes[at]):
            return
        scores[at], scores[child] = scores[child], scores[at]
        codes[at], codes[child] = codes[child], codes[at]
        at = child


@strict_kernel
def keep_best(
    scores: NDArray[np.float32],
    codes: NDArray[np.int32],
    size: int,
    score: Any,
    code: Any,
) -> int:
    """Offer a pair to a heap of the best ones, of capacity ``len(scores)``; return its new size."""
    if size < len(scores):
        scores[size], codes[size] = score, code
        size += 1
        if size == len(scores):
            for at in range(size // 2 - 1, -1, -1):
                _sift(scores, codes, size, at)
    elif _worse(scores[0], codes[0], score, code):
        scores[0], codes[0] = score, code
        _sift(scores, codes, size, 0)
    return size


@strict_kernel
def sort_best_first(scores: NDArray[np.float32], codes: NDArray[np.int32], size: int) -> None:
    """Sort the first `size` pairs."""
    for at in range(size // 2 - 1, -1, -1):
        _sift(scores, codes, size, at)
    for last in range(size - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        codes[0], codes[last] = codes[last], codes[0]
        _sift(scores, codes, last, 0)
