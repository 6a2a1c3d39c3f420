"""A matrix A as an operator: products with A'A and A', one counted pass over its row blocks each.

Centring is here too. A centred matrix is ``A - u w'`` for two vectors, so its products follow from those of A
and a few products of vectors: nothing is densified, and the workers never know of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.dense import DenseMatrix, RowBlock
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.linalg import kernels
from recscale_dask.linalg.tall import Tall
from recscale_dask.solvers.products import (
    BlockWithRows,
    gram_product,
    image,
    image_and_gram,
    image_triangle,
    join_images,
    join_triangles,
    largest_value,
    sums,
    transpose_product,
    whole_gram,
)
from recscale_dask.types import Recipe, Task

# Where products of A'A, and sums of their squares, stay in the range of a float with some room.
_RANGES = {4: (1e-10, 1e12), 8: (1e-120, 1e140)}
_WHOLE_RANGE = (1e-20, 1e25)  # of the whole of A'A, which is not squared, and added in float64

_WIDTH = 64  # most columns of a product in float64: more would take memory for nothing
_PARTIAL_BYTES = 1 << 27  # most of such a product of one block, of which some are in memory at once

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


class BlockOperator:
    """Products of a matrix with dense ones, one pass over its blocks each.

    Parameters
    ----------
    executor : Executor
        Open.
    blocks : sequence of Recipe of Block or DenseBlock
        Where the executor's workers read them.
    matrix : UserItemMatrix or DenseMatrix
        What the blocks are of.
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
        blocks: Sequence[Recipe[RowBlock]],
        matrix: UserItemMatrix | DenseMatrix,
        observer: Observer = ignore,
    ) -> None:
        self._executor, self._blocks, self._observer = executor, blocks, observer
        self._bounds = matrix.bounds
        self._dense = isinstance(matrix, DenseMatrix)
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
        row_totals, column_totals, first = np.empty(self.n_rows), np.zeros(self.n_columns), 0
        for rows, columns in map_blocks(self._executor, sums, self._blocks, label="means", observer=self._observer):
            row_totals[first : first + len(rows)] = rows
            first += len(rows)
            column_totals += columns  # one after another, and none kept: there may be many blocks of many columns
        ones, others = np.ones(self.n_rows), np.ones(self.n_columns)
        if what == "items":
            self.center = Center(ones, column_totals / self.n_rows, column_totals)
        elif what == "global":
            mean = column_totals.sum() / self.n_rows / self.n_columns
            self.center = Center(ones, mean * others, column_totals)
        else:
            means = row_totals / self.n_columns
            largest = float(np.abs(means).max(initial=0.0))
            size = float(2.0 ** np.round(np.log2(largest))) if largest else 1.0  # a product with the means may overflow
            back = self._fold(transpose_product, self._with_rows(means[:, None] / size), others[:, None], ", means")
            self.center = Center(means / size, others * size, back[:, 0])

    def resume(self, passes: int, scale: float) -> None:
        """Go on as after so many passes, with the scale that they led to."""
        self.passes, self._in_range = passes, self._in_range or passes > 0
        if self.center is not None:
            self.center = self.center.divided(self.scale / scale)
        self.scale = scale

    @property
    def removed(self) -> float:
        """Norm of what centring subtracts: rounding is relative to that too, where little is left."""
        if self.center is None:
            return 0.0
        return float(np.linalg.norm(self.center.rows) * np.linalg.norm(self.center.columns))

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

    def whole_gram(self, dtype: np.dtype[Any]) -> NDArray[np.float64]:
        """Return ``A' A``, shape (n_columns, n_columns); dense blocks are multiplied in `dtype`, added in float64."""
        self.passes += 1
        task = partial(whole_gram, dtype=dtype)
        label = f"svd pass {self.passes}, whole"
        gram: NDArray[np.float64] = fold_blocks(
            self._executor, task, self._blocks, label=label, observer=self._observer
        )
        low, high = _WHOLE_RANGE
        if not low < float(np.abs(gram).max(initial=0.0)) < high:
            return self.gram(np.eye(self.n_columns))  # which scales
        if self.center is not None:
            u, w, a = self.center.rows, self.center.columns, self.center.image
            cross = np.outer(w, a)
            gram += (u @ u) * np.outer(w, w) - cross - cross.T
        return gram

    def image_and_gram(self, basis: NDArray[np.float64]) -> tuple[Tall, NDArray[np.float64]]:
        """Return ``A basis`` of shape (n_rows, width), as one array or one per block, and ``A' A basis``.

        In as many passes as there are `pieces`.
        """
        width = basis.shape[1]
        back = np.empty_like(basis)
        pieces = list(self.pieces(width))
        joined = np.empty((self.n_rows, width)) if len(pieces) > 1 else None
        image = [] if joined is None else [joined[i:j] for i, j in pairwise(self._bounds)]
        for columns in pieces:
            self.passes += 1
            parts, product = fold_blocks(
                self._executor,
                image_and_gram,
                self._blocks,
                {"basis": self._layout(self._scaled(basis[:, columns]))},
                combine=join_images,
                label=f"svd pass {self.passes}, certificate",
                observer=self._observer,
            )
            count = columns.stop - columns.start
            back[:, columns] = self._scaled(self._plain(product, count))
            if joined is None:
                image = [part[:, :count] for part in parts]
            else:
                for whole, part in zip(image, parts, strict=True):
                    whole[:, columns] = part[:, :count]
        if self.center is not None:
            u, w, a = self.center.rows, self.center.columns, self.center.image
            on_w = w @ basis
            image = [part - np.outer(u[i:j], on_w) for part, (i, j) in zip(image, pairwise(self._bounds), strict=True)]
            joined = None
            on_u = sum(u[i:j] @ part for part, (i, j) in zip(image, pairwise(self._bounds), strict=True))
            back -= np.outer(a, on_w) + np.outer(w, on_u)
        return image if joined is None else joined, back

    def image(self, basis: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A basis`` of shape (n_rows, width)."""
        self.passes += 1
        parts = map_blocks(
            self._executor,
            image,
            self._blocks,
            {"basis": self._layout(self._scaled(basis))},
            label=f"svd pass {self.passes}, left vectors",
            observer=self._observer,
        )
        out = np.concatenate([part[:, : basis.shape[1]] for part in parts])
        if self.center is not None:
            out -= np.outer(self.center.rows, self.center.columns @ basis)
        return out

    def image_triangle(self, basis: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return R of the QR of ``A basis``, shape (width, width), as accurate as that of A basis itself would be."""
        self.passes += 1
        rows, columns = np.zeros(self.n_rows), np.zeros(self.n_columns)
        if self.center is not None:
            rows, columns = self.center.rows, self.center.columns
        triangle: NDArray[np.float64] = fold_blocks(
            self._executor,
            image_triangle,
            self._with_rows(rows),
            {"basis": self._layout(self._scaled(basis)), "along": columns @ basis},
            combine=join_triangles,
            label=f"svd pass {self.passes}, certificate of small values",
            observer=self._observer,
        )
        return triangle

    def transpose(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A' rows`` of shape (n_columns, width)."""
        like = np.zeros((self.n_columns, rows.shape[1]))  # for the shape: the rows are what is multiplied
        back: NDArray[np.float64] = self._fold(
            transpose_product, self._with_rows(rows), like, ", certificate of tiny values"
        )
        if self.center is not None:
            back -= np.outer(self.center.columns, self.center.rows @ rows)
        return back

    def pieces(self, width: int) -> Iterator[slice]:
        """Yield slices of the columns of a dense matrix in float64, each for one pass."""
        return pieces(width, self.n_columns)

    def _fold(self, task: Task, payloads: Sequence[Any], basis: NDArray[Any], what: str) -> NDArray[Any]:
        self.passes += 1
        label = f"svd pass {self.passes}{what}"
        constants = {"basis": self._layout(self._scaled(basis))}
        total = fold_blocks(self._executor, task, payloads, constants, label=label, observer=self._observer)
        return self._scaled(self._plain(total, basis.shape[1]))

    def _scaled(self, dense: NDArray[Any]) -> NDArray[Any]:
        return dense if self.scale == 1 else dense * dense.dtype.type(self.scale)

    def _rescale(self) -> None:
        """Scale the matrix by a power of two, so that its largest value is about 1."""
        sizes = map_blocks(self._executor, largest_value, self._blocks, label="largest value", observer=self._observer)
        largest = max(sizes, default=0.0)
        if largest > 0:
            self.scale = float(2.0 ** -np.clip(np.round(np.log2(largest)), -1000, 1000))
        if self.center is not None:
            self.center = self.center.divided(1 / self.scale)

    def _layout(self, dense: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(dense) if self._dense else kernels.to_tiles(dense)

    def _plain(self, product: NDArray[Any], width: int) -> NDArray[Any]:
        return product if self._dense else kernels.from_tiles(product, width)

    def _with_rows(self, rows: NDArray[np.float64]) -> list[BlockWithRows]:
        pieces = zip(self._blocks, pairwise(self._bounds), strict=True)
        return [BlockWithRows(block, rows[first:last]) for block, (first, last) in pieces]


def pieces(width: int, n_columns: int) -> Iterator[slice]:
    """Yield slices of so many columns of a matrix in float64 with `n_columns` rows, each for one pass."""
    step = min(_WIDTH, max(16, _PARTIAL_BYTES // (8 * n_columns) // 16 * 16))
    for first in range(0, width, step):
        yield slice(first, min(first + step, width))


def check_center(what: str | None) -> None:
    """Raise an OptionError unless `what` is None or one of `CENTERS`."""
    if what is not None and what not in CENTERS:
        raise OptionError(f"center is one of {', '.join(map(repr, CENTERS))}, or None; got {what!r}")
