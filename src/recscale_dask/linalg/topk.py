"""Compiled selection of the best items, exact whatever the rounding of the matrix product before it.

The score of a pair is defined in one way only: the sum of the products of its factors, in order, in
float64, rounded to float32 (`dot`). A tile of scores from BLAS only tells which pairs may be among the
best: those within its rounding error of the k-th; these few are scored again by `dot` and ranked by
score, then item code. So the answer depends neither on BLAS, nor on tile sizes, nor on threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import kernel, strict_kernel

_ROUNDING = 2.0**-24  # of one float32 operation


@strict_kernel
def dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    """Return the score of one pair of factor rows."""
    total = 0.0
    for j in range(len(left)):
        total += np.float64(left[j]) * np.float64(right[j])
    return np.float32(total)


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
def _keep_best(
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
def _sort_best_first(scores: NDArray[np.float32], codes: NDArray[np.int32], size: int) -> None:
    for at in range(size // 2 - 1, -1, -1):
        _sift(scores, codes, size, at)
    for last in range(size - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        codes[0], codes[last] = codes[last], codes[0]
        _sift(scores, codes, last, 0)


@kernel
def _margin(user: NDArray[np.float32], largest_norm: float) -> float:
    """Return twice the rounding error that a float32 product of this user's row can have."""
    square = 0.0
    for j in range(len(user)):
        square += np.float64(user[j]) * np.float64(user[j])
    return float(2.0 * (len(user) + 2) * _ROUNDING * np.sqrt(square) * largest_norm)


@strict_kernel
def select_best(
    tile: NDArray[np.float32],
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    largest_norm: float,
    excluded_indptr: NDArray[np.int64],
    excluded: NDArray[np.int32],
    min_score: float,
    codes: NDArray[np.int32],
    scores: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> None:
    """Select the best items of each user, best first, ties by item code.

    Parameters
    ----------
    tile : ndarray of float32, shape (n_users, n_items)
        ``users @ items.T`` in float32; excluded entries are overwritten.
    users, items : ndarray of float32, shape (n_users, rank) and (n_items, rank)
        Factors.
    largest_norm : float
        Of the rows of `items`.
    excluded_indptr, excluded : ndarray
        CSR structure of the items that each user must not get.
    min_score : float
        Scores below it are left out.
    codes, scores : ndarray of shape (n_users, k)
        Written: row numbers in `items`, and scores.
    counts : ndarray of shape (n_users,)
        Written: how many of the k are filled.
    """
    n_users, n_items = tile.shape
    k = codes.shape[1]
    rough_scores = np.empty(k, np.float32)
    rough_codes = np.empty(k, np.int32)
    for i in range(n_users):
        row = tile[i]
        for p in range(excluded_indptr[i], excluded_indptr[i + 1]):
            row[excluded[p]] = -np.inf
        size = 0
        for j in range(n_items):
            score = row[j]
            if score > -np.inf and (size < k or score > rough_scores[0]):
                size = _keep_best(rough_scores, rough_codes, size, score, np.int32(j))
        threshold = -np.inf
        if size == k:
            threshold = np.float64(rough_scores[0]) - _margin(users[i], largest_norm)
        size = 0
        for j in range(n_items):
            if row[j] > -np.inf and row[j] >= threshold:
                score = dot(users[i], items[j])
                if score >= min_score:
                    size = _keep_best(scores[i], codes[i], size, score, np.int32(j))
        _sort_best_first(scores[i], codes[i], size)
        counts[i] = size
