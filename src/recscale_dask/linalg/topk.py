"""Scores of pairs, and the best of some pairs: the one definition that all else has to agree with.

The score of a pair is the sum of the products of its factors, in order, in float64, rounded to float32
(`dot`). Better is a higher score, then a lower code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import strict_kernel


@strict_kernel
def dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    """Return the score of one pair of factor rows."""
    total = 0.0
    for j in range(len(left)):
        total += np.float64(left[j]) * np.float64(right[j])
    return np.float32(total)


@strict_kernel
def scores_of(
    row: NDArray[np.float32],
    factors: NDArray[np.float32],
    codes: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the scores of a row and some candidates.

    Four at a time: a sum in order waits for each of its additions, and four sums wait together.
    """
    last = len(codes) - 1
    for i in range(0, len(codes), 4):
        a, b = codes[i], codes[min(i + 1, last)]
        c, d = codes[min(i + 2, last)], codes[min(i + 3, last)]
        score_a, score_b, score_c, score_d = 0.0, 0.0, 0.0, 0.0
        for j in range(len(row)):
            number = np.float64(row[j])
            score_a += number * np.float64(factors[a, j])
            score_b += number * np.float64(factors[b, j])
            score_c += number * np.float64(factors[c, j])
            score_d += number * np.float64(factors[d, j])
        out[min(i + 3, last)] = np.float32(score_d)
        out[min(i + 2, last)] = np.float32(score_c)
        out[min(i + 1, last)] = np.float32(score_b)
        out[i] = np.float32(score_a)


@strict_kernel
def pair_scores(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    item_codes: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the score of ``users[i]`` and ``items[item_codes[i]]`` to ``out[i]``."""
    for i in range(len(item_codes)):
        out[i] = dot(users[i], items[item_codes[i]])


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
