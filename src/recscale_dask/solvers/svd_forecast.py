"""What a truncated SVD is going to take: the arrays of each of its stages, and what they cost.

The sizes are those of `recscale_dask.solvers.svd`, `recscale_dask.solvers.operator` and
`recscale_dask.linalg.krylov`: change them together. `benchmarks/scale.py` holds them against what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recscale_dask.execution.machine import cpu_count
from recscale_dask.linalg.kernels import tile_width
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Stage, Workers, exchanged, model_bytes
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.svd_plan import SVDCost, SVDPlan

_WIDTH = 64  # columns of a product of the certificate
_MOVED = 1e9  # bytes a second between processes
_HASHED = 3  # times that each byte of a model is hashed when it is saved
# Bytes per stored value that a block takes while it is transformed, beside its own; counted with tracemalloc.
_WEIGHTING_BYTES = {None: 0, "binary": 4, "log": 4, "tfidf": 12, "bm25": 36}
_USER_SCALING_BYTES = 24
_ITEM_SCALING_BYTES = 8


@dataclass(frozen=True)
class SVDForecast:
    """Stages of ``factorize(solver="svd")``.

    Attributes
    ----------
    problem : Problem
    plan : SVDPlan
        How it is solved.
    center : str or None
        What is subtracted.
    workers : Workers
    rates : Rates
        Of the machine.
    """

    problem: Problem
    plan: SVDPlan
    center: str | None
    workers: Workers
    rates: Rates

    def forecast(self) -> Forecast:
        """Return all stages."""
        isolated = self.workers.capabilities.isolated
        plain = self.problem.weighting == "binary"
        shared = isolated and self.workers.capabilities.shared_files
        placed = self.matrix.whole if shared and not self._streams else 0
        stages = tuple(self._stages())
        constants = max(stage.driver.get("shared constants", 0) for stage in stages)
        results = max(stage.worker_bytes for stage in stages) * self.workers.parallelism if shared else 0
        return Forecast(
            stages=stages,
            model_bytes=model_bytes(self.matrix, self.problem.rank, plain_values=plain),
            temporary_bytes=placed + constants + results,
            method=self.plan.as_dict(),
        )

    # -- sizes ------------------------------------------------------------------------------------------

    @cached_property
    def matrix(self) -> MatrixBytes:
        """Sizes of the matrix."""
        return MatrixBytes.of(self.problem.matrix)

    @property
    def _n(self) -> int:
        """Entries of the vectors that are iterated."""
        return min(self.matrix.n_users, self.matrix.n_items)

    @property
    def _streams(self) -> bool:
        """Whether each pass reads the store."""
        return self.matrix.stored and self.plan.side == "columns"

    @property
    def _transformed(self) -> bool:
        return bool(self.problem.weighting or self.problem.user_scaling or self.problem.item_scaling)

    @cached_property
    def _cost(self) -> SVDCost:
        share = 1.0
        if self.workers.here:
            share = min(1.0, self.workers.parallelism / cpu_count())
        else:
            share = self.workers.parallelism / cpu_count()
        shape = self.matrix.n_users, self.matrix.n_items
        return SVDCost(shape, self.matrix.nnz, self.problem.rank, rates=self.rates.of_workers(share))

    def _transforming(self) -> int:
        """Return the bytes per stored value beside a block that is being weighted and scaled."""
        problem = self.problem
        beside = _WEIGHTING_BYTES.get(problem.weighting, 0)
        beside = max(beside, 4 * bool(problem.weighting) + _USER_SCALING_BYTES * bool(problem.user_scaling))
        return max(beside, 8 * self._transformed + _ITEM_SCALING_BYTES * bool(problem.item_scaling))

    def _block(self) -> int:
        """Return the bytes of a block on a worker in a pass."""
        if not self._streams:
            return 0
        return self.matrix.block + self.matrix.block_values * self._transforming()

    def _held(self) -> dict[str, int]:
        """Return what the driver holds in all stages behind the first."""
        held = self.matrix.held()
        whole = self.matrix.whole
        if self.plan.side == "rows":
            held["transposed matrix"] = whole
        elif self._transformed and not self._streams:
            held["weighted values"] = self.matrix.nnz * self.matrix.itemsize
        capabilities = self.workers.capabilities
        if capabilities.isolated and capabilities.shared_files and not self._streams:
            held["matrix in shared files"] = whole
        return held

    def _worker_held(self) -> dict[str, int]:
        capabilities = self.workers.capabilities
        if capabilities.isolated and not capabilities.shared_files and not self._streams:
            return {"its blocks": self.matrix.whole // self.workers.parallelism}
        return {}

    # -- stages -----------------------------------------------------------------------------------------

    def _stages(self) -> Iterator[Stage]:
        yield self._read()
        if self.plan.side == "rows":
            yield Stage(
                name="transpose",
                seconds=self.matrix.nnz / self.rates.digest,
                driver={**self.matrix.held(), "matrix as one": self.matrix.whole, "transposed": 2 * self.matrix.whole},
            )
        yield self._passes()
        yield self._certificate()
        yield self._user_factors()
        yield self._save()

    def _read(self) -> Stage:
        """Return the stage that hashes the blocks and adds up what weighting and scaling need; on threads, here."""
        matrix, n_threads = self.matrix, cpu_count()
        scaled = bool(self.problem.user_scaling or self.problem.item_scaling)
        driver = {**matrix.held(), "item counts": 8 * matrix.n_items * (matrix.n_blocks.bit_length() + 2 * n_threads)}
        if matrix.stored:
            driver["blocks"] = n_threads * matrix.block
        if scaled:
            driver["blocks"] = n_threads * (matrix.block + matrix.block_values * self._transforming())
            driver["sums of users and items"] = 8 * (matrix.n_users + matrix.n_items * matrix.n_blocks)
        passes = 2 if scaled else 1
        seconds = matrix.nnz / self.rates.digest + (matrix.nnz / self.rates.load if scaled else 0.0)
        return Stage(
            name="read",
            passes=passes,
            seconds=seconds,
            read_bytes=passes * matrix.store if matrix.stored else 0,
            driver=driver,
        )

    def _passes(self) -> Stage:
        n, plan = self._n, self.plan
        dtype = np.dtype(plan.dtype)
        fold = self.workers.fold(self.matrix.n_blocks)
        if plan.method == "whole Gram matrix":
            passes, partial, constant = 1, 8 * n * n, 0
            driver = {"A'A and its eigenvectors": 4 * partial}
        else:
            passes = plan.passes - 1
            block = plan.block_size
            tile = tile_width(block, dtype)
            partial = constant = n * -(-block // tile) * tile * dtype.itemsize
            capacity = min(n, max(plan.basis_size, 2 * self.problem.rank, self.problem.rank + 2 * block)) + block
            vectors = 1 if plan.degree == 1 else 3
            driver = {
                "Krylov basis": n * min(capacity, (plan.steps + 1) * block) * dtype.itemsize,
                "block of vectors": n * block * dtype.itemsize * vectors + constant,
            }
        return self._stage("passes", passes, driver, {}, constant, partial, fold.on_driver, self._cost.search(plan))

    def _certificate(self) -> Stage:
        n, rank = self._n, self.problem.rank
        width = min(rank, _WIDTH)
        tile = tile_width(width, np.float64)
        partial = n * -(-width // tile) * tile * 8
        fold = self.workers.fold(self.matrix.n_blocks)
        driver = {"vectors and A'A times them": 2 * 8 * n * rank, "block of vectors": partial}
        worker = {"rows of A times vectors": 8 * self.matrix.block_rows * width}
        passes = -(-rank // _WIDTH)
        return self._stage(
            "certificate", passes, driver, worker, partial, partial, fold.on_driver, self._cost.certificate()
        )

    def _user_factors(self) -> Stage:
        matrix, rank = self.matrix, self.problem.rank
        rows = 4 * matrix.block_rows * rank
        driver = {
            "factors": 4 * rank * (matrix.n_users + matrix.n_items),
            "item vectors": 2 * 8 * rank * matrix.n_items,
            "rows on their way": 2 * self.workers.parallelism * rows,
        }
        worker = {"rows of factors": 3 * rows}
        seconds = matrix.nnz * rank * 2 / self._cost.rates.sparse[8]
        moved = 4 * rank * (matrix.n_users + self.workers.parallelism * matrix.n_items)
        stage = self._stage("user factors", 1, driver, worker, 0, 0, 0, seconds)
        return Stage(
            name=stage.name,
            passes=1,
            seconds=stage.seconds,
            read_bytes=stage.read_bytes,
            moved_bytes=moved if self.workers.capabilities.isolated else 0,
            driver=stage.driver,
            worker=stage.worker,
        )

    def _save(self) -> Stage:
        matrix, rank = self.matrix, self.problem.rank
        plain = self.problem.weighting == "binary"
        written = model_bytes(matrix, rank, plain_values=plain)
        driver = {**matrix.held(), "factors": 4 * rank * (matrix.n_users + matrix.n_items)}
        if not matrix.stored:
            driver["seen items"] = 4 * matrix.nnz + 8 * matrix.n_users
            driver["training values"] = 0 if plain else matrix.itemsize * matrix.nnz
        return Stage(
            name="save",
            passes=int(matrix.stored),
            seconds=_HASHED * written / 8 / self.rates.digest,
            read_bytes=matrix.store if matrix.stored else 0,
            driver=driver,
        )

    def _stage(
        self,
        name: str,
        passes: int,
        driver: dict[str, int],
        worker: dict[str, int],
        constant: int,
        partial: int,
        on_driver: int,
        seconds: float,
    ) -> Stage:
        """Return a stage of passes on the workers, given what it has beside blocks, constants and partial sums."""
        capabilities, matrix = self.workers.capabilities, self.matrix
        fold = self.workers.fold(matrix.n_blocks)
        driver = {**self._held(), **driver, "partial sums": (1 + on_driver) * partial}
        worker = {**self._worker_held(), **worker, "block": self._block(), "partial sums": fold.on_worker * partial}
        if capabilities.isolated and capabilities.shared_files:
            driver["shared constants"] = constant
        elif capabilities.isolated:
            worker["constants"] = constant
        moved = passes * exchanged(self.workers, matrix.n_blocks, constant, partial)
        if self._streams:
            seconds += passes * matrix.nnz / self._cost.rates.load
        return Stage(
            name=name,
            passes=passes,
            seconds=seconds + moved / _MOVED,
            read_bytes=passes * matrix.store if self._streams else 0,
            moved_bytes=moved,
            driver={key: size for key, size in driver.items() if size},
            worker={key: size for key, size in worker.items() if size},
        )
