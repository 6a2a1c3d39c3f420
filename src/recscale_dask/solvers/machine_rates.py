"""Rates of this machine, measured in a third of a second on blocks of the matrix in question."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recscale_dask.data.blocks import Block
from recscale_dask.data.stored_block import StoredBlock
from recscale_dask.data.weighting import Transform, summarize
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import add, single_threaded_blas
from recscale_dask.linalg import kernels
from recscale_dask.linalg.tall import tall_algebra
from recscale_dask.remote import is_url
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.rates import NOMINAL, Rates
from recscale_dask.types import Recipe

_LEAST_VALUES = 1 << 16  # in a block, for its times to be more than those of handing it out
_TALL = 1 << 15  # rows of a dense product
_WIDE = 256  # and columns of its longer factor
_TRIES = 2  # the faster one counts

_known: dict[Any, Rates] = {}


def machine_rates(problem: Problem) -> Rates:
    """Return the rates of this machine for a problem; measured once in a process, all cores at work.

    Of a matrix that is small, or whose blocks are dear to read, the constants: its time is that of starting things.
    """
    matrix = problem.matrix
    sources = [source for source in matrix.sources if isinstance(source, Block | StoredBlock)][: cpu_count()]
    if not sources or matrix.nnz // matrix.n_blocks < _LEAST_VALUES:
        return NOMINAL
    scaled = bool(problem.user_scaling), bool(problem.item_scaling)
    key = (matrix.shape, matrix.nnz, matrix.store, problem.weighting, *scaled)
    if key not in _known:
        _known[key] = _measured(problem, sources)
    return _known[key]


def _measured(problem: Problem, sources: Sequence[Recipe[Block]]) -> Rates:
    n_columns = problem.matrix.shape[1]
    with ThreadPoolExecutor(cpu_count()) as pool, single_threaded_blas():
        disk = _disk_rate(sources[0])
        blocks = [source.load() for source in sources]
        values = sum(len(block.values) for block in blocks)
        item_scale = np.ones(n_columns) if problem.item_scaling else None
        transform = Transform(problem.weighting, summarize(blocks[0]), problem.user_scaling, item_scale)

        def together(work: Callable[[int], Any]) -> float:
            return _seconds(lambda: list(pool.map(work, range(len(blocks)))))

        def load(number: int) -> None:
            block = transform(sources[number].load())
            block.indices.max()
            block.values.max()

        sparse: dict[tuple[int, int], float] = {}
        for width, columns in NOMINAL.sparse:
            tiles = np.ones((1, n_columns, columns), f"f{width}")
            outs = [np.zeros_like(tiles) for _ in blocks]

            def multiply(number: int, tiles: Any = tiles, outs: Any = outs) -> None:
                block = blocks[number]
                kernels.gram_product(block.indptr, block.indices, block.values, tiles, outs[number])

            multiply(0)  # compiled, or read from the cache of what is
            sparse[width, columns] = 4 * values * columns / together(multiply)
        partials = tiles.nbytes / _seconds(lambda: add(np.zeros_like(tiles), tiles))
        return Rates(
            sparse=sparse,
            dense={width: _dense_rate(width) for width in (4, 8)},
            partials=partials,
            load=values / together(load),
            digest=values / together(lambda number: summarize(blocks[number])),
            disk=disk,
        )


def _dense_rate(width: int) -> float:
    """Return the operations a second of products of tall matrices."""
    tall, narrow = (np.ones((_TALL, columns), f"f{width}") for columns in (_WIDE, 64))
    with tall_algebra(cpu_count()) as algebra:
        return 2 * _TALL * _WIDE * 64 / _seconds(lambda: algebra.cross(tall, narrow))


def _disk_rate(source: Recipe[Block]) -> float:
    """Return the bytes a second that come from the disk of a store; of other matrices the constant."""
    if not isinstance(source, StoredBlock) or is_url(source.place) or not hasattr(os, "posix_fadvise"):
        return NOMINAL.disk
    path = Path(source.place)
    with suppress(OSError), path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # forget what is in memory of this one file
        start = time.perf_counter()
        size = len(file.read())
        return size / (time.perf_counter() - start)
    return NOMINAL.disk


def _seconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)
