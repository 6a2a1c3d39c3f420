"""What alternating least squares is going to take: the arrays of each of its stages, and what they cost.

The sizes are those of `recscale_dask.solvers.als_rows` and `recscale_dask.solvers.als_sweeps`: change them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.stage import Stage
from recscale_dask.linalg.register_tiles import LANES
from recscale_dask.solvers.als_rows import Method
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers, model_bytes
from recscale_dask.solvers.rates import Rates

_GRADIENTS = 0.45  # of the rate of sparse products, at which conjugate gradients run
_FACTORS = 0.3  # of the rate of dense products, at which systems are made and factorized
_DESCENT = 50  # rounds of coordinate descent
_PER_VALUE = 28  # bytes of weights, roots, targets and constants of a block, and of what made them
_SCRATCH = 2 << 20  # of a kernel
_MOVED = 1e9  # bytes a second between processes
_HASHED = 3  # times that each byte of a model is hashed when it is saved


@dataclass(frozen=True)
class ALSForecast:
    """Stages of ``factorize(solver="als-...")``.

    Attributes
    ----------
    problem : Problem
    sweeps : int
        Most.
    method : Method
    n_biases : int
        Unknowns of a row beside its factors.
    workers : Workers
    rates : Rates
        Of the machine.
    """

    problem: Problem
    sweeps: int
    method: Method
    n_biases: int
    workers: Workers
    rates: Rates

    def forecast(self) -> Forecast:
        """Return all stages."""
        stages = tuple(self._stages())
        matrix, isolated = self.matrix, self.workers.capabilities.isolated
        shared = isolated and self.workers.capabilities.shared_files
        plain = self.problem.weighting == "binary"
        rank = self.problem.rank + 2 * self.n_biases
        return Forecast(
            stages=stages,
            model_bytes=model_bytes(matrix, rank, plain_values=plain),
            temporary_bytes=2 * matrix.whole + 2 * self._system if shared else 0,
            checkpoint_bytes=2 * self._rows,
            method={"method": self._name, "sweeps": self.sweeps},
        )

    @cached_property
    def matrix(self) -> MatrixBytes:
        """Sizes of the matrix."""
        return MatrixBytes.of(self.problem.matrix)

    @property
    def _name(self) -> str:
        if self.method.nonnegative:
            return "coordinate descent"
        return f"conjugate gradients, {self.method.steps} steps" if self.method.steps else "Cholesky"

    @property
    def _width(self) -> int:
        return -(-(self.problem.rank + self.n_biases) // LANES) * LANES

    @property
    def _sides(self) -> int:
        return self.matrix.n_users + self.matrix.n_items

    @property
    def _rows(self) -> int:
        """Bytes of the rows of both sides."""
        return 4 * self._sides * (self.problem.rank + self.n_biases)

    @property
    def _system(self) -> int:
        """Bytes of what the rows of one side are solved against."""
        return 4 * self._width * max(self.matrix.n_users, self.matrix.n_items)

    def _half_seconds(self, method: Method) -> float:
        """Return the seconds of a half-sweep over both sides' mean number of rows."""
        width, nnz = self._width, self.matrix.nnz
        share = self.workers.parallelism / cpu_count()
        rates = self.rates.of_workers(min(1.0, share) if self.workers.here else share)
        dense = self.rates.dense[4] * _FACTORS * (rates.pairs / self.rates.pairs)
        if method.steps:
            return 4 * nnz * width * (method.steps + 1) / (rates.sparse[4, 32] * _GRADIENTS)
        rows = self._sides / 2
        short = min(width, nnz / max(1.0, rows))
        systems = nnz * width * short + rows * short**3 / 3
        if method.nonnegative:
            systems += nnz * width**2 + 2 * _DESCENT * rows * width**2
        return systems / dense

    def _stages(self) -> Iterator[Stage]:
        matrix, rates = self.matrix, self.rates
        held = matrix.held()
        weighted = matrix.nnz * matrix.itemsize if self.problem.weighting and not matrix.stored else 0
        yield Stage(
            name="read",
            passes=1,
            seconds=matrix.nnz / rates.digest,
            read_bytes=matrix.store if matrix.stored else 0,
            driver={**held, "item counts": 4 * 8 * matrix.n_items},
        )
        yield Stage(
            name="transpose",
            passes=1,
            seconds=matrix.nnz / rates.digest,
            read_bytes=matrix.store if matrix.stored else 0,
            driver={**held, "matrix as one": matrix.whole + weighted, "transposed": 2 * matrix.whole},
        )
        yield self._solving("sweeps", 2 * self.sweeps, self.method, held, weighted)
        last = Method(nonnegative=True) if self.method.nonnegative else Method()
        yield self._solving("user factors", 1, last, held, weighted)
        plain = self.problem.weighting == "binary"
        written = model_bytes(matrix, self.problem.rank + 2 * self.n_biases, plain_values=plain)
        values = {} if plain else {"values": matrix.itemsize * matrix.nnz}
        yield Stage(
            name="save",
            passes=2 * int(matrix.stored),
            seconds=_HASHED * written / 8 / rates.digest + written / rates.disk,
            read_bytes=2 * matrix.store if matrix.stored else 0,
            driver={**held, "factors": 2 * self._rows, "seen items": 4 * matrix.nnz + 8 * matrix.n_users, **values},
        )

    def _solving(self, name: str, passes: int, method: Method, held: dict[str, int], weighted: int) -> Stage:
        matrix, capabilities = self.matrix, self.workers.capabilities
        shared = capabilities.isolated and capabilities.shared_files
        driver = {
            **held,
            "transposed matrix": matrix.whole,
            "weighted values": weighted,
            "matrices in shared files": 2 * matrix.whole if shared else 0,
            "rows, before and after": 2 * self._rows,
            "what they are solved against": self._system * (3 if shared else 2),
        }
        rows = 4 * 4 * self._width * matrix.block_rows
        worker = {
            "its blocks": 2 * matrix.whole // self.workers.parallelism if capabilities.isolated and not shared else 0,
            "block": matrix.block_values * _PER_VALUE + (matrix.block if matrix.stored else 0),
            "rows of a block": rows,
            "scratch": _SCRATCH + 4 * self._width**2,
            "constants": self._system if capabilities.isolated and not shared else 0,
        }
        moved = 0
        if capabilities.isolated:
            copies = 1 if capabilities.shared_files else self.workers.parallelism
            moved = passes * (copies * self._system + self._rows)
        return Stage(
            name=name,
            passes=passes,
            seconds=passes * self._half_seconds(method) + moved / _MOVED,
            read_bytes=passes * matrix.store if matrix.stored else 0,
            moved_bytes=moved,
            driver={key: size for key, size in driver.items() if size},
            worker={key: size for key, size in worker.items() if size},
        )
