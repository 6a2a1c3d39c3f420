"""Truncated SVD of row blocks: block Lanczos on A'A, run to a tolerance, every triplet certified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number, whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import Transform
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg import kernels
from recscale_dask.linalg.tall import tall_algebra
from recscale_dask.model import Factors, SeenItems, stored_values
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.forecast import Forecast, Workers
from recscale_dask.solvers.journal import Journal
from recscale_dask.solvers.operator import BlockOperator, Center, check_center
from recscale_dask.solvers.preparation import check_preparation, prepare
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.reading import readable_blocks, reading_executor
from recscale_dask.solvers.space import Choice, Real, Space, Whole
from recscale_dask.solvers.spectral_filter import FILTERS, SpectralFilter
from recscale_dask.solvers.svd_certificate import SingularTriplets
from recscale_dask.solvers.svd_closed_form import FoldedCenter, SVDClosedForm, fitted_energy, fitted_rows
from recscale_dask.solvers.svd_engine import Engine
from recscale_dask.solvers.svd_forecast import SVDForecast
from recscale_dask.solvers.svd_plan import plan_svd
from recscale_dask.solvers.warm_start import GUARDS, StartVectors, check_warm_start, guard_count, start_vectors

WORKING_PRECISION = 1e-10
"""What ``tol=0`` stands for: as good as float64 products and their Gram matrix commonly allow."""


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
    filter : {"ridge", "power"}, optional
        What a score keeps of each singular vector, by its singular value: `recscale_dask.solvers.spectral_filter`.
        None keeps all of the first `rank`, and nothing of others.
    filter_strength : float, optional
        Of the filter, in units of the largest singular value: what ``ridge`` adds to its square, or the exponent of
        ``power``.
    undo_scaling : bool
        Whether scores undo ``item_scaling=b``: a user with the row r (weighted) has the scores ``r Di^-b V g V' Di^b``.
        If not, they are ``r V g V'``, as those of EigenRec (Nikolakopoulos et al., 2019).
    """

    maxiter: int | None = None
    block_size: int | None = None
    basis_size: int | None = None
    center: str | None = None
    filter: str | None = None
    filter_strength: float | None = None
    undo_scaling: bool = True

    warm_starts: ClassVar[bool] = True
    checkpoints: ClassVar[bool] = True
    space: ClassVar[Space] = MappingProxyType(
        {
            "rank": Whole(8, 512, log=True),
            "weighting": Choice(("binary", "log", None)),
            "user_scaling": Real(0.0, 0.7),
            "item_scaling": Real(0.0, 0.7),
            "filter": Choice((None, *FILTERS)),
            "filter_strength": Real(0.02, 2.0, log=True, when={"filter": tuple(FILTERS)}),
            "undo_scaling": Choice((True, False)),
        }
    )

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, weighting, scaling, tolerance or an option cannot work."""
        check_rank(problem.rank, problem.matrix.shape)
        check_preparation(problem.weighting, problem.user_scaling, problem.item_scaling)
        _check_options(problem.tol, self.maxiter, self.block_size, self.basis_size)
        check_center(self.center)
        self.spectral_filter.check()
        if self.undo_scaling not in (True, False):
            raise OptionError(f"undo_scaling must be True or False; got {self.undo_scaling!r}")
        if self.center is not None and not self.undo_scaling:
            raise OptionError(
                "center needs factors that approximate the matrix, which they do not with undo_scaling=False. "
                "Leave one of the two out."
            )
        whole_number(problem.seed, "seed", at_least=0)
        if problem.warm_start is not None:
            check_warm_start(problem.warm_start, problem, self.center)

    @property
    def spectral_filter(self) -> SpectralFilter:
        """The filter that the options name."""
        return SpectralFilter(self.filter, self.filter_strength)

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take."""
        return self.forecast_of(problem, workers, rates).forecast()

    def forecast_of(self, problem: Problem, workers: Workers, rates: Rates) -> SVDForecast:
        """Return the stages of `fit`, and what they are made of."""
        matrix = problem.matrix
        plan = plan_svd(
            matrix.shape,
            matrix.nnz,
            matrix.dtype,
            problem.rank,
            float(problem.tol) or WORKING_PRECISION,
            block_size=self.block_size,
            basis_size=self.basis_size,
        )
        return SVDForecast(problem, plan, self.center, workers, rates)

    def lighter(self, problem: Problem) -> Iterator[tuple[str, Solver]]:
        """Yield this solver with ever smaller bases."""
        basis_size = (self.basis_size or problem.matrix.shape[1]) - 1
        for size in range(min(basis_size, 16 * problem.rank), 2 * problem.rank - 1, -max(1, problem.rank // 4)):
            yield f"basis_size={size} (more passes)", replace(self, basis_size=size)

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return factors that approximate the weighted matrix, but for what a filter takes; scaling is undone."""
        self.check(problem)
        matrix = problem.matrix.ready()
        prepared = prepare(matrix, problem.weighting, problem.user_scaling, problem.item_scaling, executor)
        fingerprint = prepared.summary.digest.hex()
        journal = Journal.of(problem, fingerprint, asdict(self))
        found = singular_triplets(
            prepared.matrix,
            problem.rank,
            tol=problem.tol,
            seed=problem.seed,
            executor=executor,
            observer=observer,
            center=self.center,
            start=None if problem.warm_start is None else start_vectors(problem.warm_start, prepared),
            maxiter=self.maxiter,
            block_size=self.block_size,
            basis_size=self.basis_size,
            keep_left=False,
            n_guards=guard_count(problem.rank),
            journal=journal,
        )
        values, roots = found.values, np.sqrt(found.values)
        over_root = found.right / np.where(roots > 0, roots, np.inf)
        items = found.right
        items *= roots  # in place: they are as large as all that is returned
        center = None
        if found.center is not None:
            center = _folded_center(found.center, over_root, own_mean=self.center == "users")
            items = np.column_stack([items, found.center.balanced()[1]])
        gains = self.spectral_filter.gains(values)
        items[:, : len(values)] *= np.sqrt(gains)
        if prepared.item_unscale is not None and self.undo_scaling:
            items *= prepared.item_unscale[:, None]
        item_factors = items.astype(np.float32)
        closed_form = SVDClosedForm(
            Transform(problem.weighting, prepared.summary),
            Transform(None, prepared.summary, problem.user_scaling, prepared.item_scale),
            item_factors,
            values,
            center,
            gains,
            self.undo_scaling,
        )
        del items
        user_factors = np.empty((matrix.shape[0], item_factors.shape[1]), np.float32)
        energy = np.zeros(3)
        lengths = []
        with reading_executor(matrix, executor) as where:
            constants = {"closed_form": closed_form, "over_root": kernels.to_tiles(over_root)}
            parts = map_blocks(where, fitted_rows, matrix.sources, constants, label="user factors", observer=observer)
            for (first, last), part in zip(pairwise(matrix.bounds), parts, strict=True):
                user_factors[first:last] = part.user_factors
                energy += part.energy
                lengths.append(part.lengths)
        seen = SeenItems.of(matrix.sources, stored=matrix.is_stored, lengths=lengths)
        training = {
            "energy": fitted_energy(energy, values).numbers(),
            # Binary weights do not depend on the values.
            "values": np.ones(1, np.float32) if problem.weighting == "binary" else stored_values(matrix.sources, seen),
            **closed_form.kept(),
            **({} if found.guards is None else {GUARDS: found.guards}),
        }
        return Factors(
            user_factors,
            item_factors,
            values,
            matrix.users,
            matrix.items,
            seen,
            found.certificate,
            {"data_fingerprint": fingerprint, "plan": found.plan.as_dict() if found.plan else None},
            training,
        )

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of the factors of new users."""
        return SVDClosedForm.of(model, self.center, self.spectral_filter, undo_scaling=self.undo_scaling)


def _folded_center(center: Center, over_root: NDArray[np.float64], *, own_mean: bool) -> FoldedCenter:
    """Return what centring does to a row, and to its factors, per unit of the row's mean if that is subtracted."""
    user_means, item_means = center.balanced()
    columns = np.ones_like(center.columns) if own_mean else center.rows[0] * center.columns
    return FoldedCenter(
        own_mean, columns, np.append(-(columns @ over_root), 1 / item_means[0] if own_mean else user_means[0])
    )


def singular_triplets(
    matrix: UserItemMatrix | DenseMatrix,
    k: int,
    *,
    tol: float,
    executor: Executor,
    center: str | None = None,
    seed: Any = 0,
    start: StartVectors | None = None,
    maxiter: int | None = None,
    block_size: int | None = None,
    basis_size: int | None = None,
    keep_left: bool = True,
    n_guards: int = 0,
    journal: Journal | None = None,
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
    start : StartVectors, optional
        What to begin with, such as the vectors of an earlier model: all of them are in the first block.
    maxiter, block_size, basis_size : int, optional
        See `SVDSolver`.
    keep_left : bool
        Whether to make the left vectors, which take as much memory as all else. Of a matrix with fewer rows than
        columns both sides are made in any case.
    n_guards : int
        How many rough vectors behind the wanted ones to keep, for a later fit to start from.
    journal : Journal, optional
        Keeps what is found, so that a fit that is stopped can go on.

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
        if plan.side == "rows":
            matrix, center = matrix.transposed(), _swapped(center)
        with readable_blocks(executor, matrix) as blocks:
            operator = BlockOperator(executor, blocks, matrix, observer)
            operator.subtract(center)
            engine = Engine(
                operator=operator,
                algebra=algebra,
                plan=plan,
                double=double,
                k=k,
                tol=tol,
                limit=limit,
                rng=np.random.default_rng(seed),
                observer=observer,
                keep_left=keep_left or plan.side == "rows",
                n_guards=n_guards,
                journal=journal or Journal(),
            )
            found = engine.run(start)
    return found.swapped() if plan.side == "rows" else found


def _swapped(center: str | None) -> str | None:
    return {"items": "users", "users": "items"}.get(center or "", center)


def _check_options(tol: float, maxiter: int | None, block_size: int | None, basis_size: int | None) -> None:
    if not is_number(tol) or not tol >= 0:
        raise OptionError(f"tol must be 0 or a positive fraction such as 1e-3; got {tol!r}")
    for name, option in (("maxiter", maxiter), ("block_size", block_size), ("basis_size", basis_size)):
        if option is not None:
            whole_number(option, name)
