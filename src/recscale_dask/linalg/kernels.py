"""Compiled kernels over CSR rows: each reads a block on one thread, without the GIL.

Compiled on first use and kept in Numba's cache on disk; importing this module compiles nothing. Blocks
and constants reach kernels read-only and C-contiguous, so each kernel is compiled once per dtype. Only
fused multiply-add is allowed to the compiler ("contract"), so sums keep their order.

Dense matrices with a row per item come as tiles (see `to_tiles`): a kernel goes through the block once for
each tile, which then stays in the cache. That is faster than one read of the block with wider rows, because
the block is read in order and the dense rows are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.prefetch import LINE_BYTES
from recscale_dask.linalg.sparse_rows import LINES, gram_row, image_row, product_row, transpose_row

_F = TypeVar("_F", bound=Callable[..., Any])


def kernel(function: _F) -> _F:
    """Compile a function with the settings of all our kernels."""
    return cast(_F, numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function))


def strict_kernel(function: _F) -> _F:
    """Compile a function so that every operation rounds as written: for results that are compared."""
    return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def counting_kernel(function: _F) -> _F:
    """Compile a function that compares floats but adds only integers, in any order, without a thought of NaN."""
    return cast(_F, numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"}, error_model="numpy")(function))


def tile_width(width: int, dtype: Any) -> int:
    """Return how many columns a tile of a dense matrix has: 32 of float32, 16 of float64, half of narrow ones."""
    line = LINE_BYTES // int(np.dtype(dtype).itemsize)
    return line if width <= line else LINES * line


def to_tiles(dense: NDArray[Any]) -> NDArray[Any]:
    """Return the columns of a dense matrix in tiles, shape (n_tiles, n_rows, tile width), padded with zeros."""
    n_rows, width = dense.shape
    size = tile_width(width, dense.dtype)
    tiles = np.empty((-(-width // size), n_rows, size), dense.dtype)
    for number, tile in enumerate(tiles):
        part = dense[:, number * size : (number + 1) * size]
        tile[:, : part.shape[1]] = part
        tile[:, part.shape[1] :] = 0
    return tiles


def from_tiles(tiles: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the first `width` columns of a matrix that comes in tiles, shape (n_rows, width)."""
    _, n_rows, size = tiles.shape
    dense = np.empty((n_rows, width), tiles.dtype)
    for number, tile in enumerate(tiles):
        part = dense[:, number * size : (number + 1) * size]
        part[:] = tile[:, : part.shape[1]]
    return dense


@kernel
def gram_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    basis: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add ``A' (A basis)`` to `out`.

    Parameters
    ----------
    indptr, indices, values : ndarray
        Rows A as CSR, shape (n_rows, n_columns); values are float32, or of the dtype of `basis`.
    basis, out : ndarray of shape (n_tiles, n_columns, tile width)
        Dense matrix, and the sum, in tiles.
    """
    narrow = basis.shape[2] * basis.itemsize == LINE_BYTES
    for tile in range(len(basis)):
        source, target = basis[tile], out[tile]
        for i in range(len(indptr) - 1):
            if narrow:
                gram_row(indices, values, indptr[i], indptr[i + 1], source, target, 1)
            else:
                gram_row(indices, values, indptr[i], indptr[i + 1], source, target, LINES)


@kernel
def image_and_gram(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    basis: NDArray[Any],
    out: NDArray[Any],
    image: NDArray[Any],
) -> None:
    """Write ``A basis`` to `image` of shape (n_rows, n_tiles * tile width); the rest is as in `gram_product`."""
    width = image.shape[1]
    rows = image.reshape(-1)
    narrow = basis.shape[2] * basis.itemsize == LINE_BYTES
    for tile in range(len(basis)):
        source, target = basis[tile], out[tile]
        for i in range(len(indptr) - 1):
            place = i * width + tile * basis.shape[2]
            if narrow:
                image_row(indices, values, indptr[i], indptr[i + 1], source, target, rows, place, 1)
            else:
                image_row(indices, values, indptr[i], indptr[i + 1], source, target, rows, place, LINES)


@kernel
def image(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    basis: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write ``A basis`` to `out` of shape (n_rows, n_tiles * tile width); the rest is as in `gram_product`."""
    width = out.shape[1]
    rows = out.reshape(-1)
    narrow = basis.shape[2] * basis.itemsize == LINE_BYTES
    for tile in range(len(basis)):
        source = basis[tile]
        for i in range(len(indptr) - 1):
            place = i * width + tile * basis.shape[2]
            if narrow:
                product_row(indices, values, indptr[i], indptr[i + 1], source, rows, place, 1)
            else:
                product_row(indices, values, indptr[i], indptr[i + 1], source, rows, place, LINES)


@kernel
def product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    dense: NDArray[Any],
    out: NDArray[np.float64],
) -> None:
    """Add ``A dense`` to `out`, both plain matrices and not in tiles; in float64, whatever the dtype of `dense`.

    For a few rows, or a product that is wanted once: `dense` is neither converted nor copied.
    """
    for i in range(len(indptr) - 1):
        sums = out[i]
        for p in range(indptr[i], indptr[i + 1]):
            value, row = values[p], dense[indices[p]]
            for column in range(len(sums)):
                sums[column] += value * row[column]


@kernel
def transpose_product(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    rows: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add ``A' rows`` to `out`, with `rows` in tiles too; the rest is as in `gram_product`."""
    narrow = rows.shape[2] * rows.itemsize == LINE_BYTES
    for tile in range(len(rows)):
        source, target = rows[tile].reshape(-1), out[tile]
        for i in range(len(indptr) - 1):
            place = i * rows.shape[2]
            if narrow:
                transpose_row(indices, values, indptr[i], indptr[i + 1], source, place, target, 1)
            else:
                transpose_row(indices, values, indptr[i], indptr[i + 1], source, place, target, LINES)


@kernel
def whole_gram(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[Any], out: NDArray[np.float64]
) -> None:
    """Add ``A' A`` to `out` of shape (n_columns, n_columns)."""
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            value, target = np.float64(values[p]), out[indices[p]]
            for q in range(indptr[i], indptr[i + 1]):
                target[indices[q]] += value * values[q]
