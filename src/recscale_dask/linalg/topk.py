"""Scores of pairs, and the best of some pairs: the one definition that all else has to agree with.

The score of a pair is the sum of the products of its factors, in order, in float64, rounded to float32
(`dot`). Better is a higher score, then a lower code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import strict_kernel
from recscale_dask.linalg.prefetch import LINE_BYTES, prefetch

_LINE = LINE_BYTES // 4  # factors in a cache line
_AHEAD = 12  # pairs between asking for their factors and using them


@strict_kernel
def dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    """Return the score of one pair of factor rows."""
    total = 0.0
    for j in range(len(left)):
        total += np.float64(left[j]) * np.float64(right[j])
    return np.float32(total)


@strict_kernel
def _four_dots(
    left: NDArray[np.float32],
    rows: tuple[Any, Any, Any, Any],
    right: NDArray[np.float32],
    columns: tuple[Any, Any, Any, Any],
) -> tuple[Any, Any, Any, Any]:
    """Return four scores: a sum in order waits for each of its additions, and four sums wait together."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for j in range(left.shape[1]):
        a += np.float64(left[rows[0], j]) * np.float64(right[columns[0], j])
        b += np.float64(left[rows[1], j]) * np.float64(right[columns[1], j])
        c += np.float64(left[rows[2], j]) * np.float64(right[columns[2], j])
        d += np.float64(left[rows[3], j]) * np.float64(right[columns[3], j])
    return np.float32(a), np.float32(b), np.float32(c), np.float32(d)


@strict_kernel
def row_scores(
    rows: NDArray[np.float32],
    row: int,
    factors: NDArray[np.float32],
    codes: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the score of one of the rows and ``factors[codes[i]]`` to ``out[i]``."""
    n = len(codes)
    for i in range(0, n - 3, 4):
        four = codes[i], codes[i + 1], codes[i + 2], codes[i + 3]
        out[i], out[i + 1], out[i + 2], out[i + 3] = _four_dots(rows, (row, row, row, row), factors, four)
    for i in range(n - n % 4, n):
        out[i] = dot(rows[row], factors[codes[i]])


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
    for i in range(0, n - 3, 4):
        for ahead in range(i + _AHEAD, min(i + _AHEAD + 4, n)):
            for j in range(0, rank, _LINE):
                prefetch(flat_users, user_codes[ahead] * rank + j)
                prefetch(flat_items, item_codes[ahead] * rank + j)
        four_users = user_codes[i], user_codes[i + 1], user_codes[i + 2], user_codes[i + 3]
        four_items = item_codes[i], item_codes[i + 1], item_codes[i + 2], item_codes[i + 3]
        out[i], out[i + 1], out[i + 2], out[i + 3] = _four_dots(users, four_users, items, four_items)
    for i in range(n - n % 4, n):
        out[i] = dot(users[user_codes[i]], items[item_codes[i]])


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
