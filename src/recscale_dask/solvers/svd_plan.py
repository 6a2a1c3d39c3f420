"""What the SVD engine is going to do: side, method, block and basis size, from a cost model.

The choice follows from the matrix and the options alone, at rates that are constants (`recscale_dask.solvers.rates`)
and not measured where it runs: otherwise two machines, or two executors, would choose differently and give other
bits. `benchmarks/svd.py` measures the kernel that they stand for. What a plan takes on a machine whose rates are
known is told by `SVDCost`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from recscale_dask.data.blocks import row_block_count
from recscale_dask.linalg.kernels import tile_width
from recscale_dask.solvers.rates import NOMINAL, Rates

_SKEW = 20.0  # mean square of the values in a row over the square of the mean, of ratings
# To hand out one pass, whatever it does, by the least number of stored values: to this thread; to threads; to workers
# in other processes, which large matrices are for.
_PASS_SECONDS = {0: 1e-3, 1 << 18: 4e-3, 1 << 22: 30e-3}
_SMALL = 1 << 18
_BASIS_BYTES = 1 << 29  # of a Krylov basis; restarts keep it below, unless the rank asks for more
_DEGREES = (1, 2, 3)
_BLOCK_SIZES = (8, 16, 32, 64, 128)
_FLOAT32_TOL = 1e-6  # from here on float32 passes are tried first; the certificate is float64 in any case
_FILTERED_FLOAT32_TOL = 1e-4  # the same of filters
_SMALL_FLOAT32_TOL = 1e-4  # the same of small matrices, where a second try costs more than float64


PROBE_STEPS = 5
"""Steps of block Lanczos from which the edge of a filter is estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SVDPlan:
    """How singular triplets are going to be computed; plain values for provenance.

    Attributes
    ----------
    side : {"columns", "rows"}
        Which side's vectors are iterated: that of A'A or, of a matrix with fewer rows than columns, of AA'.
    method : {"block Lanczos", "whole Gram matrix"}
    dtype : {"float32", "float64"}
        Of the passes before the certificate, which is float64.
    block_size : int
        Vectors multiplied in one pass.
    basis_size : int
        Most vectors in the Krylov basis.
    degree : int
        Of the Chebyshev filter of A'A that block Lanczos works with; 1 is A'A itself.
    steps : int
        Blocks of the Krylov basis, expected.
    passes : int
        Expected, for a spectrum that decays as those of ratings do.
    seconds : float
        Expected on two cores of 2024, without start-up.
    """

    side: str
    method: str
    dtype: str
    block_size: int
    basis_size: int
    degree: int
    steps: int
    passes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def plan_svd(
    shape: tuple[int, int],
    nnz: int,
    dtype: np.dtype[Any],
    k: int,
    tol: float,
    *,
    dense: bool = False,
    double: bool = False,
    block_size: int | None = None,
    basis_size: int | None = None,
) -> SVDPlan:
    """Choose the cheapest way to the `k` largest singular triplets.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    nnz : int
        Stored values.
    dtype : dtype
        Of the values.
    k : int
        Number of triplets.
    tol : float
        Largest residual allowed.
    dense : bool
        Whether products go through BLAS.
    double : bool
        Whether all passes are to be in float64.
    block_size, basis_size : int, optional
        Fixed by the caller; then the method is block Lanczos.

    Notes
    -----
    A Krylov basis of block Lanczos is estimated to have ``k + (3 k + 2 block_size log10(1 / tol)) / degree`` vectors,
    which fits what was counted on ratings (k = 64) and on a degree-normalised graph (k = 256) at block sizes 16 to 64
    and degrees 1 to 4: small blocks span a given space with fewer vectors, large ones with fewer passes, and
    filters trade passes for vectors.
    """
    n = min(shape)
    side = "rows" if shape[0] < shape[1] else "columns"
    least = _FLOAT32_TOL if nnz >= _SMALL else _SMALL_FLOAT32_TOL
    widths = (4, 8) if dtype == np.float32 and tol >= least and not double else (8,)
    cost = SVDCost(shape, nnz, k, dense)

    def lanczos(width: int, block: int, degree: int) -> SVDPlan:
        block = min(block, n)
        room = max(2 * k + 4 * block, _BASIS_BYTES // (n * width))
        steps = max(k / block + (3 * k / block + 2 * math.log10(1 / min(tol, 0.1))) / degree, k / block + 1)
        steps = min(math.ceil(steps), math.ceil(n / block))
        plan = SVDPlan(
            side=side,
            method="block Lanczos",
            dtype=f"float{8 * width}",
            block_size=block,
            basis_size=min(n, basis_size or room),
            degree=degree,
            steps=steps,
            passes=steps * degree + (0 if degree == 1 else PROBE_STEPS) + 1,
            seconds=0.0,
        )
        return replace(plan, seconds=cost.seconds(plan))

    if block_size is not None or basis_size is not None:
        return lanczos(widths[0], block_size or 32, 1)
    plans = [
        lanczos(width, block, degree)
        for width in widths
        for block in _BLOCK_SIZES
        for degree in _DEGREES
        # A filter pays where the basis is far from all of the space; it takes digits that a tight tolerance needs.
        if degree == 1 or (nnz >= _SMALL and 4 * k < n and (width == 8 or tol >= _FILTERED_FLOAT32_TOL))
    ]
    if 8 * n * n <= _BASIS_BYTES:
        whole = SVDPlan(
            side=side,
            method="whole Gram matrix",
            dtype=f"float{8 * widths[0]}",
            block_size=n,
            basis_size=n,
            degree=1,
            steps=1,
            passes=2,
            seconds=0.0,
        )
        plans.insert(0, replace(whole, seconds=cost.seconds(whole)))
    return min(plans, key=lambda plan: plan.seconds)


@dataclass(frozen=True, slots=True)
class SVDCost:
    """Seconds of the parts of a plan.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    nnz, k : int
        Stored values, and triplets.
    dense : bool
        Whether products go through BLAS.
    rates : Rates
        Of the machine.
    """

    shape: tuple[int, int]
    nnz: int
    k: int
    dense: bool = False
    rates: Rates = NOMINAL

    def seconds(self, plan: SVDPlan) -> float:
        """Return the seconds of all of a plan."""
        return self.search(plan) + self.certificate()

    def search(self, plan: SVDPlan) -> float:
        """Return the seconds of the passes before the certificate, and of the dense algebra between them."""
        n, rates = min(self.shape), self.rates
        width = np.dtype(plan.dtype).itemsize
        if plan.method == "whole Gram matrix":
            # Of dense blocks half of a product; of sparse ones all pairs of values in a row, most of them in
            # rows that are longer than the mean.
            pairs = self.nnz * min(n, _SKEW * self.nnz / max(self.shape))
            product = self.nnz * n / rates.dense[width] if self.dense else pairs / rates.pairs
            return _latency(self.nnz) + product + rates.eigen * n**3
        block, steps, degree = plan.block_size, plan.steps, plan.degree
        size = min(plan.basis_size, steps * block)
        product = (
            _latency(self.nnz)
            + row_block_count(self.nnz, n) * n * block * width / rates.partials
            + self._product(block, width)
        )
        probe = 0 if degree == 1 else PROBE_STEPS
        return (
            (steps * degree + probe) * product
            + steps * (degree - 1) * n * block * width / rates.updates
            + steps * _orthogonalization(n, size / 2, block) / self._dense_rate(width, block)
            + probe * _orthogonalization(n, probe * block / 2, block) / self._dense_rate(width, block)
            + 3 * rates.eigen * size**3
            + 2 * n * size * self.k / rates.dense[width]
        )

    def certificate(self) -> float:
        """Return the seconds of the certificate."""
        product = self._product(self.k, 8)
        return product + 6 * sum(self.shape) * self.k * self.k / self.rates.dense[8]

    def _product(self, columns: int, width: int) -> float:
        """Return the seconds of a product of A'A with so many columns."""
        if self.dense:
            return 4 * self.nnz * columns / self.rates.dense[width]
        tile = tile_width(columns, f"f{width}")
        # A tile is computed whole.
        return 4 * self.nnz * (-(-columns // tile) * tile) / self.rates.sparse[width, tile]

    def _dense_rate(self, width: int, block: int) -> float:
        """Return the rate of products with few columns, which load the other factor more often than they need."""
        return self.rates.dense[width] * block / (block + 24)


def _latency(nnz: int) -> float:
    return max(seconds for least, seconds in _PASS_SECONDS.items() if nnz >= least)


def _orthogonalization(n: int, size: float, block: int) -> float:
    """Return the operations of a step: against the basis every other time, the last two blocks, among themselves."""
    return 4 * n * block * (size / 2 + 3 * block + 2 * block)
