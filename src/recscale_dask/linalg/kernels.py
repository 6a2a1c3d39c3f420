"""Compiled kernels over CSR rows: each reads a block once, on one thread, without the GIL.

Compiled on first use and kept in Numba's cache on disk; importing this module compiles nothing. Blocks
and constants reach kernels read-only and C-contiguous, so each kernel is compiled once per dtype. Only
fused multiply-add is allowed to the compiler ("contract"), so sums keep their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.prefetch import prefetch

_AHEAD = 8  # stored values between asking for a row and using it

_F = TypeVar("_F", bound=Callable[..., Any])


def kernel(function: _F) -> _F:
    """Compile a function with the settings of all our kernels."""
    return cast(_F, numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function))


def strict_kernel(function: _F) -> _F:
    """Compile a function so that every operation rounds as written: for results that are compared."""
    return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@kernel
def gram_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    basis: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add ``A' (A basis)`` to `out` in one read of the rows A.

    Parameters
    ----------
    indptr, indices, values : ndarray
        Rows A as CSR, shape (n_rows, n_columns).
    basis, out : ndarray of shape (n_columns, width)
        Dense block, and the sum; rows contiguous.
    """
    width = basis.shape[1]
    row = np.empty(width, out.dtype)
    line = 64 // basis.itemsize
    for i in range(len(indptr) - 1):
        first, last = indptr[i], indptr[i + 1]
        row[:] = 0
        p = first
        # Four values a step keep the row in registers longer; items come in no order, so the caches have
        # to be told which rows of the dense block are next.
        while p + 4 <= last:
            for ahead in range(p + _AHEAD, min(p + _AHEAD + 4, last)):
                for j in range(0, width, line):
                    prefetch(basis, indices[ahead], j)
            value0, value1, value2, value3 = values[p], values[p + 1], values[p + 2], values[p + 3]
            source0, source1 = basis[indices[p]], basis[indices[p + 1]]
            source2, source3 = basis[indices[p + 2]], basis[indices[p + 3]]
            for j in range(width):
                row[j] += (value0 * source0[j] + value1 * source1[j]) + (value2 * source2[j] + value3 * source3[j])
            p += 4
        while p < last:
            value, source = values[p], basis[indices[p]]
            for j in range(width):
                row[j] += value * source[j]
            p += 1
        for p in range(first, last):
            if p + _AHEAD < last:
                for j in range(0, width, line):
                    prefetch(out, indices[p + _AHEAD], j)
            value, target = values[p], out[indices[p]]
            for j in range(width):
                target[j] += value * row[j]


@kernel
def product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    basis: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write ``A basis`` to `out` of shape (n_rows, width); the rest is as in `gram_product`."""
    width = basis.shape[1]
    for i in range(len(indptr) - 1):
        row = out[i]
        row[:] = 0
        for p in range(indptr[i], indptr[i + 1]):
            value = values[p]
            source = basis[indices[p]]
            for j in range(width):
                row[j] += value * source[j]


@kernel
def transpose_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    rows: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add ``A' rows`` to `out` of shape (n_columns, width); the rest is as in `gram_product`."""
    width = rows.shape[1]
    for i in range(len(indptr) - 1):
        row = rows[i]
        for p in range(indptr[i], indptr[i + 1]):
            value = values[p]
            target = out[indices[p]]
            for j in range(width):
                target[j] += value * row[j]
