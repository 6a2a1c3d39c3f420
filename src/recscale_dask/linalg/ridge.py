"""Many small ridge regressions, one for each sparse row: what alternating least squares spends its time in.

A row has entries j with targets g_j and rows B_j of a dense matrix; its solution y is the least of
``|g - B y|^2 + |y|^2``. What is wanted is in other units: ``B_j = root_j Z_j S`` for the factors Z_j of the entry's
column and a diagonal S, and the answer is ``x = S y``. So a sum over *all* columns with a weight of one, which an
implicit fit has, and a penalty are in S alone, if the factors Z are in the axes of their Gram matrix: ``S^-2 =
diag(Z'Z) + penalty``. Then nothing of the order of the square of the number of factors is left to do for a row but what
its entries ask for, and no eigenvalue of ``1 + B'B`` is above one plus the largest weight of an entry, which single
precision and a few steps of conjugate gradients (Takacs, Pilaszy and Tikk, 2011) are enough for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg import cholesky
from recscale_dask.linalg.kernels import kernel
from recscale_dask.linalg.prefetch import LINE_BYTES, prefetch
from recscale_dask.linalg.register_tiles import GROUP, LANES, add_eight, add_products, copy_scaled, eight_dots

Flat = NDArray[np.float32]

_CACHED = 1 << 18  # numbers of gathered rows: they stay in the cache next to the core
PIECE = 64
"""Rows whose products are added at once: they stay in the smallest cache."""
_AHEAD = 8
_LARGEST_PIVOT = 1e5  # above which single precision leaves few digits of a solution
_LINE = LINE_BYTES // 4


@kernel
def ridge_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    factors: Flat,
    curvature: Flat,
    shares: Flat,
    penalties: Flat,
    start: NDArray[np.float32],
    steps: int,
    exact_up_to: int,
    out: NDArray[np.float32],
    fits: NDArray[np.float64],
) -> None:
    """Write the solution of each row to `out`, and what it makes of ``|g - B y|^2 + |y|^2 - |g|^2`` to `fits`.

    Parameters
    ----------
    indptr, indices : ndarray
        Rows as CSR structure.
    roots, targets : ndarray of float32, shape (n_stored,)
        Of each entry.
    factors : ndarray of float32, flat
        Z; each row has as many numbers as `out`, a multiple of 16.
    curvature, shares : ndarray of float32, shape (width,)
        ``S^-2 = curvature + penalty shares``; where that is not above 0, answers are 0.
    penalties : ndarray of float32, shape (n_rows,)
    start : ndarray of float32, shape (n_rows, width) or (0, width)
        What conjugate gradients start from; without rows, from 0.
    steps : int
        Of conjugate gradients; 0 is a Cholesky factor of each row's matrix.
    exact_up_to : int
        Rows with no more entries are solved by a Cholesky factor in any case.
    out : ndarray of float32, shape (n_rows, width)
    fits : ndarray of float64, shape (n_rows,)
    """
    width = out.shape[1]
    room = max(PIECE, _CACHED // width // GROUP * GROUP)
    rows = np.empty(room * width, np.float32)
    dots = np.empty(room, np.float32)
    given = np.empty(room, np.float32)
    scales = np.empty(width, np.float32)
    solution, residual = np.empty(width, np.float32), np.empty(width, np.float32)
    direction, image = np.empty(width, np.float32), np.empty(width, np.float32)
    order = width if steps == 0 else min(width, exact_up_to + LANES)
    matrix = np.empty(order * order, np.float32)
    for i in range(len(indptr) - 1):
        first, last = indptr[i], indptr[i + 1]
        if last == first:
            out[i] = 0.0
            fits[i] = 0.0
            continue
        for column in range(width):
            scale = curvature[column] + penalties[i] * shares[column]
            scales[column] = np.float32(1.0) / np.sqrt(scale) if scale > 0 else np.float32(0.0)
        if steps > 0 and last - first > min(exact_up_to, width):
            for column in range(width):
                solution[column] = 0.0
                if len(start) and scales[column] > 0:
                    solution[column] = start[i, column] / scales[column]
            fits[i] = _by_gradients(
                indices, roots, targets, first, last, factors, scales, steps, rows, dots, given, solution, residual,
                direction, image,
            )  # fmt: skip
        else:
            arrays = indices, roots, targets, first, last, factors, scales
            if last - first <= width:
                fits[i], largest = _by_entries(*arrays, rows, given, matrix, solution)
            else:
                fits[i], largest = _by_factors(*arrays, rows, given, matrix, solution, residual)
            if largest > _LARGEST_PIVOT:
                fits[i] = _in_double(*arrays, solution)
        for column in range(width):
            out[i, column] = solution[column] * scales[column]


@kernel
def gather(
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    first: int,
    last: int,
    factors: Flat,
    scales: Flat,
    rows: Flat,
    given: Flat,
) -> int:
    """Write rows of B and their targets, padded with zeros to whole groups; return how many there are then."""
    width = len(scales)
    for p in range(first, last):
        ahead = min(p + _AHEAD, len(indices) - 1)
        for line in range(0, width, _LINE):
            prefetch(factors, np.int64(indices[ahead]) * width + line)
        copy_scaled(rows, (p - first) * width, factors, np.int64(indices[p]) * width, scales, roots, p, width)
        given[p - first] = targets[p]
    count = -(-(last - first) // GROUP) * GROUP
    for p in range(last - first, count):
        given[p] = 0.0
        for column in range(width):
            rows[p * width + column] = 0.0
    return count


@kernel
def _by_gradients(
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    first: int,
    last: int,
    factors: Flat,
    scales: Flat,
    steps: int,
    rows: Flat,
    dots: Flat,
    given: Flat,
    solution: Flat,
    residual: Flat,
    direction: Flat,
    image: Flat,
) -> float:
    """Improve a solution by steps of conjugate gradients; return its fit."""
    width = len(scales)
    room = len(dots)
    count = 0
    fit = 0.0
    for column in range(width):
        residual[column] = -solution[column]
    for piece in range(first, last, room):
        count = gather(indices, roots, targets, piece, min(piece + room, last), factors, scales, rows, given)
        for group in range(0, count, GROUP):
            eight_dots(rows, group * width, width, solution, 0, dots, group)
            for p in range(group, group + GROUP):
                fit -= given[p] * dots[p]
                dots[p] = given[p] - dots[p]
            add_eight(residual, 0, rows, group * width, width, dots, group)
    size = 0.0
    for column in range(width):
        fit -= solution[column] * residual[column]
        size += residual[column] * residual[column]
        direction[column] = residual[column]
    for _step in range(steps):
        if not size > 0:
            break
        for column in range(width):
            image[column] = direction[column]
        for piece in range(first, last, room):
            if last - first > room:
                count = gather(indices, roots, targets, piece, min(piece + room, last), factors, scales, rows, given)
            for group in range(0, count, GROUP):
                eight_dots(rows, group * width, width, direction, 0, dots, group)
                add_eight(image, 0, rows, group * width, width, dots, group)
        along = 0.0
        for column in range(width):
            along += direction[column] * image[column]
        length = np.float32(size / along)
        fit -= size / along * size
        before, size = size, 0.0
        for column in range(width):
            solution[column] += length * direction[column]
            residual[column] -= length * image[column]
            size += residual[column] * residual[column]
        turn = np.float32(size / before)
        for column in range(width):
            direction[column] = residual[column] + turn * direction[column]
    return fit


@kernel
def _by_factors(
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    first: int,
    last: int,
    factors: Flat,
    scales: Flat,
    rows: Flat,
    given: Flat,
    matrix: Flat,
    solution: Flat,
    right: Flat,
) -> tuple[float, np.floating]:
    """Solve ``(1 + B'B) y = B'g``; return the fit and the largest pivot."""
    width = len(scales)
    matrix[: width * width] = 0.0
    for column in range(width):
        matrix[column * width + column] = 1.0
        right[column] = 0.0
    for piece in range(first, last, PIECE):
        count = gather(indices, roots, targets, piece, min(piece + PIECE, last), factors, scales, rows, given)
        for group in range(0, count, GROUP):
            add_eight(right, 0, rows, group * width, width, given, group)
        for row in range(0, width, GROUP):
            for column in range(row // LANES * LANES, width, LANES):
                add_products(matrix, row * width + column, width, rows, row, column, width, count, 1)
    for column in range(width):
        solution[column] = right[column]
    largest = cholesky.factorize(matrix, width)
    if largest > _LARGEST_PIVOT:
        return 0.0, largest
    cholesky.solve(matrix, width, solution)
    fit = 0.0
    for column in range(width):
        fit -= right[column] * solution[column]
    return fit, largest


@kernel
def _by_entries(
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    first: int,
    last: int,
    factors: Flat,
    scales: Flat,
    rows: Flat,
    given: Flat,
    matrix: Flat,
    solution: Flat,
) -> tuple[float, np.floating]:
    """Solve ``(1 + BB') z = g`` for ``y = B'z``: the smaller system where there are few entries."""
    width = len(scales)
    count = gather(indices, roots, targets, first, last, factors, scales, rows, given)
    order = -(-count // LANES) * LANES
    matrix[: order * order] = 0.0
    for row in range(count):
        for group in range(row // LANES * LANES, count, GROUP):
            eight_dots(rows, group * width, width, rows, row * width, matrix, row * order + group)
    for row in range(order):
        matrix[row * order + row] += np.float32(1.0)
    fit = 0.0
    dual = np.zeros(order, np.float32)
    for row in range(count):
        dual[row] = given[row]
    largest = cholesky.factorize(matrix, order)
    if largest > _LARGEST_PIVOT:
        return 0.0, largest
    cholesky.solve(matrix, order, dual)
    for column in range(width):
        solution[column] = 0.0
    for group in range(0, count, GROUP):
        add_eight(solution, 0, rows, group * width, width, dual, group)
    for row in range(count):
        fit -= given[row] * (given[row] - dual[row])
    return fit, largest


@kernel
def _in_double(
    indices: NDArray[np.int32],
    roots: Flat,
    targets: Flat,
    first: int,
    last: int,
    factors: Flat,
    scales: Flat,
    solution: Flat,
) -> float:
    """Solve ``(1 + B'B) y = B'g`` in double precision, for the few rows that need it; return the fit."""
    width = len(scales)
    matrix, right, row = np.eye(width), np.zeros(width), np.empty(width)
    for p in range(first, last):
        place = np.int64(indices[p]) * width
        for column in range(width):
            row[column] = np.float64(factors[place + column]) * scales[column] * roots[p]
            right[column] += row[column] * targets[p]
        for i in range(width):
            for j in range(i + 1):
                matrix[i, j] += row[i] * row[j]
    for i in range(width):
        for j in range(i + 1):
            total = matrix[i, j]
            for c in range(j):
                total -= matrix[i, c] * matrix[j, c]
            matrix[i, j] = np.sqrt(total) if i == j else total / matrix[j, j]
    answer = right.copy()
    for i in range(width):
        for c in range(i):
            answer[i] -= matrix[i, c] * answer[c]
        answer[i] /= matrix[i, i]
    for i in range(width - 1, -1, -1):
        for c in range(i + 1, width):
            answer[i] -= matrix[c, i] * answer[c]
        answer[i] /= matrix[i, i]
    fit = 0.0
    for column in range(width):
        fit -= right[column] * answer[column]
        solution[column] = np.float32(answer[column])
    return fit
