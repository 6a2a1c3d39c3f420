"""Filters on the graph of users and items: a polynomial of the item-item operator, and its leading eigenvectors.

With ``N = Du^-a R Di^-b`` of the weighted matrix R (D: row and column sums) over its norm, and G = N'N, a row r gets
the scores ``r G q(G) + low_pass r Di^-b V V' Di^b q(G)``. The first part passes on what neighbours have in common (a
linear filter), the second keeps only the leading right singular vectors V of N (an ideal low-pass filter), and q
sharpens: it takes back some of what is shared by all. See Shen et al., "How Powerful is Graph Convolution for
Recommendation?", CIKM 2021 (GF-CF, q = 1), and Choi et al., "Blurring-Sharpening Process Models for Collaborative
Filtering", SIGIR 2023 (BSPM).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from recscale_dask.checks import is_number, whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import map_blocks
from recscale_dask.execution.stage import Stage
from recscale_dask.item_operators.graph_filter import GraphFilter
from recscale_dask.model import Factors
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers
from recscale_dask.solvers.item_closed_form import PROJECTION, ItemClosedForm, user_factors
from recscale_dask.solvers.item_model import check_weighting_alone, item_model, weighting_of
from recscale_dask.solvers.operator import BlockOperator
from recscale_dask.solvers.preparation import PreparedMatrix, prepare
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.reading import readable_blocks, reading_executor
from recscale_dask.solvers.space import Choice, Real, Space, Whole
from recscale_dask.solvers.svd import SVDSolver, singular_triplets

_STEPS: dict[str, tuple[float, ...]] = {"euler": (1, -1), "rk4": (1, -1, 1 / 2, -1 / 6, 1 / 24)}
"""One step of dy/dt = -G y by powers of G times its length: Taylor polynomials of exp(-G)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFilterSolver(Solver):
    """Graph filters; the options of ``factorize(solver="gf-cf")``, which does not sharpen by default.

    Parameters
    ----------
    low_pass : float
        Weight of the ideal low-pass filter, whose width is `rank`; 0 leaves it out, and the rank is 0 then.
    user_exponent, item_exponent : float
        Exponents of the degrees that the matrix is divided by.
    sharpen_time : float
        How long the sharpening goes on: q is nearly ``exp(-sharpen_time G)``; 0 is none.
    sharpen_steps : int
        Steps that it is solved in.
    sharpen_method : {"rk4", "euler"}
        How a step is computed: by four powers of G (Runge-Kutta) or one. Of one long step of either, q is not close
        to the exponential, and not meant to be: it is what the method is.
    merge : {"early", "late"}
        Whether the low-pass part is added before the sharpening, or is left unsharpened.
    """

    predicts_values: ClassVar[bool] = False
    space: ClassVar[Space] = MappingProxyType(
        {
            "rank": Whole(32, 512, log=True),
            "low_pass": Real(0.0, 1.0),
            "user_exponent": Real(0.3, 0.7),
            "item_exponent": Real(0.3, 0.7),
        }
    )

    low_pass: float = 0.3
    user_exponent: float = 0.5
    item_exponent: float = 0.5
    sharpen_time: float = 0.0
    sharpen_steps: int = 1
    sharpen_method: Literal["rk4", "euler"] = "rk4"
    merge: Literal["early", "late"] = "early"

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, tolerance or an option cannot work."""
        check_weighting_alone(problem, "Use user_exponent and item_exponent.")
        for name in ("low_pass", "user_exponent", "item_exponent", "sharpen_time"):
            number = getattr(self, name)
            if not is_number(number) or not np.isfinite(number):
                raise OptionError(f"{name} must be a finite number, such as {_DEFAULTS[name]}; got {number!r}")
        if self.sharpen_time < 0:
            raise OptionError(f"sharpen_time must be 0 or a positive number, such as 2.5; got {self.sharpen_time!r}")
        whole_number(self.sharpen_steps, "sharpen_steps")
        if self.sharpen_method not in _STEPS:
            raise OptionError(f"sharpen_method is 'rk4' or 'euler'; got {self.sharpen_method!r}")
        if self.merge not in ("early", "late"):
            raise OptionError(f"merge is 'early' or 'late'; got {self.merge!r}")
        if self.low_pass:
            check_rank(problem.rank, problem.matrix.shape)
        SVDSolver().check(self._decomposed(problem))

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return the model: a polynomial of G, and for the low-pass filter factors of users and items."""
        self.check(problem)
        problem = replace(problem, matrix=problem.matrix.ready())
        prepared = prepare(problem.matrix, problem.weighting, self.user_exponent, self.item_exponent, executor)
        found = singular_triplets(
            prepared.matrix,
            problem.rank if self.low_pass else 1,
            tol=problem.tol,
            seed=problem.seed,
            executor=executor,
            observer=observer,
            keep_left=False,
        )
        norm = float(found.values[0]) or 1.0
        operator = self._operator(problem, prepared, norm)
        if not self.low_pass:
            return item_model(problem, prepared, operator, certificate=found.certificate)
        scale, unscale = prepared.item_scale, prepared.item_unscale
        projection = (found.right if scale is None else found.right * scale[:, None]).astype(np.float32)
        outward = self.low_pass * (found.right if unscale is None else found.right * unscale[:, None])
        sharpening = self._sharpening if self.merge == "early" else (1.0,)
        item_factors = _filtered(prepared.matrix, outward, sharpening, norm, executor, observer)
        closed_form = ItemClosedForm(operator, item_factors, projection)
        with reading_executor(problem.matrix, executor) as where:
            users = map_blocks(
                where,
                user_factors,
                problem.matrix.sources,
                {"closed_form": closed_form},
                label="user factors",
                observer=observer,
            )
            factors = np.concatenate(list(users)), item_factors
        return item_model(
            problem,
            prepared,
            operator,
            factors=factors,
            singular_values=found.values,
            certificate=found.certificate,
            provenance={"plan": found.plan.as_dict() if found.plan else None},
            training={PROJECTION: projection},
        )

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take: an SVD, the matrix N, and the polynomial of the low-pass part."""
        forecast = SVDSolver().forecast(self._decomposed(problem), workers, rates)
        matrix = MatrixBytes.of(problem.matrix)
        rank = problem.rank if self.low_pass else 0
        kept = 8 * matrix.nnz + 8 * matrix.n_users
        projection = 4 * matrix.n_items * rank
        passes = len(self._sharpening) - 1 if rank and self.merge == "early" else 0
        filtering = Stage(
            name="filter",
            passes=passes,
            seconds=4.0 * passes * matrix.nnz * rank / rates.sparse[4, 32],
            read_bytes=passes * matrix.store * matrix.stored,
            moved_bytes=passes * 2 * projection * workers.capabilities.isolated,
            driver={**matrix.held(), "normalised matrix": 2 * kept, "item factors, two of float64": 6 * projection},
            worker={"partial product": 2 * projection},
        )
        return replace(
            forecast,
            stages=(*forecast.stages, filtering),
            model_bytes=forecast.model_bytes + kept + projection,
        )

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of new users: the same formula on their rows."""
        return ItemClosedForm.of(model)

    @property
    def _sharpening(self) -> tuple[float, ...]:
        """Coefficients of q."""
        if not self.sharpen_time:
            return (1.0,)
        length = self.sharpen_time / self.sharpen_steps
        step = [each * length**power for power, each in enumerate(_STEPS[self.sharpen_method])]
        return tuple(map(float, polynomial.polypow(step, self.sharpen_steps)))

    def _decomposed(self, problem: Problem) -> Problem:
        """Return the problem of the SVD."""
        rank = problem.rank if self.low_pass else 1
        return replace(problem, rank=rank, user_scaling=self.user_exponent, item_scaling=self.item_exponent)

    def _operator(self, problem: Problem, prepared: PreparedMatrix, norm: float) -> GraphFilter:
        """Return ``G q(G)``."""
        n_users, n_items = problem.matrix.shape
        indptr, indices, values = np.zeros(n_users + 1, np.int64), [], []
        for source in prepared.matrix.sources:
            block = source.load()
            indptr[block.start + 1 : block.stop + 1] = indptr[block.start] + block.indptr[1:]
            indices.append(block.indices)
            values.append((block.values / norm).astype(np.float32, copy=False))
        return GraphFilter(
            weigh=weighting_of(problem, prepared),
            indptr=indptr,
            indices=np.concatenate(indices),
            values=np.concatenate(values),
            coefficients=(0.0, *self._sharpening),
            length=n_items,
        )


_DEFAULTS = {"low_pass": 0.3, "user_exponent": 0.5, "item_exponent": 0.5, "sharpen_time": 2.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class BSPMSolver(GraphFilterSolver):
    """Blurring and sharpening; the options of ``factorize(solver="bspm")`` are those of `GraphFilterSolver`."""

    space: ClassVar[Space] = MappingProxyType(
        {**GraphFilterSolver.space, "sharpen_time": Real(0.5, 4.0), "merge": Choice(("early", "late"))}
    )

    low_pass: float = 0.2
    sharpen_time: float = 2.5


def _filtered(
    matrix: UserItemMatrix,
    columns: NDArray[np.float64],
    coefficients: tuple[float, ...],
    norm: float,
    executor: Executor,
    observer: Observer,
) -> NDArray[np.float32]:
    """Return a polynomial of N'N, where N is the matrix over its norm, times columns, shape (n_items, width)."""
    basis = columns.astype(matrix.dtype)  # what its kernels take
    found = basis * basis.dtype.type(coefficients[-1])
    if len(coefficients) > 1:
        with readable_blocks(executor, matrix) as blocks:
            operator = BlockOperator(executor, blocks, matrix, observer)
            for coefficient in reversed(coefficients[:-1]):
                found = operator.gram(found)
                found *= basis.dtype.type((operator.scale * norm) ** -2)
                found += basis * basis.dtype.type(coefficient)
    filtered: NDArray[np.float32] = found.astype(np.float32)
    return filtered
