"""What an executor does here in two seconds: how long it takes to start, to send a constant, to multiply."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.api.executors import needed_options, open_executor
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.sparse import clean_csr
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.placement import placed_blocks
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.linalg.kernels import to_tiles
from recscale_dask.solvers.products import gram_product

_USERS, _ITEMS, _PER_USER = 100_000, 4_096, 20
_WIDTH = 32  # columns of the dense matrix
_CONSTANT_BYTES = 32 << 20
_SECONDS = 1.0  # of products; with the first ones, which compile, and the constant it is about two


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What was measured on one executor.

    Attributes
    ----------
    executor : str
    workers : int
        Tasks at once.
    start_seconds : float
        Until it was open and every worker had done something.
    constant_seconds : float
        Until every worker had read a constant of `constant_bytes`.
    constant_bytes : int
    products_per_second : float
        Sparse products A'(A Q) of the test matrix.
    gigaflops : float
        The same in 10^9 additions and multiplications a second.
    sha256 : str
        Of the product, which has the same bits on every executor.
    problem : str
        Why it could not be measured; empty if it was.
    needs : sequence of str
        Options without which it does not open: nothing was measured then.
    options : mapping of str to str
        What it was opened with, where it has to be something.
    """

    executor: str
    workers: int = 0
    start_seconds: float = 0.0
    constant_seconds: float = 0.0
    constant_bytes: int = _CONSTANT_BYTES
    products_per_second: float = 0.0
    gigaflops: float = 0.0
    sha256: str = ""
    problem: str = ""
    needs: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.needs:
            return f"not measured: it opens with {'=, '.join(self.needs)}= only"
        if self.problem:
            return self.problem
        given = "".join(f"{name}={value!r}: " for name, value in self.options.items())
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return (
            f"{given}{workers}, started in {self.start_seconds:.2f} s, {self.constant_bytes >> 20} MiB to all of "
            f"them in {self.constant_seconds:.2f} s, sparse products at {self.gigaflops:.1f} GFLOP/s"
        )


def measure_executors(names: list[str]) -> Iterator[Measure]:
    """Yield the measure of each executor; one that fails says why, and never stops the others."""
    matrix = _matrix()
    basis = to_tiles(np.random.default_rng(1).standard_normal((_ITEMS, _WIDTH), np.float32))
    for name in names:
        try:
            options = _options(name)
            needs = tuple(each for each in needed_options(name) if each not in options)
            yield Measure(executor=name, needs=needs) if needs else _measure(name, options, matrix, basis)
        except Exception as error:
            yield Measure(executor=name, problem=f"{type(error).__name__}: {error}")


def _options(name: str) -> dict[str, str]:
    """Return what an executor is opened with: for `futures` a pool that is installed."""
    pools = {"loky": "loky", "joblib": "joblib.externals.loky:ProcessPoolExecutor"}
    if name == "futures":
        for package, pool in pools.items():
            if find_spec(package) is not None:
                return {"pool": pool}
    return {}


def _measure(name: str, options: Mapping[str, str], matrix: UserItemMatrix, basis: NDArray[np.float32]) -> Measure:
    start = time.perf_counter()
    with open_executor(name, **options) as executor:
        # Workers may start when they are first needed: each of them adds up one number.
        list(
            map_blocks(executor, _sum, range(executor.parallelism), {"constant": np.ones(1, np.float32)}, label="start")
        )
        started = time.perf_counter() - start
        constant_seconds = _send_constant(executor)
        with placed_blocks(executor, matrix.sources) as blocks:
            product = _product(executor, blocks, basis)  # compiled, and with the blocks mapped, from here on
            count, start = 0, time.perf_counter()
            while count == 0 or time.perf_counter() - start < _SECONDS:
                _product(executor, blocks, basis)
                count += 1
            rate = count / (time.perf_counter() - start)
        return Measure(
            executor=name,
            options=options,
            workers=executor.parallelism,
            start_seconds=started,
            constant_seconds=constant_seconds,
            products_per_second=rate,
            gigaflops=rate * 4 * matrix.nnz * _WIDTH / 1e9,
            sha256=hashlib.sha256(product.tobytes()).hexdigest(),
        )


def _send_constant(executor: Executor) -> float:
    """Return the seconds until tasks on all workers have read a constant."""
    constant = np.ones(_CONSTANT_BYTES // 4, np.float32)
    start = time.perf_counter()
    sums = list(map_blocks(executor, _sum, range(executor.parallelism), {"constant": constant}, label="constant"))
    if any(each != len(constant) for each in sums):
        raise ValueError(f"a constant of {len(constant)} ones arrived as one that adds up to {sums}")
    return time.perf_counter() - start


def _sum(_: int, *, constant: NDArray[np.float32]) -> float:
    return float(constant.sum(dtype=np.float64))


def _product(executor: Executor, blocks: Any, basis: NDArray[np.float32]) -> NDArray[np.float32]:
    product: NDArray[np.float32] = fold_blocks(executor, gram_product, blocks, {"basis": basis}, label="product")
    return product


def _matrix() -> UserItemMatrix:
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    items = rng.integers(0, _ITEMS, _USERS * _PER_USER, dtype=np.int32)
    indptr = np.arange(0, len(items) + 1, _PER_USER)
    values = rng.random(len(items), np.float32)
    return UserItemMatrix.from_scipy(clean_csr(sp.csr_array((values, items, indptr), shape=(_USERS, _ITEMS))))
