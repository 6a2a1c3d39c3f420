"""Whole rows of scores, a block of users at a time, and the k best of each row.

For models whose scores are more than products of factors (`recscale_dask.item_operators`): bounds that let most items
go unseen are not to be had there, so rows are computed in full, some users at a time, and selected from at once. Each
score is a sum in one order that does not depend on which other users are in the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import kernel, strict_kernel
from recscale_dask.linalg.panel_scores import PANEL, ROWS, UNROLLED, WORDS, reach_thresholds
from recscale_dask.linalg.topk import keep_best, sort_best_first

TILE = 32
"""Users in a tile: what the products of `recscale_dask.linalg.kernels` take at once in float32."""

_STRIP = 16  # items that are moved from a tile to rows together: a cache line of each row
_STRIDE = 256  # scores that are compared with the worst of the best at once


def padded(width: int) -> int:
    """Return the width of rows of factors, padded to what `add_factor_scores` takes."""
    return -(-width // UNROLLED) * UNROLLED


def factor_panels(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return item factors as `add_factor_scores` reads them, shape (n_panels, padded width, 16), padded with zeros."""
    n, rank = factors.shape
    n_panels, width = -(-n // PANEL), padded(rank)
    ordered = np.zeros((n_panels * PANEL, width), np.float32)
    ordered[:n, :rank] = factors
    return np.ascontiguousarray(ordered.reshape(n_panels, PANEL, width).transpose(0, 2, 1))


def padded_rows(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return user factors as `add_factor_scores` reads them: rows and columns of zeros fill the last group and step."""
    n, rank = factors.shape
    rows = np.zeros((-(-n // ROWS) * ROWS, padded(rank)), np.float32)
    rows[:n, :rank] = factors
    return rows


@strict_kernel
def add_factor_scores(rows: NDArray[np.float32], panels: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add the products of user and item factors to `out`; each is a sum in float32 in the order of the factors.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_padded, width)
        From `padded_rows`.
    panels : ndarray of float32, shape (n_panels, width, 16)
        From `factor_panels`.
    out : ndarray of float32, shape (n_rows, n_items)
    """
    n_rows, n_items = out.shape
    width = rows.shape[1]
    flat_rows, flat_panels = rows.reshape(-1), panels.reshape(-1)
    places = np.arange(len(rows)) * width
    anything = np.full(len(rows), -np.inf, np.float32)
    scores = np.empty(ROWS * PANEL, np.float32)
    reached = np.empty(WORDS, np.int64)
    for panel in range(len(panels)):
        first = panel * PANEL
        count = min(PANEL, n_items - first)
        for group in range(0, n_rows, ROWS):
            start = panel * width * PANEL
            if not reach_thresholds(flat_rows, places, anything, group, flat_panels, start, width, scores, reached):
                scores[:] = np.nan  # nothing compares with these, so nothing was written
            for i in range(min(ROWS, n_rows - group)):
                row, found = out[group + i], scores[i * PANEL : (i + 1) * PANEL]
                if count == PANEL:
                    for j in range(PANEL):  # known to the compiler
                        row[first + j] += found[j]
                else:
                    for j in range(count):
                        row[first + j] += found[j]


@kernel
def add_dense_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add ``A weights`` to `out`; A is CSR, and `weights` has a dense row per column of A."""
    for i in range(len(indptr) - 1):
        target = out[i]
        for p in range(indptr[i], indptr[i + 1]):
            value, row = values[p], weights[indices[p]]
            for j in range(len(target)):
                target[j] += value * row[j]


@kernel
def add_sparse_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    weights_indptr: NDArray[np.int64],
    weights_indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add ``A W`` to `out`; A and W are CSR, and the rows of W are the columns of A."""
    for i in range(len(indptr) - 1):
        target = out[i]
        for p in range(indptr[i], indptr[i + 1]):
            value, item = values[p], indices[p]
            for q in range(weights_indptr[item], weights_indptr[item + 1]):
                target[weights_indices[q]] += value * weights[q]


@kernel
def fill_tile(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    first: int,
    last: int,
    tile: NDArray[np.float32],
) -> None:
    """Write rows ``first`` to ``last - 1`` of a CSR matrix into a tile of zeros, shape (n_columns, 32), a lane each."""
    for i in range(first, last):
        for p in range(indptr[i], indptr[i + 1]):
            tile[indices[p], i - first] = values[p]


@kernel
def clear_tile(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], first: int, last: int, tile: NDArray[np.float32]
) -> None:
    """Write zeros where `fill_tile` wrote values."""
    for p in range(indptr[first], indptr[last]):
        tile[indices[p]] = 0


@kernel
def add_tile(tile: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add the lanes of a tile, shape (n_items, 32), to rows, shape (at most 32, n_items)."""
    n_rows, n_items = out.shape
    whole = n_items - n_items % _STRIP
    for first in range(0, whole, _STRIP):
        for i in range(n_rows):
            row = out[i]
            for j in range(_STRIP):  # so many in a row as the compiler knows: four times as fast
                row[first + j] += tile[first + j, i]
    for item in range(whole, n_items):
        for i in range(n_rows):
            out[i, item] += tile[item, i]


@strict_kernel
def strike_out(scores: NDArray[np.float32], indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> None:
    """Make the scores of the items of each row NaN, which `select_best` takes for nothing."""
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            scores[i, indices[p]] = np.nan


@strict_kernel
def _any_above(scores: NDArray[np.float32], floor: Any) -> bool:
    """Return whether a score is above a number: in vector registers, because integers are counted."""
    count = np.int32(0)
    for score in scores:
        count += np.int32(score > floor)
    return bool(count > 0)


@strict_kernel
def select_best(
    scores: NDArray[np.float32],
    items: NDArray[np.int32],
    lists_indptr: NDArray[np.int64],
    least: float,
    own_lists: bool,
    codes: NDArray[np.int32],
    best: NDArray[np.float32],
    counts: NDArray[np.int64],
) -> None:
    """Write the best items of each row, best first, ties by code; NaN is left out.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows, n_items)
    items : ndarray of int32
        The only codes that may be chosen, ascending within a list.
    lists_indptr : ndarray of int64, shape (n_rows + 1,), or (2,), or (0,)
        Where lists begin in `items`; empty: everything may be chosen.
    least : float
        Lowest score.
    own_lists : bool
        Whether each row has a list of its own; else there is one for all.
    codes, best : ndarray of shape (n_rows, k)
        Written.
    counts : ndarray of int64, shape (n_rows,)
        Written: how many of the k are filled.
    """
    n_rows, n_items = scores.shape
    for i in range(n_rows):
        row, kept_codes, kept = scores[i], codes[i], best[i]
        size = 0
        if len(lists_indptr):
            own = i if own_lists else 0
            for p in range(lists_indptr[own], lists_indptr[own + 1]):
                if row[items[p]] >= least:
                    size = keep_best(kept, kept_codes, size, row[items[p]], items[p])
        else:
            for first in range(0, n_items, _STRIDE):
                last = min(first + _STRIDE, n_items)
                # An equal score would lose the tie: codes ascend.
                if size == len(kept) and not _any_above(row[first:last], kept[0]):
                    continue
                for code in range(first, last):
                    if row[code] >= least:
                        size = keep_best(kept, kept_codes, size, row[code], np.int32(code))
        sort_best_first(kept, kept_codes, size)
        counts[i] = size
