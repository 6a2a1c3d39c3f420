"""Passes over the blocks of a matrix A: products with A'A and A', counted, for sparse and dense blocks.

Centring is here too. A centred matrix is ``A - u w'`` for two vectors, so its products follow from those of A
and a few products of vectors: nothing is densified, and the workers never know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import column_sums, row_sums
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import add
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.linalg import kernels
from recscale_dask.linalg.tall import TallAlgebra
from recscale_dask.types import Recipe, Task

# Where products of A'A, and numbers derived from them, stay in the range of a float with some room.
_RANGES = {4: (1e-20, 1e25), 8: (1e-200, 1e200)}

CENTERS = ("items", "users", "global")
"""What can be subtracted: the mean of each column, of each row, or of all entries, zeros among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Center:
    """The matrix of rank one that centring subtracts: ``rows columns'``.

    Attributes
    ----------
    rows : ndarray of float64, shape (n_rows,)
    columns : ndarray of float64, shape (n_columns,)
    image : ndarray of float64, shape (n_columns,)
        ``A' rows``.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    image: NDArray[np.float64]

    def swapped(self) -> Center:
        """Return what centring subtracts from the transposed matrix, without its image."""
        return Center(self.columns, self.rows, np.zeros(0))

    def divided(self, scale: float) -> Center:
        """Return what centring subtracts from the matrix divided by a number."""
        return Center(self.rows, self.columns / scale, self.image / scale)

    def balanced(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the two vectors at equal lengths, as columns of factors have."""
        lengths = np.linalg.norm(self.rows), np.linalg.norm(self.columns)
        root = np.sqrt(lengths[1] / lengths[0]) if lengths[0] and lengths[1] else 1.0
        return self.rows * root, self.columns / root


class Products:
    """Products of a matrix with dense ones, one pass over its blocks each.

    Parameters
    ----------
    executor : Executor
        Open.
    blocks : sequence of Recipe of Block
        Where the executor's workers read them.
    matrix : UserItemMatrix
        What the blocks are of.
    algebra : TallAlgebra
    observer : callable
        Gets the events of each pass.

    Attributes
    ----------
    passes : int
        How often all blocks were read.
    scale : float
        What the matrix is multiplied by in every product, so that none over- or underflows: 1 but for very large or
        very small values.
    center : Center or None
        Subtracted from the scaled matrix in every product.
    """

    def __init__(
        self,
        executor: Executor,
        blocks: Sequence[Recipe[Block]],
        matrix: UserItemMatrix,
        algebra: TallAlgebra,
        observer: Observer = ignore,
    ) -> None:
        self._executor, self._blocks, self._observer = executor, blocks, observer
        self._bounds = matrix.bounds
        self._algebra = algebra
        self.n_rows, self.n_columns = matrix.shape
        self.passes = 0
        self.scale = 1.0
        self._in_range = False
        self.center: Center | None = None

    def subtract(self, what: str | None) -> None:
        """Center the matrix: see `CENTERS`.

        Raises
        ------
        OptionError
            If there is no such centring.
        """
        if what is None:
            return
        check_center(what)
        sums = list(map_blocks(self._executor, _sums, self._blocks, label="means", observer=self._observer))
        row_totals = np.concatenate([rows for rows, _ in sums])
        column_totals = np.sum([columns for _, columns in sums], axis=0)
        ones, others = np.ones(self.n_rows), np.ones(self.n_columns)
        if what == "items":
            self.center = Center(ones, column_totals / self.n_rows, column_totals)
        elif what == "global":
            mean = column_totals.sum() / self.n_rows / self.n_columns
            self.center = Center(ones, mean * others, column_totals)
        else:
            means = row_totals / self.n_columns
            back = self._fold(transpose_product, self._with_rows(means[:, None]), others[:, None], ", means")
            self.center = Center(means, others, back[:, 0])

    def gram(self, basis: NDArray[Any]) -> NDArray[Any]:
        """Return ``A' A basis``, shape (n_columns, width), in the precision of `basis`."""
        image = self._fold(gram_product, self._blocks, basis, "")
        if not self._in_range:
            self._in_range = True
            low, high = _RANGES[basis.itemsize]
            if not low < float(np.abs(image).max(initial=0.0)) < high:
                self._rescale()
                image = self._fold(gram_product, self._blocks, basis, "")
        if self.center is not None:
            # (A - u w')'(A - u w') = A'A - w (A'u)' - (A'u) w' + (u'u) w w'
            u, w, a = self.center.rows, self.center.columns, self.center.image
            on_w, on_a = w @ basis, a @ basis
            correction = np.outer(w, (u @ u) * on_w - on_a) - np.outer(a, on_w)
            image = (image + correction).astype(basis.dtype, copy=False)
        return image

    def image_and_gram(self, basis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``A basis`` of shape (n_rows, width), and ``A' A basis``."""
        self.passes += 1
        parts, back = fold_blocks(
            self._executor,
            image_and_gram,
            self._blocks,
            {"basis": kernels.to_tiles(basis * self.scale)},
            combine=_join,
            label=f"svd pass {self.passes}, certificate",
            observer=self._observer,
        )
        width = basis.shape[1]
        image = np.empty((self.n_rows, width))
        for part, (first, last) in zip(parts, pairwise(self._bounds), strict=True):
            image[first:last] = part[:, :width]
        back = kernels.from_tiles(back, width) * self.scale
        if self.center is not None:
            u, w, a = self.center.rows, self.center.columns, self.center.image
            on_w = w @ basis
            image -= np.outer(u, on_w)
            back -= np.outer(a, on_w) + np.outer(w, u @ image)
        return image, back

    def transpose(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A' rows`` of shape (n_columns, width)."""
        like = np.zeros((self.n_columns, rows.shape[1]))  # for the shape: the rows are what is multiplied
        back: NDArray[np.float64] = self._fold(
            transpose_product, self._with_rows(rows), like, ", certificate of tiny values"
        )
        if self.center is not None:
            back -= np.outer(self.center.columns, self.center.rows @ rows)
        return back

    def _fold(self, task: Task, payloads: Sequence[Any], basis: NDArray[Any], what: str) -> NDArray[Any]:
        self.passes += 1
        label = f"svd pass {self.passes}{what}"
        constants = {"basis": kernels.to_tiles(basis if self.scale == 1 else basis * basis.dtype.type(self.scale))}
        total = fold_blocks(self._executor, task, payloads, constants, label=label, observer=self._observer)
        result = kernels.from_tiles(total, basis.shape[1])
        return result if self.scale == 1 else result * basis.dtype.type(self.scale)

    def _rescale(self) -> None:
        """Scale the matrix by a power of two, so that its largest value is about 1."""
        sizes = map_blocks(self._executor, _largest, self._blocks, label="largest value", observer=self._observer)
        largest = max(sizes, default=0.0)
        if largest > 0:
            self.scale = float(2.0 ** -np.clip(np.round(np.log2(largest)), -1000, 1000))
        if self.center is not None:
            self.center = self.center.divided(1 / self.scale)

    def _with_rows(self, rows: NDArray[np.float64]) -> list[BlockWithRows]:
        pieces = zip(self._blocks, pairwise(self._bounds), strict=True)
        return [BlockWithRows(block, rows[first:last]) for block, (first, last) in pieces]


def check_center(what: str | None) -> None:
    """Raise an OptionError unless `what` is None or one of `CENTERS`."""
    if what is not None and what not in CENTERS:
        raise OptionError(f"center is one of {', '.join(map(repr, CENTERS))}, or None; got {what!r}")


@dataclass(frozen=True, slots=True, eq=False)
class BlockWithRows:
    """A block and the same rows of a dense matrix."""

    source: Recipe[Block]
    rows: NDArray[Any]

    def load(self) -> tuple[Block, NDArray[Any]]:
        """Return the loaded block and the rows."""
        return self.source.load(), self.rows


def _largest(block: Block) -> float:
    return float(np.abs(block.values).max(initial=0.0))


def _sums(block: Block) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return row_sums(block), column_sums(block)


def _join(left: Any, right: Any) -> Any:
    """Put images of neighbouring blocks behind one another; add the rest."""
    return left[0] + right[0], add(left[1], right[1])


def gram_product(block: Block, *, basis: NDArray[Any]) -> NDArray[Any]:
    """Return ``A' (A basis)`` of one block, in tiles as `basis` is: a task for `fold_blocks`."""
    out = np.zeros_like(basis)
    kernels.gram_product(block.indptr, block.indices, block.values, basis, out)
    return out


def image_and_gram(block: Block, *, basis: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], NDArray[Any]]:
    """Return ``A basis`` of one block as a tuple of one array, and ``A' (A basis)`` in tiles."""
    n_tiles, _, size = basis.shape
    image = np.empty((block.n_rows, n_tiles * size), basis.dtype)
    back = np.zeros_like(basis)
    kernels.image_and_back(block.indptr, block.indices, block.values, basis, back, image)
    return (image,), back


def transpose_product(pair: tuple[Block, NDArray[Any]], *, basis: NDArray[Any]) -> NDArray[Any]:
    """Return ``A' rows`` of one block, in tiles of the shape of `basis`: a task for `fold_blocks`."""
    block, rows = pair
    out = np.zeros_like(basis)
    kernels.transpose_product(block.indptr, block.indices, block.values, kernels.to_tiles(rows), out)
    return out
