"""Products of tall dense matrices in fixed slabs of rows, with the same bits on any number of threads.

BLAS gives other bits with another number of threads. Here each slab is one product on one BLAS thread
(the caller limits BLAS, see `recscale_dask.execution.portable.single_threaded_blas`), slabs run on
threads of ours, and their sums are added in slab order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

_SLAB_ROWS = 4096
_PIECE_ROWS = 512  # whose product is in the cache when it is copied
_CACHED_ROWS = 128  # of a few hundred columns, for what is used again at once
_WORTH_THREADS = 1 << 20  # numbers in a matrix from which on threads do not cost more than they bring

Matrix = NDArray[Any]
Tall: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]]
"""A matrix with many rows: in one array, or as arrays of rows that follow one another.

Two matrices of one operation come in the same way.
"""


class TallAlgebra:
    """Products of matrices with many rows and few columns; made by `tall_algebra`."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def _over(self, work: Callable[..., Any], *slabs: Sequence[Matrix]) -> list[Any]:
        if len(slabs[0]) <= 1 or sum(slab.size for slab in slabs[0]) < _WORTH_THREADS:
            return [work(*each) for each in zip(*slabs, strict=True)]
        return list(self._pool.map(work, *slabs))

    def cross(self, left: Tall, right: Tall) -> Matrix:
        """Return ``left' right`` in float64, shape (left columns, right columns)."""
        lefts, rights = _slabs(left), _slabs(right)
        parts = self._over(lambda a, b: a.T @ b, lefts, rights)
        shape = (lefts[0].shape[1], rights[0].shape[1])
        return np.sum(np.asarray(parts, np.float64), axis=0) if parts else np.zeros(shape)

    def times(self, tall: Tall, small: Matrix, out: Matrix | None = None) -> Matrix:
        """Return ``tall small``, computed in the precision of `tall`; `out` may be columns of `tall` itself."""
        slabs = _slabs(tall)
        n_rows = sum(len(slab) for slab in slabs)
        result = out if out is not None else np.empty((n_rows, small.shape[1]), slabs[0].dtype)
        small = small.astype(slabs[0].dtype, copy=False)

        def work(slab: Matrix, target: Matrix) -> None:
            if out is None:
                np.matmul(slab, small, out=target)
                return
            for first in range(0, len(slab), _PIECE_ROWS):
                target[first : first + _PIECE_ROWS] = slab[first : first + _PIECE_ROWS] @ small

        self._over(work, slabs, _slabs(result, like=slabs))
        return result

    def subtract(self, target: Matrix, tall: Matrix, small: Matrix) -> None:
        """Subtract ``tall small`` from `target` in place."""
        small = small.astype(tall.dtype, copy=False)

        def work(slab: Matrix, part: Matrix) -> None:
            part -= slab @ small

        self._over(work, _slabs(tall), _slabs(target))

    def copy(self, target: Matrix, source: Matrix) -> None:
        """Copy a matrix, such as rows into columns, slab by slab: each in the cache."""

        def work(part: Matrix, slab: Matrix) -> None:
            part[:] = slab

        self._over(work, _slabs(target), _slabs(source))

    def column_norms(self, tall: Tall) -> NDArray[np.float64]:
        """Return the Euclidean norm of each column."""
        slabs = _slabs(tall)
        parts = self._over(lambda slab: np.einsum("ij,ij->j", slab, slab, dtype=np.float64), slabs)
        norms: NDArray[np.float64] = np.sqrt(np.sum(parts, axis=0))
        return norms

    def distances(self, left: Tall, right: Tall, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Euclidean norm of each column of ``left - right diag(scale)``."""

        def work(a: Matrix, b: Matrix) -> Any:
            squares = np.zeros(len(scale))
            for first in range(0, len(a), _CACHED_ROWS):
                difference = b[first : first + _CACHED_ROWS] * scale
                difference -= a[first : first + _CACHED_ROWS]
                squares += np.einsum("ij,ij->j", difference, difference)
            return squares

        norms: NDArray[np.float64] = np.sqrt(np.sum(self._over(work, _slabs(left), _slabs(right)), axis=0))
        return norms

    def signs(self, tall: Matrix) -> NDArray[np.float64]:
        """Return 1 or -1 for each column, the sign of its entry of largest magnitude (of the first one of equals)."""
        slabs = _slabs(tall)
        highest = np.max(self._over(lambda slab: slab.max(axis=0, initial=0.0), slabs), axis=0)
        lowest = np.min(self._over(lambda slab: slab.min(axis=0, initial=0.0), slabs), axis=0)
        signs = np.where(highest >= -lowest, 1.0, -1.0)
        for column in np.flatnonzero(highest == -lowest):
            first = int(np.argmax(np.abs(tall[:, column])))
            signs[column] = -1.0 if tall[first, column] < 0 else 1.0
        return signs

    def qr(self, tall: Matrix) -> tuple[Matrix, Matrix]:
        """Return orthonormal Q and triangular-by-blocks R of a matrix with at least as many rows as columns.

        Householder QR of each slab, then of the stacked triangles (TSQR; Demmel, Grigori, Hoemmen and
        Langou, 2012): Q is orthonormal to working precision whatever the rank.
        """
        n, width = tall.shape
        slab_rows = max(_SLAB_ROWS, 4 * width)
        starts = list(range(0, n, slab_rows))
        if len(starts) > 1 and n - starts[-1] < width:
            starts.pop()  # the last slab must not be wider than tall
        slabs = [slice(a, b) for a, b in zip(starts, [*starts[1:], n], strict=True)]
        if len(slabs) <= 1:
            q, r = np.linalg.qr(tall)
            return q, r
        parts = list(self._pool.map(lambda slab: np.linalg.qr(tall[slab]), slabs))
        top, r = self.qr(np.concatenate([part.R for part in parts]))
        q = np.empty_like(tall)

        def work(i: int) -> None:
            q[slabs[i]] = parts[i].Q @ top[i * width : (i + 1) * width]

        list(self._pool.map(work, range(len(slabs))))
        return q, r


def transposed(tall: Matrix, dtype: DTypeLike) -> Matrix:
    """Return the transpose of a matrix with many rows; piece by piece, because at once takes several times as long."""
    result = np.empty(tall.shape[::-1], dtype)
    for start in range(0, len(tall), _CACHED_ROWS):
        result[:, start : start + _CACHED_ROWS] = tall[start : start + _CACHED_ROWS].T
    return result


def _slabs(tall: Tall, like: Sequence[Matrix] | None = None) -> list[Matrix]:
    """Return views of rows: as many as a slab has, or as the slabs of another matrix have."""
    if like is not None:
        assert isinstance(tall, np.ndarray)
        ends = np.cumsum([len(slab) for slab in like]).tolist()
        return [tall[end - len(slab) : end] for end, slab in zip(ends, like, strict=True)]
    if isinstance(tall, np.ndarray) and len(tall) <= _SLAB_ROWS:
        return [tall]
    parts = [tall] if isinstance(tall, np.ndarray) else tall
    return [part[slab] for part in parts for slab in _even_slabs(len(part))]


def _even_slabs(n_rows: int) -> list[slice]:
    """Return slices of about equal length, as many as two or four threads can share evenly."""
    count = max(1, -(-n_rows // _SLAB_ROWS))
    if count > 1:
        count += -count % 4
    ends = [n_rows * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


@contextmanager
def tall_algebra(n_threads: int) -> Iterator[TallAlgebra]:
    """Open the threads on which slabs run; the number changes nothing but the time."""
    with ThreadPoolExecutor(n_threads, thread_name_prefix="recscale-dense") as pool:
        yield TallAlgebra(pool)
