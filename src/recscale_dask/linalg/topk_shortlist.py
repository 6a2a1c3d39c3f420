"""The shortlist of a row while candidates are searched: more than k of them, with rough scores.

A rough score is a sum in float32 of scaled factors. It comes with a bound on its error, which is the `margin`
of the row times the scaled length of the candidate, so that the score by `dot` is between the rough one
minus that and the rough one plus that. The k-th largest lower end is the `floor` of the row: a candidate whose
upper end is below it is worse than k others, whatever they are. What is left is scored by `dot`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import strict_kernel
from recscale_dask.linalg.topk import dot, keep_best

TINY = 2.0**-40
"""Error of numbers that are too small for float32, where the longest candidate and row have a length near 1."""


@strict_kernel
def margin_of(length: float, width: int) -> float:
    """Return the error of rough scores of a row of some length with a candidate of length 1.

    A sum of n products in float32 is wrong by at most n 2^-24 times the lengths of both; its comparisons,
    the lower end and the score by `dot` are each rounded once more.
    """
    return (width + 8) * 2.0**-24 * length


@strict_kernel
def _kth_largest(lows: NDArray[np.float32], codes: NDArray[np.int32], size: int, k: int) -> Any:
    """Return the k-th largest of the first `size` lower ends, after moving the k largest to the front."""
    left, right = 0, size - 1
    while left < right:
        pivot = lows[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while lows[i] > pivot:
                i += 1
            while lows[j] < pivot:
                j -= 1
            if i <= j:
                lows[i], lows[j] = lows[j], lows[i]
                codes[i], codes[j] = codes[j], codes[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            right = j
        elif k - 1 >= i:
            left = i
        else:
            break
    return lows[k - 1]


@strict_kernel
def shorten(
    lows: NDArray[np.float32],
    codes: NDArray[np.int32],
    size: int,
    k: int,
    floor: Any,
    margin: float,
    scale: float,
    norms: NDArray[np.float64],
) -> Any:
    """Drop what is worse than k others; return the new size and floor.

    Parameters
    ----------
    lows, codes : ndarray of shape (capacity,)
        Lower ends and candidates, of which the first `size` count.
    floor : float32
        What is known already.
    margin : float
        See `margin_of`.
    scale : float
        Scaled length of a candidate by its length.
    norms : ndarray of float64
        Lengths of candidates.
    """
    if size >= k:
        floor = max(floor, _kth_largest(lows, codes, size, k))
    kept = 0
    for i in range(size):
        low = np.float64(lows[i])
        # The longest candidate has a length below 1: most are told apart without a look at theirs.
        if low >= floor or (
            low + 2 * (margin + TINY) >= floor and low + 2 * (margin * scale * norms[codes[i]] + TINY) >= floor
        ):
            lows[kept], codes[kept] = lows[i], codes[i]
            kept += 1
    return kept, floor


@strict_kernel
def settle(
    lows: NDArray[np.float32],
    codes: NDArray[np.int32],
    size: int,
    k: int,
    margin: float,
    scale: float,
    norms: NDArray[np.float64],
    row: NDArray[np.float32],
    row_scale: float,
    factors: NDArray[np.float32],
) -> int:
    """Keep only the k best by `dot`, for a shortlist of candidates that rough scores cannot tell apart."""
    best_scores, best_codes = np.empty(k, np.float32), np.empty(k, np.int32)
    kept = 0
    for i in range(size):
        kept = keep_best(best_scores, best_codes, kept, dot(row, factors[codes[i]]), codes[i])
    for i in range(kept):
        code = best_codes[i]
        codes[i] = code
        lows[i] = np.float32(best_scores[i] * row_scale * scale - margin * scale * norms[code] - TINY)
    return kept
