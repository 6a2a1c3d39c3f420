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

from recscale_dask.linalg.kernels import counting_kernel, strict_kernel
from recscale_dask.linalg.topk import dot, keep_best

TINY = 2.0**-40
"""Error of numbers that are too small for float32, where the longest candidate and row have a length near 1."""


_BISECTIONS = 20


@strict_kernel
def margin_of(length: float, width: int) -> float:
    """Return the error of rough scores of a row of some length with a candidate of length 1.

    A sum of n products in float32 is wrong by at most n 2^-24 times the lengths of both; its comparisons,
    the lower end and the score by `dot` are each rounded once more.
    """
    return (width + 8) * 2.0**-24 * length


@counting_kernel
def _raised(lows: NDArray[np.float32], k: int) -> Any:
    """Return a number that k or a few more of the lower ends are not below.

    By bisection, because counting is done in vector registers and has no branch to mispredict.
    """
    least, most = lows[0], lows[0]
    for low in lows:
        least, most = min(least, low), max(most, low)
    for _ in range(_BISECTIONS):
        middle = np.float32(0.5) * (least + most)
        count = np.int32(0)
        for low in lows:
            count += np.int32(low >= middle)
        if count < k:
            most = middle
        else:
            least = middle
            if count <= k + k // 16:
                break
    return least


@strict_kernel
def shorten(
    lows: NDArray[np.float32],
    codes: NDArray[np.int32],
    k: int,
    floor: Any,
    margin: float,
    scale: float,
    norms: NDArray[np.float64],
) -> Any:
    """Move what may be among the k best to the front; return how much that is, and the new floor.

    Parameters
    ----------
    lows, codes : ndarray of shape (n,)
        Lower ends and candidates.
    floor : float32
        What is known already.
    margin : float
        See `margin_of`.
    scale : float
        Scaled length of a candidate by its length.
    norms : ndarray of float64
        Lengths of candidates.
    """
    if len(lows) >= k:
        floor = max(floor, _raised(lows, k))
    # The longest candidate has a length below 1: most are told apart without a look at theirs.
    hopeless = np.float32(floor - 2 * (margin + TINY))
    kept = 0
    for i in range(len(lows)):
        low, code = lows[i], codes[i]
        lows[kept], codes[kept] = low, code
        stays = low >= floor
        if not stays and low >= hopeless:
            stays = low + 2 * (margin * scale * norms[code] + TINY) >= floor
        kept += stays
    return kept, floor


@strict_kernel
def settle(
    lows: NDArray[np.float32],
    codes: NDArray[np.int32],
    k: int,
    margin: float,
    scale: float,
    norms: NDArray[np.float64],
    row: NDArray[np.float32],
    row_scale: float,
    factors: NDArray[np.float32],
) -> int:
    """Keep only the k best by `dot`, where rough scores cannot tell candidates apart; return how many."""
    best_scores, best_codes = np.empty(k, np.float32), np.empty(k, np.int32)
    kept = 0
    for i in range(len(lows)):
        kept = keep_best(best_scores, best_codes, kept, dot(row, factors[codes[i]]), codes[i])
    for i in range(kept):
        code = best_codes[i]
        codes[i] = code
        lows[i] = np.float32(best_scores[i] * row_scale * scale - margin * scale * norms[code] - TINY)
    return kept
