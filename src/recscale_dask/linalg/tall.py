"""Products of tall dense matrices in fixed slabs of rows, with the same bits on any number of threads.

BLAS gives other bits with another number of threads. Here each slab is one product on one BLAS thread
(the caller limits BLAS, see `recscale_dask.execution.portable.single_threaded_blas`), slabs run on
threads of ours, and their sums are added in slab order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLAB_ROWS = 4096

Matrix = NDArray[Any]


class TallAlgebra:
    """Products of matrices with many rows and few columns; made by `tall_algebra`."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def _over_slabs(self, n_rows: int, work: Callable[[slice], Any]) -> list[Any]:
        slabs = [slice(a, min(a + _SLAB_ROWS, n_rows)) for a in range(0, n_rows, _SLAB_ROWS)]
        if len(slabs) <= 1:
            return [work(slab) for slab in slabs]
        return list(self._pool.map(work, slabs))

    def cross(self, left: Matrix, right: Matrix) -> Matrix:
        """Return ``left' right`` in float64, shape (left columns, right columns)."""
        parts = self._over_slabs(len(left), lambda slab: left[slab].T @ right[slab])
        shape = (left.shape[1], right.shape[1])
        return np.sum(np.asarray(parts, np.float64), axis=0) if parts else np.zeros(shape)

    def times(self, tall: Matrix, small: Matrix, out: Matrix | None = None) -> Matrix:
        """Return ``tall small`` in the precision of `tall`; `out` may be columns of `tall` itself."""
        result = out if out is not None else np.empty((len(tall), small.shape[1]), tall.dtype)
        small = small.astype(tall.dtype, copy=False)

        def work(slab: slice) -> None:
            result[slab] = tall[slab] @ small

        self._over_slabs(len(tall), work)
        return result

    def subtract(self, target: Matrix, tall: Matrix, small: Matrix) -> None:
        """Subtract ``tall small`` from `target` in place."""
        small = small.astype(tall.dtype, copy=False)

        def work(slab: slice) -> None:
            target[slab] -= tall[slab] @ small

        self._over_slabs(len(target), work)

    def column_norms(self, tall: Matrix) -> NDArray[np.float64]:
        """Return the Euclidean norm of each column."""
        parts = self._over_slabs(
            len(tall), lambda slab: np.einsum("ij,ij->j", tall[slab], tall[slab], dtype=np.float64)
        )
        return np.sqrt(np.sum(parts, axis=0)) if parts else np.zeros(tall.shape[1])

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


@contextmanager
def tall_algebra(n_threads: int) -> Iterator[TallAlgebra]:
    """Open the threads on which slabs run; the number changes nothing but the time."""
    with ThreadPoolExecutor(n_threads, thread_name_prefix="recscale-dense") as pool:
        yield TallAlgebra(pool)
