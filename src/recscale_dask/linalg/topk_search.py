"""Search for the k best candidates of each row, exact, with most candidates never looked at.

Candidates come in order of their lengths, the longest first, and rows in blocks whose shortlists stay in
the cache. By Cauchy-Schwarz no candidate further down can have a score above the product of its own length
and that of the row; once this is below the row's k-th score, the row is finished.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import strict_kernel
from recscale_dask.linalg.panel_scores import PANEL, ROWS, WORDS, lowest_bit, reach_thresholds
from recscale_dask.linalg.topk import dot, keep_best, row_scores, sort_best_first
from recscale_dask.linalg.topk_candidates import Candidates
from recscale_dask.linalg.topk_shortlist import TINY, margin_of, settle, shorten

TILE_PANELS = 8
SLACK = 48
GROWTH = 12
BLOCK_ROWS = 128
BLOCK_BYTES = 4 << 20


def block_shape(n_rows: int, n_candidates: int, k: int) -> tuple[int, int]:
    """Return how many rows are searched together, and how long their shortlists are."""
    capacity = k + PANEL + SLACK + k // 4
    bytes_of_slot = 8 * capacity + n_candidates // 8
    return min(n_rows, BLOCK_ROWS, max(ROWS, BLOCK_BYTES // bytes_of_slot)), capacity


class Filters(NamedTuple):
    """What each row may get; CSR structures with a row each.

    Attributes
    ----------
    excluded_indptr, excluded : ndarray
        Never these.
    limited : bool
        Whether only those of `allowed` may be returned.
    allowed_indptr, allowed : ndarray
        Only these, ascending.
    min_score : float
        The least score.
    """

    excluded_indptr: NDArray[np.int64]
    excluded: NDArray[np.int32]
    limited: bool
    allowed_indptr: NDArray[np.int64]
    allowed: NDArray[np.int32]
    min_score: float


class _Block(NamedTuple):
    """The rows that are searched together, a slot each."""

    rows: NDArray[np.int64]
    scaled: NDArray[np.float32]
    row_scales: NDArray[np.float64]
    lengths: NDArray[np.float64]
    margins: NDArray[np.float64]
    blocked: NDArray[np.uint8]
    capacity: int
    lows: NDArray[np.float32]
    codes: NDArray[np.int32]
    sizes: NDArray[np.int64]
    floors: NDArray[np.float32]


@strict_kernel
def _length(row: NDArray[np.float32]) -> float:
    square = 0.0
    for j in range(len(row)):
        square += np.float64(row[j]) * np.float64(row[j])
    return float(np.sqrt(square))


@strict_kernel
def _mark(blocked: NDArray[np.uint8], codes: NDArray[np.int32], mark: bool) -> None:
    for code in codes:
        bit = np.uint8(1 << (code & 7))
        if mark:
            blocked[code >> 3] |= bit
        else:
            blocked[code >> 3] = 0


@strict_kernel
def _is_marked(blocked: NDArray[np.uint8], code: Any) -> bool:
    return bool((blocked[code >> 3] >> (code & 7)) & 1)


@strict_kernel
def _scan(
    row: NDArray[np.float32],
    length: float,
    allowed: NDArray[np.int32],
    limited: bool,
    blocked: NDArray[np.uint8],
    min_score: float,
    candidates: Candidates,
    codes: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> Any:
    """Write the best of some candidates, or of all, one by one in order of their codes; return their number."""
    longest = np.ldexp(1.0, candidates.exponent)
    size, scored = 0, 0
    for i in range(len(allowed) if limited else len(candidates.norms)):
        code = allowed[i] if limited else np.int32(i)
        if size == len(codes):
            # A tie would go to a lower code, which are all behind us.
            if length * longest * (1 + 1e-6) + 2.0**-149 * (length > 0) <= scores[0]:
                break
            norm = candidates.norms[code]
            if length * norm * (1 + 1e-6) + 2.0**-149 * (length * norm > 0) <= scores[0]:
                continue
        if _is_marked(blocked, code):
            continue
        score = dot(row, candidates.factors[code])
        scored += 1
        if score >= min_score:
            size = keep_best(scores, codes, size, score, code)
    sort_best_first(scores, codes, size)
    return size, scored


@strict_kernel
def _make_room(
    slot: int, k: int, rows: NDArray[np.float32], block: _Block, candidates: Candidates, scale: float
) -> None:
    """Shorten the shortlist of a slot until a panel fits."""
    start = slot * block.capacity
    lows, listed = block.lows[start : start + block.sizes[slot]], block.codes[start : start + block.sizes[slot]]
    margin, norms = block.margins[slot], candidates.norms
    size, block.floors[slot] = shorten(lows, listed, k, block.floors[slot], margin, scale, norms)
    if size > block.capacity - PANEL:
        row, row_scale = rows[block.rows[slot]], block.row_scales[slot]
        size = settle(lows[:size], listed[:size], k, margin, scale, norms, row, row_scale, candidates.factors)
    block.sizes[slot] = size


@strict_kernel
def _finish(
    slot: int,
    rows: NDArray[np.float32],
    block: _Block,
    candidates: Candidates,
    min_score: float,
    scale: float,
    codes: NDArray[np.int32],
    scores: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> None:
    """Write the best of the shortlist of a slot."""
    start, row = slot * block.capacity, block.rows[slot]
    lows, listed = block.lows[start : start + block.sizes[slot]], block.codes[start : start + block.sizes[slot]]
    best_codes, best_scores = codes[row], scores[row]
    size, _ = shorten(lows, listed, len(best_codes), block.floors[slot], block.margins[slot], scale, candidates.norms)
    row_scores(rows, row, candidates.factors, listed[:size], lows)
    kept = 0
    for i in range(size):
        if lows[i] >= min_score:
            kept = keep_best(best_scores, best_codes, kept, lows[i], listed[i])
    sort_best_first(best_scores, best_codes, kept)
    counts[row] = kept


@strict_kernel
def _search_block(
    active: NDArray[np.int64],
    n_active: int,
    rows: NDArray[np.float32],
    block: _Block,
    candidates: Candidates,
    min_score: float,
    codes: NDArray[np.int32],
    scores: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> int:
    """Search for the best of the active slots; return how many scores were computed."""
    k = codes.shape[1]
    n_panels, width = len(candidates.codes) // PANEL, len(block.scaled) // len(block.rows)
    scale = np.ldexp(1.0, -candidates.exponent)
    places = np.empty(len(active) + ROWS, np.int64)
    thresholds = np.empty(len(active) + ROWS, np.float32)
    rough = np.empty(ROWS * PANEL, np.float32)
    reached = np.empty(WORDS, np.int64)
    # By name, because reading a field of a tuple counts references.
    scaled, panels, order, norms = block.scaled, candidates.panels, candidates.codes, candidates.norms
    lows, listed, sizes, floors = block.lows, block.codes, block.sizes, block.floors
    item_lengths = candidates.lengths
    blocked, capacity, margins, lengths = block.blocked, block.capacity, block.margins, block.lengths
    n_blocked = len(blocked) // len(block.rows)
    scored = 0
    for first in range(0, n_panels, TILE_PANELS):
        bound = item_lengths[first * PANEL]
        last = min(first + TILE_PANELS, n_panels)
        kept = 0
        for i in range(n_active):
            slot = active[i]
            if sizes[slot] > k + GROWTH:
                start = slot * capacity
                end = start + sizes[slot]
                sizes[slot], floors[slot] = shorten(
                    lows[start:end], listed[start:end], k, floors[slot], margins[slot], scale, norms
                )
            error = margins[slot] * bound + TINY
            if lengths[slot] * bound + error >= floors[slot]:
                active[kept], places[kept] = slot, slot * width
                thresholds[kept] = np.float32(floors[slot] - error)
                kept += 1
            else:
                _finish(slot, rows, block, candidates, min_score, scale, codes, scores, counts)
        n_active = kept
        if n_active == 0:
            break
        for i in range(n_active, n_active + ROWS):
            places[i], thresholds[i] = places[0], np.float32(np.inf)
        scored += n_active * (min(last * PANEL, len(norms)) - first * PANEL)
        for group in range(0, n_active, ROWS):
            for panel in range(first, last):
                if not reach_thresholds(
                    scaled, places, thresholds, group, panels, panel * width * PANEL, width, rough, reached
                ):
                    continue
                fullest = 0
                for word in range(WORDS):
                    bits = reached[word]
                    while bits:
                        bit = 64 * word + lowest_bit(bits)
                        bits &= bits - 1
                        slot, position = active[group + bit // PANEL], panel * PANEL + bit % PANEL
                        code = order[position]
                        if (blocked[slot * n_blocked + (code >> 3)] >> (code & 7)) & 1:
                            continue
                        size = sizes[slot]
                        error = margins[slot] * item_lengths[position] + TINY
                        lows[slot * capacity + size] = np.float32(rough[bit] - error)
                        listed[slot * capacity + size] = code
                        sizes[slot] = size + 1
                        fullest = max(fullest, size + 1)
                if fullest > capacity - PANEL:
                    for i in range(group, min(group + ROWS, n_active)):
                        if sizes[active[i]] > capacity - PANEL:
                            _make_room(active[i], k, rows, block, candidates, scale)
                            error = margins[active[i]] * bound + TINY
                            thresholds[i] = np.float32(floors[active[i]] - error)
    for i in range(n_active):
        _finish(active[i], rows, block, candidates, min_score, scale, codes, scores, counts)
    return scored


@strict_kernel
def search(
    rows: NDArray[np.float32],
    filters: Filters,
    candidates: Candidates,
    n_slots: int,
    capacity: int,
    codes: NDArray[np.int32],
    scores: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> int:
    """Write the best candidates of each row, best first, ties by code; return how many scores were computed.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, rank)
        Factors.
    filters : Filters
        What each row may get.
    candidates : Candidates
        What to search.
    n_slots : int
        How many rows are searched together.
    capacity : int
        Length of shortlists, at least k + 16.
    codes, scores : ndarray of shape (n_rows, k)
        Written: positions of candidates, and their scores.
    counts : ndarray of shape (n_rows,)
        Written: how many of the k are filled.
    """
    n_rows, rank = rows.shape
    n = len(candidates.norms)
    width = len(candidates.panels) // len(candidates.codes)
    n_blocked = n // 8 + 1
    block = _Block(
        np.empty(n_slots, np.int64),
        np.zeros(n_slots * width, np.float32),
        np.empty(n_slots, np.float64),
        np.empty(n_slots, np.float64),
        np.empty(n_slots, np.float64),
        np.zeros(n_slots * n_blocked, np.uint8),
        capacity,
        np.empty(n_slots * capacity, np.float32),
        np.empty(n_slots * capacity, np.int32),
        np.empty(n_slots, np.int64),
        np.empty(n_slots, np.float32),
    )
    longest = candidates.norms[candidates.codes[0]]
    active = np.empty(n_slots, np.int64)
    scored = 0
    for first in range(0, n_rows, n_slots):
        n_active = 0
        filled = min(n_slots, n_rows - first)
        for slot in range(filled):
            i = first + slot
            _mark(
                block.blocked[slot * n_blocked : (slot + 1) * n_blocked],
                filters.excluded[filters.excluded_indptr[i] : filters.excluded_indptr[i + 1]],
                True,
            )
            block.blocked[slot * n_blocked + n // 8] |= np.uint8(1 << (n & 7))
            length = _length(rows[i])
            # Outside of these limits scores overflow, or are too small for a relative error.
            if filters.limited or not 2.0**-100 < length * longest < 2.0**127:
                counts[i], computed = _scan(
                    rows[i],
                    length,
                    filters.allowed[filters.allowed_indptr[i] : filters.allowed_indptr[i + 1]],
                    filters.limited,
                    block.blocked[slot * n_blocked : (slot + 1) * n_blocked],
                    filters.min_score,
                    candidates,
                    codes[i],
                    scores[i],
                )
                scored += computed
                continue
            _, exponent = math.frexp(length)
            row_scale = math.ldexp(1.0, -exponent)
            for j in range(rank):
                block.scaled[slot * width + j] = np.float32(rows[i, j] * row_scale)
            block.rows[slot], block.row_scales[slot] = i, row_scale
            block.lengths[slot] = length * row_scale
            block.margins[slot] = margin_of(length * row_scale, width)
            block.sizes[slot] = 0
            block.floors[slot] = np.float32(filters.min_score * row_scale * math.ldexp(1.0, -candidates.exponent))
            active[n_active] = slot
            n_active += 1
        scored += _search_block(active, n_active, rows, block, candidates, filters.min_score, codes, scores, counts)
        for slot in range(filled):
            i = first + slot
            _mark(
                block.blocked[slot * n_blocked : (slot + 1) * n_blocked],
                filters.excluded[filters.excluded_indptr[i] : filters.excluded_indptr[i + 1]],
                False,
            )
    return scored
