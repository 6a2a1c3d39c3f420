"""What a truncated SVD is going to take: the arrays of each of its stages, and what they cost.

The sizes are those of `recscale_dask.solvers.svd`, `recscale_dask.solvers.operator` and
`recscale_dask.linalg.krylov`: change them together. `benchmarks/scale.py` holds them against what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recscale_dask.execution.contract import Capabilities
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.stage import Stage
from recscale_dask.linalg.kernels import tile_width
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers, exchanged, model_bytes
from recscale_dask.solvers.operator import pieces
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.svd_plan import SVDCost, SVDPlan
from recscale_dask.solvers.warm_start import guard_count

_MOVED = 1e9  # bytes a second between processes
_HASHED = 3  # times that each byte of a model is hashed when it is saved
# Bytes per float32 value that a block takes beside its own while tasks work on it, as tracemalloc counts them.
_WEIGHTING = {None: 0, "binary": 4, "log": 4, "tfidf": 8, "bm25": 28}
_ROW_SUMS = 16
_ENERGIES = 8
_COUNTS = 8


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
            model_bytes=model_bytes(self.matrix, self.problem.rank, plain_values=plain) + 4 * self._n * self._guards,
            temporary_bytes=placed + constants + results,
            checkpoint_bytes=max(stage.driver.get("Krylov basis", 0) for stage in stages)
            + 3 * 8 * self._n * self.problem.rank,  # what was found, the triplets, and A'A times them
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
    def _guards(self) -> int:
        """Vectors that are kept beside the wanted ones, for a warm start."""
        return guard_count(self.problem.rank) if self.plan.method == "block Lanczos" else 0

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

    @property
    def _weighted(self) -> int:
        """Bytes of each new value that a weighting or scaling makes."""
        return self.matrix.itemsize * self._transformed

    @property
    def transforming(self) -> int:
        """Bytes per stored value beside a block that is being weighted and scaled."""
        problem, itemsize = self.problem, self.matrix.itemsize
        weighting = _WEIGHTING.get(problem.weighting, 0) * itemsize // 4
        users = itemsize * bool(problem.weighting) + _ROW_SUMS if problem.user_scaling else 0
        items = itemsize * (1 + bool(problem.weighting or problem.user_scaling)) if problem.item_scaling else 0
        return max(weighting, users, items)

    def _block(self) -> int:
        """Return the bytes of a block on a worker in a pass."""
        if not self._streams:
            return 0
        return self.matrix.block + self.matrix.block_values * self.transforming

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
        if self.center is not None:
            passes = 2 if self.center == "users" else 1
            sums = {"sums of users and items": 8 * (2 * self.matrix.n_users + 8 * self.matrix.n_items)}
            yield self._stage("means", passes, sums, {}, 0, 0, 0, passes * self.matrix.nnz / self.rates.digest)
        yield self._passes()
        yield self._certificate()
        yield self._user_factors()
        yield self._save()

    def _read(self) -> Stage:
        """Return the stage that hashes the blocks and adds up what weighting and scaling need; on threads, here."""
        matrix = self.matrix
        threads = Workers(name="threads", parallelism=cpu_count(), capabilities=Capabilities())
        fold = threads.fold(matrix.n_blocks)
        counts = (1 + fold.on_driver + fold.running) * 8 * matrix.n_items
        beside, passes, seconds = _COUNTS, 1, matrix.nnz / self.rates.digest
        driver = {**matrix.held(), "item counts": counts}
        if self.problem.user_scaling or self.problem.item_scaling:
            beside, passes = max(beside, self._weighted + _ROW_SUMS, self.transforming), 2
            seconds += matrix.nnz / self.rates.load
            driver["sums of users"] = 2 * 8 * matrix.n_users
        driver["blocks"] = fold.running * (matrix.block * matrix.stored + matrix.block_values * beside)
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
            passes = plan.passes - 1  # of the certificate, which has its own stage
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
        widths = [piece.stop - piece.start for piece in pieces(rank, n)]
        tile = tile_width(widths[0], np.float64)
        partial = n * -(-widths[0] // tile) * tile * 8
        fold = self.workers.fold(self.matrix.n_blocks)
        copies = 1 if len(widths) == 1 else 2  # as they are, and in tiles
        driver = {
            "vectors and A'A times them": 2 * 8 * n * rank,
            "vectors for a warm start": (8 + 4) * n * self._guards,
            "block of vectors": copies * partial,
        }
        worker = {}
        if self.plan.side == "rows":  # then the other side is made here, and not block by block at the end
            driver["vectors of the other side"] = 2 * 8 * rank * max(self.matrix.n_users, self.matrix.n_items)
            worker["rows of A times vectors"] = 8 * self.matrix.block_rows * widths[0]
        seconds = self._cost.certificate()
        return self._stage("certificate", len(widths), driver, worker, partial, partial, fold.on_driver, seconds)

    def _user_factors(self) -> Stage:
        matrix, rank = self.matrix, self.problem.rank
        tiles = 8 * matrix.n_items * -(-rank // 16) * 16
        rows = matrix.block_rows * rank
        energies = (self._weighted + _ENERGIES) * matrix.block_values + 12 * rows
        driver = {
            **self._held(),
            "factors": 4 * rank * (matrix.n_users + matrix.n_items),
            "item vectors": 2 * 8 * rank * matrix.n_items + tiles,
            "vectors for a warm start": 4 * self._n * self._guards,
            "rows on their way": 4 * self.workers.parallelism * rows,
        }
        block = matrix.block if matrix.stored else 0
        worker = {
            **self._worker_held(),
            "block": block + max(matrix.block_values * self.transforming, energies),
        }
        isolated = self.workers.capabilities.isolated and matrix.stored  # else in this process
        if isolated and self.workers.capabilities.shared_files:
            driver["shared constants"] = tiles
        elif isolated:
            worker["constants"] = tiles
        copies = 1 if self.workers.capabilities.shared_files else self.workers.parallelism
        return Stage(
            name="user factors",
            passes=1,
            seconds=matrix.nnz / self.rates.digest + self._cost.certificate() / 2,
            read_bytes=matrix.store if matrix.stored else 0,
            moved_bytes=copies * tiles + 4 * rank * matrix.n_users if isolated else 0,
            driver={key: size for key, size in driver.items() if size},
            worker=worker,
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
            seconds=_HASHED * written / 8 / self.rates.digest + written / self.rates.disk,
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
        driver = {**self._held(), **driver, "partial sums": max(1, on_driver) * partial}
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
