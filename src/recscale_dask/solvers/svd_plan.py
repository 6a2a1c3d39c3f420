"""What the SVD engine is going to do: side, method, block and basis size, from a cost model.

The choice follows from the matrix and the options alone, at rates that are constants of this file and not
measured where it runs: otherwise two machines, or two executors, would choose differently and give other
bits. `benchmarks/svd.py` measures the kernel that they stand for.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_SPARSE_RATE = {4: 70e9, 8: 33e9}  # multiplications and additions a second in sparse products, two cores
_DENSE_RATE = {4: 200e9, 8: 100e9}  # the same in dense products
_EIGEN_SECONDS = 1.5e-10  # per cube of the order of a symmetric float64 matrix, one core
_PAIR_RATE = 1e9  # pairs of stored values a second in a sparse A'A, two cores
_SKEW = 20.0  # mean square of the values in a row over the square of the mean, of ratings
_PASS_SECONDS = 6e-3  # to hand out one pass, whatever it does
_SMALL_PASS_SECONDS = 1e-3  # the same of a matrix of so few values that it stays in this thread
_SMALL = 1 << 18
_BASIS_BYTES = 1 << 29  # of a Krylov basis; restarts keep it below, unless the rank asks for more
_BLOCK_SIZES = (8, 16, 32, 64, 128)
_FLOAT32_TOL = 1e-6  # from here on float32 passes are tried first; the certificate is float64 in any case
_SMALL_FLOAT32_TOL = 1e-4  # the same of small matrices, where a second try costs more than float64


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
    Passes of block Lanczos are estimated as ``3 k / block_size + 2 log10(1 / tol)``, which fits what
    was counted on ratings (k = 64) and on a degree-normalised graph (k = 256) at block sizes 16 to 128: small blocks
    span a given space with fewer vectors, large ones with fewer passes.
    """
    n = min(shape)
    least = _FLOAT32_TOL if nnz >= _SMALL else _SMALL_FLOAT32_TOL
    width = 4 if dtype == np.float32 and tol >= least and not double else 8
    product_rate = (_DENSE_RATE if dense else _SPARSE_RATE)[width]
    common = {"side": "rows" if shape[0] < shape[1] else "columns", "dtype": f"float{8 * width}"}

    latency = _PASS_SECONDS if nnz >= _SMALL else _SMALL_PASS_SECONDS

    def lanczos(block: int) -> SVDPlan:
        block = min(block, n)
        room = max(2 * k + 4 * block, _BASIS_BYTES // (n * width))
        basis = min(n, basis_size or room)
        steps = max(3 * k / block + 2 * math.log10(1 / min(tol, 0.1)), k / block + 1)
        steps = min(steps, math.ceil(n / block))
        size = min(basis, steps * block)
        # A tile is computed whole.
        columns = block if dense else -(-block // (128 // width)) * (128 // width)
        product = latency + 4 * nnz * columns / product_rate
        seconds = (
            steps * (product + _orthogonalization(n, size / 2, block) / _dense_rate(width, block))
            + 3 * _EIGEN_SECONDS * size**3
            + 2 * n * size * k / _DENSE_RATE[width]
        )
        return SVDPlan(
            method="block Lanczos",
            block_size=block,
            basis_size=basis,
            passes=math.ceil(steps) + 1,
            seconds=seconds + _certificate_seconds(shape, nnz, k, dense),
            **common,
        )

    if block_size is not None or basis_size is not None:
        return lanczos(block_size or 32)
    plans = [lanczos(block) for block in _BLOCK_SIZES]
    if 8 * n * n <= _BASIS_BYTES:
        # Of dense blocks half of a product; of sparse ones all pairs of values in a row, most of them in
        # rows that are longer than the mean.
        pairs = nnz * min(n, _SKEW * nnz / max(shape))
        product = latency + (nnz * n / product_rate if dense else pairs / _PAIR_RATE)
        whole = SVDPlan(
            method="whole Gram matrix",
            block_size=n,
            basis_size=n,
            passes=2,
            seconds=product + _EIGEN_SECONDS * n**3 + _certificate_seconds(shape, nnz, k, dense),
            **common,
        )
        plans.insert(0, whole)
    return min(plans, key=lambda plan: plan.seconds)


def _dense_rate(width: int, block: int) -> float:
    """Return the rate of products with few columns, which load the other factor more often than they need."""
    return _DENSE_RATE[width] * block / (block + 24)


def _orthogonalization(n: int, size: float, block: int) -> float:
    """Return the operations of a step: against the basis every other time, the last two blocks, among themselves."""
    return 4 * n * block * (size / 2 + 3 * block + 2 * block)


def _certificate_seconds(shape: tuple[int, int], nnz: int, k: int, dense: bool) -> float:
    product = 4 * nnz * k / (_DENSE_RATE if dense else _SPARSE_RATE)[8]
    return product + 6 * sum(shape) * k * k / _DENSE_RATE[8]
