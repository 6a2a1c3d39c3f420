"""Hash tables of ids that are met one after the other: open addressing, linear probing, for integers and for bytes.

Each kernel goes on from row `start` until it is through, or until `room` ids are known, and returns the next row and
how many ids are known then. Codes count ids in the order in which they were met. The places of the ids that come are
asked for `_AHEAD` rows before they are used.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from recscale_dask.linalg.prefetch import prefetch

_AHEAD = 12
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd, without a pattern in its bits (Knuth's multiplicative hashing)
_PRIME = np.uint64(0x100000001B3)  # of the FNV hashes
_SHIFT = np.uint64(32)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mixed(number: Any) -> Any:
    number = (number ^ (number >> _SHIFT)) * _GOLDEN
    return number ^ (number >> _SHIFT)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def hash_integers(ids: Any, hashes: Any) -> None:
    """Write the hash of each integer."""
    for row in range(len(ids)):
        hashes[row] = _mixed(np.uint64(ids[row]))


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def hash_bytes(data: Any, offsets: Any, hashes: Any) -> None:
    """Write the hash of the bytes of each row."""
    for row in range(len(hashes)):
        total = np.uint64(offsets[row + 1] - offsets[row])
        for place in range(offsets[row], offsets[row + 1]):
            total = (total ^ np.uint64(data[place])) * _PRIME
        hashes[row] = _mixed(total)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def code_integers(
    ids: Any, hashes: Any, slots: Any, known: Any, counts: Any, n_known: Any, room: Any, start: Any, codes: Any
) -> Any:
    """Write the code of each integer; `slots` hold codes (-1 where free), `known` the ids and `counts` their rows."""
    mask = np.uint64(len(slots) - 1)
    for row in range(start, len(ids)):
        if n_known == room:
            return row, n_known
        if row + _AHEAD < len(ids):
            prefetch(slots, np.intp(hashes[row + _AHEAD] & mask))
        place = hashes[row] & mask
        code = slots[place]
        while code >= 0 and known[code] != ids[row]:
            place = (place + np.uint64(1)) & mask
            code = slots[place]
        if code < 0:
            code = n_known
            n_known += 1
            slots[place] = code
            known[code] = ids[row]
            counts[code] = 0
        counts[code] += 1
        codes[row] = code
    return len(ids), n_known


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def code_bytes(
    data: Any,
    offsets: Any,
    hashes: Any,
    slots: Any,
    known_hashes: Any,
    known: Any,
    starts: Any,
    counts: Any,
    n_known: Any,
    room: Any,
    start: Any,
    codes: Any,
) -> Any:
    """Write the code of the bytes of each row; those of code c are ``known[starts[c]:starts[c + 1]]``."""
    mask = np.uint64(len(slots) - 1)
    for row in range(start, len(hashes)):
        length = offsets[row + 1] - offsets[row]
        if n_known == room or starts[n_known] + length > len(known):
            return row, n_known
        if row + _AHEAD < len(hashes):
            prefetch(slots, np.intp(hashes[row + _AHEAD] & mask))
        place = hashes[row] & mask
        code = slots[place]
        while code >= 0 and not (
            known_hashes[code] == hashes[row]
            and _equal(data, offsets[row], length, known, starts[code], starts[code + 1])
        ):
            place = (place + np.uint64(1)) & mask
            code = slots[place]
        if code < 0:
            code = n_known
            n_known += 1
            slots[place] = code
            known_hashes[code] = hashes[row]
            first = starts[code]
            for byte in range(length):
                known[first + byte] = data[offsets[row] + byte]
            starts[code + 1] = first + length
            counts[code] = 0
        counts[code] += 1
        codes[row] = code
    return len(hashes), n_known


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _equal(data: Any, first: Any, length: Any, known: Any, start: Any, stop: Any) -> Any:
    if stop - start != length:
        return False
    byte = 0
    while byte < length and data[first + byte] == known[start + byte]:
        byte += 1
    return byte == length


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def fill_slots(hashes: Any, slots: Any) -> None:
    """Write codes into free slots, given the hash of each code."""
    mask = np.uint64(len(slots) - 1)
    for code in range(len(hashes)):
        place = hashes[code] & mask
        while slots[place] >= 0:
            place = (place + np.uint64(1)) & mask
        slots[place] = code


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_offsets(ids: Any, anchor: Any, first: Any, counts: Any, offsets: Any) -> None:
    """Write how far each id is from `anchor`, and count each offset from `first` on."""
    for row in range(len(ids)):
        offset = ids[row] - anchor
        offsets[row] = offset
        counts[offset - first] += 1
