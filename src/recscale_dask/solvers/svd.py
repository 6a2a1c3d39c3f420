"""Truncated SVD of row blocks: block Lanczos on A'A, run to a tolerance, every triplet certified."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.dense import DenseMatrix, array_of
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import Transform
from recscale_dask.errors import NotConvergedWarning, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, SolverStep, ignore
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.placement import placed_blocks
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.chebyshev import ChebyshevFilter, sharpest_filter
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.linalg.orthonormal import orthonormalize
from recscale_dask.linalg.tall import TallAlgebra, tall_algebra
from recscale_dask.model import Certificate, Factors, SeenItems, stored_values
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.operator import BlockOperator, Center, check_center
from recscale_dask.solvers.preparation import check_preparation, prepare, reading_executor
from recscale_dask.solvers.svd_closed_form import FoldedCenter, SVDClosedForm, fitted_energy, row_energies
from recscale_dask.solvers.svd_plan import PROBE_STEPS, SVDPlan, plan_svd

_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).tiny)
_MARGIN = 0.9  # of a coarse tolerance, where residuals of Ritz pairs are those of the triplets
_COARSE = 1e-4
_TINY = 1e-5  # of the largest singular value
_ROOM = 8  # tolerance over the error of A'A v, for a residual that is measured by that
_SETTLED = 0.4  # largest residual from which on the spread of Ritz values is that of the eigenvalues, roughly
_SPREAD = 1e-2  # smallest value over largest that a Cholesky factor serves as well as a QR
_EDGE = 0.8  # of the estimate of the smallest wanted eigenvalue, which is off by up to a seventh
_PATIENCE = 2  # times the expected steps, after which a filter is given up that does not show all that is wanted
_LOOKED_AT = 8  # of the smallest wanted Ritz pairs, before all are
_NEARLY_ORTHOGONAL = 0.1  # largest sum of cosines with the others, for a Cholesky factor as good as a QR
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
    plan : SVDPlan or None
        How they were computed.
    center : Center or None
        What was subtracted from the matrix before.
    """

    left: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.float64]
    certificate: Certificate
    plan: SVDPlan | None = None
    center: Center | None = None

    def swapped(self) -> SingularTriplets:
        """Return the triplets of the transposed matrix."""
        center = None if self.center is None else self.center.swapped()
        return replace(self, left=self.right, right=self.left, center=center)


@dataclass(frozen=True, slots=True, kw_only=True)
class SVDSolver(Solver):
    """Truncated SVD; the options of ``factorize(solver="svd")``.

    Parameters
    ----------
    maxiter : int, optional
        Most passes over the matrix; by default 300. A few more where fewer cannot span `rank` vectors.
    block_size : int, optional
        Vectors multiplied in one pass; by default what a cost model finds cheapest.
    basis_size : int, optional
        Most vectors kept in the Krylov basis; by default as many as half a GiB holds.
    center : {"items", "users", "global"}, optional
        Subtract the mean of each item, of each user, or of all entries (zeros among them) from the matrix,
        without densifying. The means come back as one more column of the factors, so that these
        approximate the matrix itself.
    """

    maxiter: int | None = None
    block_size: int | None = None
    basis_size: int | None = None
    center: str | None = None

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, weighting, scaling, tolerance or an option cannot work."""
        check_rank(problem.rank, problem.matrix.shape)
        check_preparation(problem.weighting, problem.user_scaling, problem.item_scaling)
        _check_options(problem.tol, self.maxiter, self.block_size, self.basis_size)
        check_center(self.center)
        whole_number(problem.seed, "seed", at_least=0)

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return factors that approximate the weighted matrix; scaling is undone."""
        self.check(problem)
        matrix = problem.matrix.ready()
        prepared = prepare(matrix, problem.weighting, problem.user_scaling, problem.item_scaling)
        found = singular_triplets(
            prepared.matrix,
            problem.rank,
            tol=problem.tol,
            seed=problem.seed,
            executor=executor,
            observer=observer,
            center=self.center,
            maxiter=self.maxiter,
            block_size=self.block_size,
            basis_size=self.basis_size,
        )
        values = found.values
        center = None if found.center is None else _folded_center(found, own_mean=self.center == "users")
        users, items = found.left, found.right
        users *= np.sqrt(values)  # in place: they are as large as all that is returned
        items *= np.sqrt(values)
        if found.center is not None:
            user_means, item_means = found.center.balanced()
            users, items = np.column_stack([users, user_means]), np.column_stack([items, item_means])
        if prepared.item_unscale is not None:
            items *= prepared.item_unscale[:, None]
        item_factors = items.astype(np.float32)
        closed_form = SVDClosedForm(
            Transform(problem.weighting, prepared.summary),
            Transform(None, prepared.summary, problem.user_scaling, prepared.item_scale),
            item_factors,
            values,
            center,
        )
        with reading_executor(matrix) as here:
            parts = map_blocks(here, row_energies, matrix.sources, {"closed_form": closed_form}, label="energy")
            energies = np.concatenate(list(parts))
        training = {
            "energy": fitted_energy(users[:, : len(values)], values, energies).numbers(),
            # Binary weights do not depend on the values.
            "values": np.ones(1, np.float32) if problem.weighting == "binary" else stored_values(matrix.sources),
            **closed_form.kept(),
        }
        if prepared.user_unscale is not None:
            users *= prepared.user_unscale[:, None]
        return Factors(
            users.astype(np.float32),
            item_factors,
            values,
            matrix.users,
            matrix.items,
            SeenItems.of(matrix.sources),
            found.certificate,
            {
                "data_fingerprint": prepared.summary.digest.hex(),
                "plan": found.plan.as_dict() if found.plan else None,
            },
            training,
        )

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of the factors of new users."""
        return SVDClosedForm.of(model, self.center)


def _folded_center(found: SingularTriplets, *, own_mean: bool) -> FoldedCenter:
    """Return what centring does to a row, and to its factors, per unit of the row's mean if that is subtracted."""
    assert found.center is not None
    user_means, item_means = found.center.balanced()
    rows, columns = found.center.rows, found.center.columns
    columns = np.ones_like(columns) if own_mean else rows[0] * columns
    along = np.zeros_like(found.values)
    np.divide(columns @ found.right, np.sqrt(found.values), out=along, where=found.values > 0)
    return FoldedCenter(own_mean, columns, np.append(-along, 1 / item_means[0] if own_mean else user_means[0]))


def singular_triplets(
    matrix: UserItemMatrix | DenseMatrix,
    k: int,
    *,
    tol: float,
    executor: Executor,
    center: str | None = None,
    seed: Any = 0,
    start: NDArray[Any] | None = None,
    maxiter: int | None = None,
    block_size: int | None = None,
    basis_size: int | None = None,
    observer: Observer = ignore,
) -> SingularTriplets:
    """Return the `k` largest singular triplets of a matrix, certified.

    The shorter side is iterated: the right vectors as eigenvectors of A'A, or of a matrix with fewer rows than
    columns the left ones, by block Lanczos with full re-orthogonalization or, of a small side, from the
    whole of A'A; a cost model chooses (`recscale_dask.solvers.svd_plan`). Then one pass in float64 makes the
    vectors of the other side and measures the residuals of both. Where one is above `tol` that same
    pass is a step of subspace iteration, which takes away the rounding of float32 passes; if that does not
    do, the iteration goes on in float64, in the complement of what is certified. When a value has as many
    copies as the search had directions, it is widened, so that none is missed.

    Parameters
    ----------
    matrix : UserItemMatrix or DenseMatrix
        With or without a transform; float32 or float64 blocks.
    k : int
        At most the smaller side.
    tol : float
        Largest residual allowed as a fraction of each singular value; 0 is `WORKING_PRECISION`.
    center : {"items", "users", "global"}, optional
        Subtract the mean of each column, of each row, or of all entries, without densifying.
    seed : int or Generator
        Of the first block.
    start : ndarray of shape (n_columns, m), optional
        Right vectors to begin with, such as those of an earlier fit: all of them are in the first block.
    maxiter, block_size, basis_size : int, optional
        See `SVDSolver`.

    Warns
    -----
    NotConvergedWarning
        If a residual is above `tol` after `maxiter` passes; the certificate says so too.
    """
    _check_options(tol, maxiter, block_size, basis_size)
    check_center(center)
    tol = float(tol) or WORKING_PRECISION
    plan, double = (
        plan_svd(
            matrix.shape,
            matrix.nnz,
            matrix.dtype,
            k,
            tol,
            dense=isinstance(matrix, DenseMatrix),
            double=double,
            block_size=block_size,
            basis_size=basis_size,
        )
        for double in (False, True)
    )
    limit = 300 if maxiter is None else maxiter
    with single_threaded_blas(), tall_algebra(cpu_count()) as algebra:
        if start is not None:
            start = np.asarray(start, np.float64)
        if plan.side == "rows":
            start = None if start is None else _images(matrix, start)
            matrix, center = matrix.transposed(), _swapped(center)
        stored_bytes = matrix.nnz * (4 + matrix.dtype.itemsize) + 8 * matrix.shape[0]
        stored = isinstance(matrix, UserItemMatrix) and matrix.is_stored  # then workers read them, pass by pass
        placed = placed_blocks(executor, matrix.sources, expected_bytes=stored_bytes)
        with nullcontext(matrix.sources) if stored else placed as blocks:
            operator = BlockOperator(executor, blocks, matrix, observer)
            operator.subtract(center)
            found = _Engine(operator, algebra, plan, double, k, tol, limit, np.random.default_rng(seed), observer).run(
                start
            )
    return found.swapped() if plan.side == "rows" else found


def _swapped(center: str | None) -> str | None:
    return {"items": "users", "users": "items"}.get(center or "", center)


def _images(matrix: UserItemMatrix | DenseMatrix, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``A right``, computed in this process."""
    blocks = (source.load() for source in matrix.sources)
    return np.concatenate([array_of(block) @ right for block in blocks])


def _check_options(tol: float, maxiter: int | None, block_size: int | None, basis_size: int | None) -> None:
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.number) or not tol >= 0:
        raise OptionError(f"tol must be 0 or a positive fraction such as 1e-3; got {tol!r}")
    for name, option in (("maxiter", maxiter), ("block_size", block_size), ("basis_size", basis_size)):
        if option is not None:
            whole_number(option, name)


@dataclass(slots=True, eq=False)
class _Engine:
    """One run for `k` triplets: search, certify, and search again for what is not certified.

    Attributes
    ----------
    plan, double : SVDPlan
        What to try first, and in float64 where that falls short.
    limit : int
        Most passes; those that a certificate needs are left.
    """

    operator: BlockOperator
    algebra: TallAlgebra
    plan: SVDPlan
    double: SVDPlan
    k: int
    tol: float
    limit: int
    rng: np.random.Generator
    observer: Observer

    def run(self, start: NDArray[np.float64] | None) -> SingularTriplets:
        """Return the triplets, with a warning if they have not all converged."""
        dtype = np.dtype(self.plan.dtype)
        stagnant = False
        whole = self.plan.method == "whole Gram matrix"
        if whole:
            vectors = self._whole(dtype)
        else:
            vectors, precise = self._search(dtype, start)
            if not precise:
                # One block that holds something of all that was found.
                dtype = np.dtype(np.float64)
                mixture = vectors @ self.rng.standard_normal((vectors.shape[1], self.double.block_size))
                vectors, _ = self._search(dtype, mixture)
        found, images = self._certified(vectors)
        if dtype == np.float32 or whole:
            found = self._polished(found, images)
        locked = 0
        while not found.certificate.converged and self.operator.passes < self.limit - 1:
            # What A'A shows of small values is rounding relative to the largest. So look for the rest in
            # the complement of what is certified, where that is gone.
            # Of vectors from float32 passes only those that leave no more of large values there than small ones allow.
            values = found.values
            allowed = self.tol * (values[-1] / values if dtype == np.float32 and values[-1] > 0 else 1.0)
            certified = int(np.argmin(found.certificate.residuals <= allowed))
            if certified <= locked and dtype == np.float64 and not whole:
                stagnant = True
                break
            dtype, whole, locked = np.dtype(np.float64), False, certified
            known, rest = found.right[:, :locked], found.right[:, locked:]
            vectors, _ = self._search(dtype, rest, known, float(found.values[0]) if locked else 0.0)
            found, _ = self._certified(vectors)
        if not found.certificate.converged:
            self._warn(found.certificate, stagnant)
        scale = self.operator.scale
        center = None if self.operator.center is None else self.operator.center.divided(scale)
        return replace(found, values=found.values / scale, plan=self.plan, center=center)

    def _whole(self, dtype: np.dtype[Any]) -> NDArray[np.float64]:
        """Return the leading eigenvectors of the whole of A'A."""
        gram = self.operator.whole_gram(dtype)
        _, vectors = np.linalg.eigh((gram + gram.T) / 2)
        return np.ascontiguousarray(vectors[:, : -self.k - 1 : -1])

    def _search(
        self,
        dtype: np.dtype[Any],
        start: NDArray[np.float64] | None,
        locked: NDArray[np.float64] | None = None,
        largest: float = 0.0,
    ) -> tuple[NDArray[np.float64], bool]:
        """Return the locked vectors, and behind them those that block Lanczos finds in their complement.

        Also whether it went to its end: not if `dtype` turns out to be too coarse for the spectrum.
        """
        n = self.operator.n_columns
        wanted = self.k - (0 if locked is None else locked.shape[1])
        given = 0 if start is None else start.shape[1]
        plan = self.plan if dtype == np.float32 else self.double
        chebyshev: ChebyshevFilter | None = None
        if locked is None and start is None and plan.degree > 1 and self.limit > _PATIENCE * plan.passes:
            chebyshev = self._probe(dtype, plan)
        lanczos = BlockLanczos(
            self.operator.gram if chebyshev is None else partial(chebyshev, self.operator.gram),
            n,
            wanted,
            block_size=max(plan.block_size, given),
            basis_size=max(plan.basis_size, 2 * wanted + 3 * given),
            algebra=self.algebra,
            rng=self.rng,
            start=start,
            locked=locked,
            dtype=dtype.type,
        )
        search = _Search(lanczos, self.k, wanted, self._goal(), largest, self.limit, self.observer, chebyshev)
        if chebyshev is not None:
            search.look_at, search.patience = 3 * plan.steps // 4, _PATIENCE * plan.steps
        elif dtype == np.float64 or self.tol >= _COARSE:  # else a look tells early that float32 does not do
            search.look_at = 0 if given or largest else 2 * plan.steps // 3
        search.run(lambda: self.operator.passes)
        vectors = lanczos.vectors(wanted)
        if locked is not None:
            vectors = np.concatenate([locked, vectors], axis=1)
        return vectors, not search.given_up

    def _probe(self, dtype: np.dtype[Any], plan: SVDPlan) -> ChebyshevFilter | None:
        """Return a filter whose edge is below the smallest wanted eigenvalue, as a few steps estimate it; or None."""
        lanczos = BlockLanczos(
            self.operator.gram,
            self.operator.n_columns,
            self.k,
            block_size=plan.block_size,
            basis_size=(PROBE_STEPS + 2) * plan.block_size,
            algebra=self.algebra,
            rng=self.rng,
            dtype=dtype.type,
        )
        for _ in range(PROBE_STEPS):
            lanczos.step()
        wanted = lanczos.value_at(self.k)
        # Four roundings of the largest value count as nothing: see `_Search`.
        allowed = self._goal() / (8 * lanczos.epsilon)
        return sharpest_filter(_EDGE * wanted, wanted, lanczos.largest_value(), degree=plan.degree, allowed=allowed)

    def _goal(self) -> float:
        """Return where residuals of Ritz pairs have to be: rounding comes on top of them at a tight tolerance."""
        return (_MARGIN if self.tol >= _COARSE else _MARGIN / 2) * self.tol

    def _certified(self, vectors: NDArray[np.float64]) -> tuple[SingularTriplets, NDArray[np.float64]]:
        return certify(self.operator, vectors, self.tol, self.algebra, sign_left=self.plan.side == "rows")

    def _polished(self, found: SingularTriplets, images: NDArray[np.float64]) -> SingularTriplets:
        """Take steps of subspace iteration while each takes away most of what is left.

        The rounding of float32 passes is spread over all directions, most of which A'A makes small: two steps or so
        bring vectors that converged in float32 to an accuracy that float32 does not have.
        """
        while not found.certificate.converged and self.operator.passes < self.limit:
            before = found.certificate.max_residual
            if before > 1e3 * self.tol or found.values[-1] <= _TINY * found.values[0]:
                break  # not rounding, or not of the kind that goes away
            vectors = orthonormalize(self.algebra, images, None, scale=0.0, rng=self.rng).columns
            found, images = self._certified(vectors)
            if found.certificate.max_residual > before / 4:
                break
        return found

    def _warn(self, certificate: Certificate, stagnant: bool) -> None:
        advice = f"Allow more passes with maxiter (now {self.limit}), or a larger tol."
        if stagnant:
            advice = "More passes do not help: this is what float64 gives for this matrix. Use a larger tol."
        warnings.warn(
            f"{int((certificate.residuals > self.tol).sum())} of {self.k} singular triplets have a residual above "
            f"tol={self.tol:g} after {certificate.passes} passes (the largest is "
            f"{certificate.max_residual:.2g}). {advice}",
            NotConvergedWarning,
            stacklevel=4,
        )


@dataclass(slots=True, eq=False)
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
    chebyshev : ChebyshevFilter or None
        What the operator of `lanczos` is of A'A, if it is not that itself.
    look_at : int
        Step at which Ritz pairs are extracted next.
    patience : int
        Steps after which a filter has to show as many values as are wanted.
    given_up : bool
        The search has no end, because rounding or a filter hides what it looks for.
    """

    lanczos: BlockLanczos
    k: int
    wanted: int
    goal: float
    largest: float
    limit: int
    observer: Observer
    chebyshev: ChebyshevFilter | None = None
    look_at: int = 0
    patience: int = 0
    given_up: bool = False
    _seen: tuple[int, float] = (0, 1.0)  # step and worst residual at the last look
    _worst: float = 1.0

    def run(self, passes: Callable[[], int]) -> None:
        """Step until every Ritz pair is within the goal, no copy of one is missing, or passes are used up."""
        self._converge(passes, 0)
        patience = self.lanczos.steps
        while not self.given_up and self.lanczos.hidden_copies() and not self._used_up(passes):
            self.lanczos.widen()
            # As many steps as the first directions needed show what the new ones hold.
            self._converge(passes, self.lanczos.steps + patience)

    def _converge(self, passes: Callable[[], int], at_least: int) -> None:
        self.look_at = max(self.look_at, at_least)
        while True:
            ended = self.lanczos.exhausted or self._used_up(passes)
            if ended or (self.lanczos.size >= self.wanted and self.lanczos.steps >= self.look_at):
                values, residuals = self.lanczos.smallest_wanted(min(self.wanted, _LOOKED_AT))
                good = self._good(values, residuals, passes())
                if good.all() or ended:
                    values, residuals = self.lanczos.ritz()
                    good = self._good(values, residuals, passes())
                self.given_up = not ended and self._hopeless(float(values[-1]), self._worst)
                if ended or self.given_up or (len(good) == self.wanted and good.all()):
                    return
                self._wait(self._worst)
            self.lanczos.step()

    def _wait(self, worst: float) -> None:
        """Set when to look next: looks at a large basis take the time of several steps, and so do steps too many.

        Residuals fall ever faster, so half of the steps that they would need at the pace since the last look
        are a good guess, and a quarter of those so far are as far as a guess goes.
        """
        steps, (before, residual) = self.lanczos.steps, self._seen
        self._seen = steps, worst
        pace = np.log(residual / worst) / (steps - before) if before else 0.0
        guess = np.log(worst / self.goal) / pace / 2 if pace > 0 else 0.0
        self.look_at = steps + 1 + int(min(guess, steps / 4))

    def _used_up(self, passes: Callable[[], int]) -> bool:
        step = 1 if self.chebyshev is None else self.chebyshev.degree
        return self.lanczos.size >= self.wanted and passes() + step > max(1, self.limit - 2)

    def _good(self, values: NDArray[np.float64], residuals: NDArray[np.float64], passes: int) -> NDArray[np.bool_]:
        """Return which Ritz pairs are within the goal; remember the largest residual of those that are not."""
        # |G v - s^2 v| / s^2 is the residual of the triplet. What is below rounding counts as found: the
        # product of a vector orthogonal to the locked ones has an error of epsilon times the largest
        # value of all, times the largest of its own.
        if self.chebyshev is None:
            relative = residuals / np.maximum(values, _SMALLEST)
        else:
            relative = self.chebyshev.relative_residuals(values, residuals)
        own = self.lanczos.largest_value() ** 0.5
        rounding = 4 * self.lanczos.epsilon * max(self.largest, own) * own
        good: NDArray[np.bool_] = (relative <= self.goal) | (residuals <= rounding)
        self._worst = min(1.0, float(np.max(relative[~good], initial=0.0)))
        self.observer(
            SolverStep(
                solver="svd",
                passes=passes,
                max_passes=self.limit,
                converged=self.k - self.wanted + int(good.sum()),
                wanted=self.k,
                residual=self._worst,
                goal=self.goal,
            )
        )
        return good

    def _hopeless(self, smallest: float, worst: float) -> bool:
        """Whether float32 falls short of the goal by more than polishing makes up for, or the filter hides values."""
        if self.chebyshev is not None:
            return smallest <= 1 and self.lanczos.steps > self.patience
        if self.lanczos.epsilon <= _EPSILON or worst > _SETTLED:
            return False
        return 2 * self.lanczos.epsilon * self.lanczos.largest_value() > 8 * self.goal * smallest


def certify(
    operator: BlockOperator, vectors: NDArray[np.float64], tol: float, algebra: TallAlgebra, *, sign_left: bool = False
) -> tuple[SingularTriplets, NDArray[np.float64]]:
    """Make the left vectors in one pass, rotate both sides to the SVD of A V, and measure the residuals.

    Where a value is tiny, ``A'u`` cannot be had from that pass to the accuracy of the others, and where it
    is zero not at all: then another pass measures it.

    Parameters
    ----------
    operator : BlockOperator
        The matrix A.
    vectors : ndarray of shape (n_columns, k)
        V, orthonormal to single precision at least; overwritten.
    sign_left : bool
        Whether the left vectors get the signs that are promised of right ones.

    Returns
    -------
    found : SingularTriplets
    images : ndarray of shape (n_columns, k)
        ``A'u`` for each left vector.
    """
    image, back = operator.image_and_gram(vectors)
    # What is orthonormal in float32 is made so in float64: V L^-T is, if V'V = L L'.
    straight = np.linalg.inv(np.linalg.cholesky(algebra.cross(vectors, vectors))).T
    norms = algebra.column_norms(image)
    cosines = np.eye(len(norms))
    if plain := bool(norms.min() > _SPREAD * norms.max()):
        cosines = algebra.cross(image, image) / norms[:, None] / norms
        plain = bool((np.abs(cosines).sum(axis=0) <= 1 + _NEARLY_ORTHOGONAL).all())
    if plain:
        # Columns that are nearly orthogonal, as those of converged vectors are: the SVD of A V follows from their
        # products, without a QR, and as they are scaled to length 1, small values keep their accuracy.
        x, values, wt = np.linalg.svd((np.linalg.cholesky(cosines).T * norms) @ straight)
        w = straight @ wt.T
        left = algebra.times(image, w / values, out=image if isinstance(image, np.ndarray) else None)
    else:
        # Q is orthonormal whatever the rank.
        q, r = algebra.qr(image if isinstance(image, np.ndarray) else np.concatenate(image))
        x, values, wt = np.linalg.svd(r @ straight)
        w = straight @ wt.T
        left = algebra.times(q, x)
    right = algebra.times(vectors, w, out=vectors)
    signs = algebra.signs(left if sign_left else right)
    left *= signs
    right *= signs
    w *= signs
    size = max(float(values[0]), operator.removed)  # what rounding is relative to
    values[values <= max(len(left), len(right)) * _EPSILON * size] = 0.0
    positive = values > 0
    against = np.where(positive, values, values[0] if positive[0] else size or 1.0)
    images = algebra.times(back, w / against, out=back)  # A'u = A'A V w / s
    # A'A v has an error of epsilon times the largest value squared, which has to be small against tol times the square.
    small = max(_TINY, float(np.sqrt(_ROOM * _EPSILON / tol)))
    tiny = np.flatnonzero(values <= small * size)
    if len(tiny):
        images[:, tiny] = operator.transpose(np.ascontiguousarray(left[:, tiny]))
    residuals = algebra.distances(images, right, values)
    if not plain:  # else A v = s u by construction
        residuals = np.hypot(residuals, algebra.distances(algebra.times(image, w), left, values))
    residuals = residuals / against + 32 * _EPSILON * (size or 1.0) / against
    return SingularTriplets(left, values, right, Certificate(residuals, tol, operator.passes)), images
