"""Cholesky factors of small float32 matrices, and what they solve, in one order of additions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import kernel
from recscale_dask.linalg.register_tiles import GROUP, LANES, add_products, subtract_rows

Flat = NDArray[np.float32]


@kernel
def factorize(matrix: Flat, order: int) -> np.float32:
    """Overwrite the upper triangle of A, by rows, with U of ``A = U' U``; return its largest pivot.

    Parameters
    ----------
    matrix : ndarray of float32, flat
        A, at least as large as the unit matrix; `order` rows of as many numbers. Below the diagonal are leftovers.
    order : int
        A multiple of 16.

    Returns
    -------
    float32
        The largest pivot, which is a lower bound of the condition of A; infinite if a pivot is not positive.
    """
    largest = np.float32(0.0)
    for panel in range(0, order, LANES):
        for column in range(panel, order, LANES):
            for row in range(panel, panel + LANES, GROUP):
                add_products(matrix, row * order + column, order, matrix, row, column, order, panel, -1)
        for row in range(panel, panel + LANES):
            place, width = row * order + panel, order - panel
            first = panel * order
            subtract_rows(matrix, place, matrix, first + panel, order, matrix, first + row, row - panel, width)
            pivot = matrix[row * order + row]
            if not pivot > 0:
                return np.float32(np.inf)
            largest = max(largest, pivot)
            inverse = np.float32(1.0) / np.sqrt(pivot)
            for column in range(place, place + width):
                matrix[column] *= inverse
    return largest


@kernel
def solve(factor: Flat, order: int, vector: Flat) -> None:
    """Overwrite a vector b with the solution of ``U' U x = b``."""
    for row in range(order):
        first = row * order
        vector[row] /= factor[first + row]
        weight = vector[row]
        for column in range(row + 1, order):
            vector[column] -= weight * factor[first + column]
    for row in range(order - 1, -1, -1):
        first = row * order
        total = vector[row]
        for column in range(row + 1, order):
            total -= factor[first + column] * vector[column]
        vector[row] = total / factor[first + row]
