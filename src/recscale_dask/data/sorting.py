"""Stable sorting of 64-bit keys by their digits: the order of many rows in a few passes over them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_BITS = 11  # counters of a digit fill half of the fastest cache


def stable_order(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return what ``np.argsort(keys, kind="stable")`` returns, in a fraction of the time.

    Parameters
    ----------
    keys : ndarray of int64, shape (n,)
        The time is that of one pass for every 11 bits between the least and the largest.
    """
    order = np.arange(len(keys), dtype=np.intp)
    if not len(keys):
        return order
    least = keys.min()
    digits = (keys - least).view(np.uint64)  # right even where the difference is above 2**63
    bits = int(digits.max()).bit_length()
    spare_digits, spare_order = np.empty_like(digits), np.empty_like(order)
    for shift in range(0, bits, _BITS):
        _by_digit(digits, order, np.uint64(shift), spare_digits, spare_order)
        digits, spare_digits, order, spare_order = spare_digits, digits, spare_order, order
    return order


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _by_digit(digits: Any, order: Any, shift: Any, sorted_digits: Any, sorted_order: Any) -> None:
    """Sort by one digit, counting first how often each occurs."""
    mask = np.uint64((1 << _BITS) - 1)
    places = np.zeros((1 << _BITS) + 1, np.int64)
    for row in range(len(digits)):
        places[np.int64((digits[row] >> shift) & mask) + 1] += 1
    for digit in range(1 << _BITS):
        places[digit + 1] += places[digit]
    for row in range(len(digits)):
        digit_here = np.int64((digits[row] >> shift) & mask)
        place = places[digit_here]
        places[digit_here] = place + 1
        sorted_digits[place] = digits[row]
        sorted_order[place] = order[row]
