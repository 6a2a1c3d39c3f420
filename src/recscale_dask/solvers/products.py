"""Products of one row block, sparse or dense: the tasks of the SVD.

Sparse rows go through compiled kernels, which want dense matrices in tiles (`recscale_dask.linalg.kernels.to_tiles`),
dense rows through BLAS, which wants them as they are. Everything is computed in the dtype of
the dense factor, `basis`: in float64 it is exact to float64 for float32 values too. Slabs of rows are fixed by the
block, and tasks run on one BLAS thread, so equal blocks give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recscale_dask.data.dense import DenseBlock, RowBlock
from recscale_dask.data.weighting import column_sums, row_sums
from recscale_dask.execution.portable import add
from recscale_dask.linalg import kernels
from recscale_dask.types import Recipe

_SLAB_ROWS = 1024  # enough for BLAS; converted rows and products stay in the caches


@dataclass(frozen=True, slots=True, eq=False)
class BlockWithRows:
    """A block and the same rows of a dense matrix."""

    source: Recipe[RowBlock]
    rows: NDArray[Any]

    def load(self) -> tuple[RowBlock, NDArray[Any]]:
        """Load the block; return it with the rows."""
        return self.source.load(), self.rows


def gram_product(block: RowBlock, *, basis: NDArray[Any]) -> NDArray[Any]:
    """Return ``A' (A basis)`` of one block, in the layout of `basis`: a task for `fold_blocks`."""
    out = np.zeros_like(basis)
    if isinstance(block, DenseBlock):
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks, and scales
            for _, values in _slabs(block, basis.dtype):
                out += values.T @ (values @ basis)
    else:
        kernels.gram_product(block.indptr, block.indices, block.values, basis, out)
    return out


def image_and_gram(block: RowBlock, *, basis: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], NDArray[Any]]:
    """Return ``A basis`` of one block as a tuple of one array, and ``A' (A basis)``; see `join_images`.

    The image has a row per row of the block, and of tiles the columns that only fill the last one too.
    """
    back = np.zeros_like(basis)
    if isinstance(block, DenseBlock):
        image = np.empty((block.n_rows, basis.shape[1]), basis.dtype)
        for slab, values in _slabs(block, basis.dtype):
            np.matmul(values, basis, out=image[slab])
            back += values.T @ image[slab]
    else:
        n_tiles, _, width = basis.shape
        image = np.empty((block.n_rows, n_tiles * width), basis.dtype)
        kernels.image_and_gram(block.indptr, block.indices, block.values, basis, back, image)
    return (image,), back


def image(block: RowBlock, *, basis: NDArray[Any]) -> NDArray[Any]:
    """Return ``A basis`` of one block, a row per row of the block; of tiles the columns that fill the last one too."""
    if isinstance(block, DenseBlock):
        out = np.empty((block.n_rows, basis.shape[1]), basis.dtype)
        for slab, values in _slabs(block, basis.dtype):
            np.matmul(values, basis, out=out[slab])
        return out
    n_tiles, _, width = basis.shape
    out = np.empty((block.n_rows, n_tiles * width), basis.dtype)
    kernels.image(block.indptr, block.indices, block.values, basis, out)
    return out


def image_triangle(
    pair: tuple[RowBlock, NDArray[Any]], *, basis: NDArray[Any], along: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return R of the QR of ``A basis - rows along'`` of one block, shape (at most width, width); see `join_triangles`.

    Parameters
    ----------
    pair : tuple
        A block, and its `rows` of a matrix of one column.
    basis, along : ndarray
        Of the width of `along`.
    """
    block, rows = pair
    product = image(block, basis=basis)[:, : len(along)]
    return np.asarray(np.linalg.qr(product - np.outer(rows, along), mode="r"))


def join_triangles(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R of the QR of both, of which these are the Rs (TSQR; Demmel, Grigori, Hoemmen and Langou, 2012)."""
    return np.asarray(np.linalg.qr(np.concatenate([upper, lower]), mode="r"))


def transpose_product(pair: tuple[RowBlock, NDArray[Any]], *, basis: NDArray[Any]) -> NDArray[Any]:
    """Return ``A' rows`` of one block, in the shape and layout of `basis`: a task for `fold_blocks`."""
    block, rows = pair
    out = np.zeros_like(basis)
    if isinstance(block, DenseBlock):
        for slab, values in _slabs(block, basis.dtype):
            out += values.T @ rows[slab]
    else:
        kernels.transpose_product(block.indptr, block.indices, block.values, kernels.to_tiles(rows), out)
    return out


def whole_gram(block: RowBlock, *, dtype: DTypeLike | None = None) -> NDArray[np.float64]:
    """Return ``A' A`` of one block in float64, shape (n_columns, n_columns): a task for `fold_blocks`.

    Parameters
    ----------
    block : Block or DenseBlock
    dtype : dtype, optional
        Of the products within a slab of dense rows, whose sums are added in float64; by default that of the
        values. Float32 takes half the time, and is good to some 1e-6 of the largest entry.
    """
    out = np.zeros((block.n_columns, block.n_columns))
    if not isinstance(block, DenseBlock):
        kernels.whole_gram(block.indptr, block.indices, block.values, out)
        return out
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks, and scales
        for _, values in _slabs(block, block.values.dtype if dtype is None else np.dtype(dtype)):
            out += values.T @ values  # NumPy sees that this is symmetric, and asks BLAS for half of it
    return out


def join_images(left: Any, right: Any) -> Any:
    """Put images of neighbouring blocks behind one another; add the rest."""
    return left[0] + right[0], add(left[1], right[1])


def sums(block: RowBlock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of each row and of each column of one block."""
    if isinstance(block, DenseBlock):
        return block.values.sum(axis=1, dtype=np.float64), block.values.sum(axis=0, dtype=np.float64)
    return row_sums(block), column_sums(block)


def largest_value(block: RowBlock) -> float:
    """Return the largest magnitude of a value of one block; 0 if there is none."""
    return float(np.abs(block.values).max(initial=0.0))


def _slabs(block: DenseBlock, dtype: np.dtype[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield slabs of the rows of a block in order, with their values in `dtype`."""
    for start in range(0, block.n_rows, _SLAB_ROWS):
        slab = slice(start, min(start + _SLAB_ROWS, block.n_rows))
        yield slab, block.values[slab].astype(dtype, copy=False)
