"""Truncated SVD of row blocks: block Lanczos on A'A, run to a tolerance, every triplet certified."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.data.dense import DenseMatrix, RowBlock
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import NotConvergedWarning, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, SolverStep, ignore
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.placement import placed_blocks
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import fold_blocks
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.linalg.tall import TallAlgebra, tall_algebra
from recscale_dask.model import Certificate, Factors
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.preparation import check_preparation, prepare, seen_items
from recscale_dask.solvers.products import BlockWithRows, gram_product, image_and_back, join_images, transpose_product
from recscale_dask.types import Recipe, Task

_EPSILON = float(np.finfo(np.float64).eps)
_TINY = 1e-5  # of the largest singular value
_FLOAT32_TOL = 1e-4  # from here on float32 passes are tried first; the certificate is float64 in any case
WORKING_PRECISION = 1e-10
"""What ``tol=0`` stands for: as good as float64 products and their Gram matrix commonly allow."""


@dataclass(frozen=True, slots=True, eq=False)
class SingularTriplets:
    """The largest singular triplets of a matrix A, in float64, descending.

    Attributes
    ----------
    left : ndarray of shape (n_rows, k)
        U; orthonormal columns, also where a singular value is zero.
    values : ndarray of shape (k,)
        Singular values; exactly 0 where they are so to working precision.
    right : ndarray of shape (n_columns, k)
        V; the entry of largest magnitude in each column is positive (the first one of equals).
    certificate : Certificate
        Residuals, measured.
    """

    left: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.float64]
    certificate: Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SVDSolver(Solver):
    """Truncated SVD; the options of ``factorize(solver="svd")``.

    Parameters
    ----------
    maxiter : int, optional
        Most passes over the matrix; by default 300. A few more where fewer cannot span `rank` vectors.
    block_size : int, optional
        Vectors multiplied in one pass; by default from rank.
    basis_size : int, optional
        Most vectors kept in the Krylov basis; by default from rank.
    """

    maxiter: int | None = None
    block_size: int | None = None
    basis_size: int | None = None

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, weighting, scaling, tolerance or an option cannot work."""
        check_rank(problem.rank, problem.matrix.shape)
        check_preparation(problem.weighting, problem.user_scaling, problem.item_scaling)
        _check_options(problem.tol, **asdict(self))
        whole_number(problem.seed, "seed", at_least=0)

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return factors that approximate the weighted matrix; scaling is undone."""
        self.check(problem)
        matrix = problem.matrix.loaded()
        prepared = prepare(matrix, problem.weighting, problem.user_scaling, problem.item_scaling)
        found = singular_triplets(
            prepared.matrix,
            problem.rank,
            tol=problem.tol,
            seed=problem.seed,
            executor=executor,
            observer=observer,
            **asdict(self),
        )
        roots = np.sqrt(found.values)
        users, items = found.left * roots, found.right * roots
        if prepared.user_unscale is not None:
            users *= prepared.user_unscale[:, None]
        if prepared.item_unscale is not None:
            items *= prepared.item_unscale[:, None]
        return Factors(
            users.astype(np.float32),
            items.astype(np.float32),
            found.values,
            matrix.users,
            matrix.items,
            seen_items(matrix),
            found.certificate,
            {"data_fingerprint": prepared.fingerprint},
        )


def singular_triplets(
    matrix: UserItemMatrix | DenseMatrix,
    k: int,
    *,
    tol: float,
    executor: Executor,
    seed: Any = 0,
    start: NDArray[Any] | None = None,
    maxiter: int | None = None,
    block_size: int | None = None,
    basis_size: int | None = None,
    observer: Observer = ignore,
) -> SingularTriplets:
    """Return the `k` largest singular triplets of a matrix, certified.

    Passes are in float32 where the blocks are and `tol` is coarse, and are repeated in float64 if that does not
    do; the left vectors and the certificate are always float64.

    Block Lanczos with full re-orthogonalization and thick restarts on A'A, which is applied as one read
    of each block; then one pass that makes the left vectors and measures the residual of both sides.
    Where that is above `tol` the iteration goes on, in the complement of what is certified. When a value has as
    many copies as the search had directions, it is widened, so that none is missed.

    Parameters
    ----------
    matrix : UserItemMatrix or DenseMatrix
        With or without a transform; float32 or float64 blocks.
    k : int
        At most the smaller side.
    tol : float
        Largest residual allowed as a fraction of each singular value; 0 is `WORKING_PRECISION`.
    seed : int or Generator
        Of the first block.
    start : ndarray of shape (n_columns, m), optional
        Right vectors to begin with.
    maxiter, block_size, basis_size : int, optional
        See `SVDSolver`.

    Warns
    -----
    NotConvergedWarning
        If a residual is above `tol` after `maxiter` passes; the certificate says so too.
    """
    _check_options(tol, maxiter=maxiter, block_size=block_size, basis_size=basis_size)
    n_rows, n_columns = matrix.shape
    tol = float(tol) or WORKING_PRECISION
    limit = 300 if maxiter is None else maxiter
    width = block_size or _default_block_size(k, n_columns)
    stored_bytes = matrix.nnz * (4 + matrix.dtype.itemsize) + 8 * n_rows
    with (
        single_threaded_blas(),
        tall_algebra(cpu_count()) as algebra,
        placed_blocks(executor, matrix.sources, expected_bytes=stored_bytes) as blocks,
    ):
        passes = 0

        def fold(task: Task, payloads: Sequence[Any], basis: NDArray[Any], what: str, **options: Any) -> Any:
            nonlocal passes
            passes += 1
            label = f"svd pass {passes}{what}"
            return fold_blocks(executor, task, payloads, {"basis": basis}, label=label, observer=observer, **options)

        rng = np.random.default_rng(seed)
        dtype: type[np.floating[Any]] = np.float64
        if matrix.dtype == np.float32 and tol >= _FLOAT32_TOL:
            dtype = np.float32
        locked, largest, stagnant = np.zeros((n_columns, 0)), 0.0, False
        while True:
            wanted = k - locked.shape[1]
            lanczos = BlockLanczos(
                lambda vectors: fold(gram_product, blocks, vectors, ""),
                n_columns,
                wanted,
                block_size=width,
                basis_size=basis_size or _default_basis_size(wanted, width),
                algebra=algebra,
                rng=rng,
                start=start,
                locked=locked,
                dtype=dtype,
            )
            search = _Search(lanczos, k, wanted, tol / 2, largest, limit, observer)
            search.run(lambda: passes)
            vectors = np.concatenate([locked, lanczos.vectors(wanted)], axis=1, dtype=np.float64)
            found = _finish(fold, blocks, matrix.bounds, vectors, tol, algebra)
            certificate = Certificate(found.certificate.residuals, tol, passes)
            found = replace(found, certificate=certificate)
            certified = int(np.argmin(np.append(certificate.residuals <= tol, False)))
            if certificate.converged or passes >= limit - 1:  # a further search takes two at least
                break
            if dtype == np.float32:  # the rounding of A'A hides the smallest of these values
                dtype, start = np.float64, found.right
                continue
            if certified <= locked.shape[1]:
                stagnant = True
                break
            # What A'A shows of small values is rounding relative to the largest. So look for the rest
            # in the complement of what is certified, where that is gone.
            locked, start = found.right[:, :certified], found.right[:, certified:]
            largest = float(found.values[0])
    if not found.certificate.converged:
        advice = f"Allow more passes with maxiter (now {limit}), or a larger tol."
        if stagnant:
            advice = "More passes do not help: this is what float64 gives for this matrix. Use a larger tol."
        warnings.warn(
            f"{int((found.certificate.residuals > tol).sum())} of {k} singular triplets have a residual above "
            f"tol={tol:g} after {found.certificate.passes} passes (the largest is "
            f"{found.certificate.max_residual:.2g}). {advice}",
            NotConvergedWarning,
            stacklevel=2,
        )
    return found


def _check_options(tol: float, **options: int | None) -> None:
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.number) or not tol >= 0:
        raise OptionError(f"tol must be 0 or a positive fraction such as 1e-3; got {tol!r}")
    for name, option in options.items():
        if option is not None:
            whole_number(option, name)


def _default_block_size(k: int, n_columns: int) -> int:
    if n_columns <= 256:
        return n_columns  # the whole Gram matrix in one pass
    return min(max(32, k // 4 // 16 * 16), 64)


def _default_basis_size(k: int, width: int) -> int:
    return 2 * k + 4 * width


@dataclass(frozen=True, slots=True)
class _Search:
    """When a run of `BlockLanczos` is at its end.

    Attributes
    ----------
    lanczos : BlockLanczos
        Looks for `wanted` of the `k` triplets; the others are locked.
    goal : float
        Largest residual of a Ritz pair as a fraction of its value.
    largest : float
        The largest singular value, as far as it is known from locked triplets.
    limit : int
        Most passes; two are left for the certificate.
    """

    lanczos: BlockLanczos
    k: int
    wanted: int
    goal: float
    largest: float
    limit: int
    observer: Observer

    def run(self, passes: Callable[[], int]) -> None:
        """Step until every Ritz pair is within the goal, no copy of one is missing, or passes are used up."""
        self._converge(passes, 0)
        patience = self.lanczos.steps
        while self.lanczos.hidden_copies() and not self._used_up(passes):
            self.lanczos.widen()
            # As many steps as the first directions needed show what the new ones hold.
            self._converge(passes, self.lanczos.steps + patience)

    def _converge(self, passes: Callable[[], int], at_least: int) -> None:
        while True:
            if self.lanczos.steps:
                good = self._good(passes())
                done = len(good) == self.wanted and good.all() and self.lanczos.steps >= at_least
                if done or self.lanczos.exhausted or self._used_up(passes):
                    return
            self.lanczos.step()

    def _used_up(self, passes: Callable[[], int]) -> bool:
        return self.lanczos.size >= self.wanted and passes() >= max(1, self.limit - 2)

    def _good(self, passes: int) -> NDArray[np.bool_]:
        values, residuals = self.lanczos.ritz()
        # |G v - s^2 v| / s^2 is the residual of the triplet. What is below rounding counts as found: the
        # product of a vector orthogonal to the locked ones has an error of epsilon times the largest
        # value of all, times the largest of its own.
        relative = residuals / np.maximum(values, np.finfo(float).tiny)
        own = float(np.sqrt(max(values[0], 0.0)))
        rounding = 4 * self.lanczos.epsilon * max(self.largest, own) * own
        good: NDArray[np.bool_] = (relative <= self.goal) | (residuals <= rounding)
        self.observer(
            SolverStep(
                solver="svd",
                passes=passes,
                max_passes=self.limit,
                converged=self.k - self.wanted + int(good.sum()),
                wanted=self.k,
                residual=float(np.max(relative[~good], initial=0.0)),
            )
        )
        return good


def _finish(
    fold: Callable[..., Any],
    blocks: Sequence[Recipe[RowBlock]],
    bounds: NDArray[np.int64],
    vectors: NDArray[np.float64],
    tol: float,
    algebra: TallAlgebra,
) -> SingularTriplets:
    """Make the left vectors in one pass, rotate both sides to the SVD of A V, and measure the residuals.

    Where a value is tiny, ``A'u`` cannot be had from that pass to the accuracy of the others, and where it
    is zero not at all: then another pass measures it.
    """
    image_parts, back = fold(image_and_back, blocks, vectors, ", certificate", combine=join_images)
    image = np.concatenate(image_parts)
    # The SVD of A V is more accurate for small values than the Gram matrix was, and its Q is orthonormal
    # whatever the rank.
    q, r = algebra.qr(image)
    x, values, wt = np.linalg.svd(r)
    w = np.ascontiguousarray(wt.T)
    left, right = algebra.times(q, x), algebra.times(vectors, w)
    n = max(len(left), len(right))
    values[values <= n * _EPSILON * values[0]] = 0.0
    positive = values > 0
    largest = values[0] if positive[0] else 1.0
    against = np.where(positive, values, largest)
    av_minus_su = algebra.times(image, w) - left * values
    a_transpose_u = algebra.times(back, w) / against  # A'u = A'A V w / s
    tiny = np.flatnonzero(values <= _TINY * values[0])
    if len(tiny):
        some = np.ascontiguousarray(left[:, tiny])
        pairs = [BlockWithRows(block, some[a:b]) for block, (a, b) in zip(blocks, pairwise(bounds), strict=True)]
        a_transpose_u[:, tiny] = fold(transpose_product, pairs, right[:, tiny], ", certificate of tiny values")
    residuals = np.hypot(algebra.column_norms(av_minus_su), algebra.column_norms(a_transpose_u - right * values))
    residuals = residuals / against + 32 * _EPSILON * largest / against
    signs = np.sign(right[np.argmax(np.abs(right), axis=0), range(len(values))])
    signs[signs == 0] = 1.0
    left *= signs
    right *= signs
    return SingularTriplets(left, values, right, Certificate(residuals, tol, 0))
