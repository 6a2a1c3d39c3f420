"""Many small ridge regressions with answers that are not negative, one for each sparse row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import kernel
from recscale_dask.linalg.register_tiles import GROUP, LANES, add_eight, add_products
from recscale_dask.linalg.ridge import PIECE, gather

Flat = NDArray[np.float32]

_ROUNDS = 200
_LITTLE = 1e-6  # change of an answer, relative to its largest entry, that ends coordinate descent


@kernel
def nonnegative_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    factors: Flat,
    gram: Flat,
    shares: Flat,
    penalties: Flat,
    bounds: Flat,
    start: NDArray[np.float32],
    out: NDArray[np.float32],
    fits: NDArray[np.float64],
) -> None:
    """Write the x >= bounds with the least ``|g - B x|^2 + x' (gram + penalty diag(shares)) x`` for each row to `out`.

    By coordinate descent on the normal equations (Hsieh and Dhillon, 2011, without their choice of coordinates).

    Parameters
    ----------
    indptr, indices, roots, targets, factors, shares, penalties, start, out, fits
        See `recscale_dask.linalg.ridge.ridge_rows`; here B is not in other units.
    gram : ndarray of float32, flat, shape (width, width)
    bounds : ndarray of float32, shape (width,)
        0, or minus infinity for what may be negative.
    """
    width = out.shape[1]
    rows, given = np.empty(PIECE * width, np.float32), np.empty(PIECE, np.float32)
    matrix, right = np.empty(width * width, np.float32), np.empty(width, np.float32)
    ones, slope, answer = np.ones(width, np.float32), np.empty(width), np.empty(width)
    for i in range(len(indptr) - 1):
        first, last = indptr[i], indptr[i + 1]
        out[i] = 0.0
        fits[i] = 0.0
        if last == first:
            continue
        matrix[:] = gram
        right[:] = 0.0
        for column in range(width):
            matrix[column * width + column] += penalties[i] * shares[column]
        for piece in range(first, last, PIECE):
            count = gather(indices, roots, targets, piece, min(piece + PIECE, last), factors, ones, rows, given)
            for group in range(0, count, GROUP):
                add_eight(right, 0, rows, group * width, width, given, group)
            for row in range(0, width, GROUP):
                for column in range(0, width, LANES):
                    add_products(matrix, row * width + column, width, rows, row, column, width, count, 1)
        for column in range(width):
            answer[column] = start[i, column] if len(start) else 0.0
            answer[column] = max(answer[column], np.float64(bounds[column]))
            slope[column] = -right[column]
        for column in range(width):
            if answer[column] != 0:
                for other in range(width):
                    slope[other] += answer[column] * matrix[column * width + other]
        for _round in range(_ROUNDS):
            most, largest = 0.0, 0.0
            for column in range(width):
                pivot = np.float64(matrix[column * width + column])
                if pivot > 0:
                    after = max(answer[column] - slope[column] / pivot, np.float64(bounds[column]))
                    change = after - answer[column]
                    if change != 0:
                        answer[column] = after
                        for other in range(width):
                            slope[other] += change * matrix[column * width + other]
                    most, largest = max(most, abs(change)), max(largest, abs(after))
            if most <= _LITTLE * largest:
                break
        for column in range(width):
            out[i, column] = answer[column]
            fits[i] += answer[column] * (slope[column] - right[column])  # x'Mx - 2x'b, as the slope is Mx - b
