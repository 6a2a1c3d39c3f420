"""Alternating least squares for implicit and explicit feedback, on row blocks of both orientations."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number, whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import Summary, Transform, kept_summary, summary_of
from recscale_dask.errors import DataError, ModelFormatError, NotConvergedWarning, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.tall import tall_algebra
from recscale_dask.model import Factors, SeenItems, stored_values
from recscale_dask.solvers.als_closed_form import ALSClosedForm, with_default
from recscale_dask.solvers.als_entries import Penalty, smallest_value
from recscale_dask.solvers.als_forecast import ALSForecast
from recscale_dask.solvers.als_kinds import ExplicitKind, ImplicitKind, Kind
from recscale_dask.solvers.als_rows import EXACT, Method, gram_of
from recscale_dask.solvers.als_sweeps import Progress, Side, Sweeps, first_progress
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.forecast import Forecast, Workers
from recscale_dask.solvers.journal import Journal
from recscale_dask.solvers.preparation import check_preparation, prepare
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.reading import readable_blocks, reading_executor
from recscale_dask.solvers.space import Choice, Real, Space, Whole
from recscale_dask.solvers.warm_start import matched
from recscale_dask.types import Aggregation

METHODS = ("auto", "cholesky", "cg")
"""How the system of each row can be solved."""

_SMALL_RANK = 32  # up to which a Cholesky factor takes no longer than a few steps of conjugate gradients
_FEW_ENTRIES = 16  # up to which that holds at any rank


@dataclass(frozen=True, slots=True, kw_only=True)
class ALSSolver(Solver):
    """What both kinds of alternating least squares share."""

    max_sweeps: int = 30
    method: str = "auto"
    cg_steps: int = 3
    nonnegative: bool = False

    name: ClassVar[str]
    warm_starts: ClassVar[bool] = True
    checkpoints: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, tolerance or an option cannot work."""
        check_rank(problem.rank, problem.matrix.shape)
        check_preparation(problem.weighting, problem.user_scaling, problem.item_scaling)
        if problem.user_scaling or problem.item_scaling:
            raise OptionError(
                f"{self.name} takes no user_scaling or item_scaling; got {problem.user_scaling!r} and "
                f"{problem.item_scaling!r}. Leave them out: exponent= says how penalties grow with stored values."
            )
        check_number(problem.tol, "tol")
        whole_number(problem.seed, "seed", at_least=0)
        whole_number(self.max_sweeps, "max_sweeps")
        whole_number(self.cg_steps, "cg_steps")
        if self.method not in METHODS:
            raise OptionError(f"method is one of {', '.join(map(repr, METHODS))}; got {self.method!r}")
        if not isinstance(self.nonnegative, bool):
            raise OptionError(f"nonnegative is True or False; got {self.nonnegative!r}")
        if self.nonnegative and self.method != "auto":
            raise OptionError(f"nonnegative factors take coordinate descent. Leave method={self.method!r} out.")
        if problem.warm_start is not None:
            self._check_warm_start(problem.warm_start, problem)

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take, if it takes all sweeps."""
        method = self._method(problem.rank)
        return ALSForecast(problem, self.max_sweeps, method, self.n_biases, workers, rates).forecast()

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return the factors: those of users solve their systems for those of items.

        Users without items get what they get from `closed_form` too.
        """
        self.check(problem)
        matrix = problem.matrix.ready()
        prepared = prepare(matrix, problem.weighting, 0.0, 0.0, executor)
        self._check_values(prepared.matrix, executor)
        fingerprint = prepared.summary.digest.hex()
        journal = Journal.of(problem, fingerprint, asdict(self))
        kind = self._kind(prepared.summary)
        solved = self._solved(problem, prepared.matrix, kind, journal, executor, observer)
        if problem.tol and not solved.converged:
            self._warn(solved.objectives[:-1], problem.tol)
        seen = SeenItems.of(matrix.sources, stored=matrix.is_stored)
        empty = np.diff(seen.indptr) == 0
        without_items = kind.without_items(solved.users, empty)
        plain = problem.weighting == "binary"
        return Factors(
            kind.user_factors(with_default(solved.users, empty, without_items)),
            kind.item_factors(solved.items),
            solved.values,
            matrix.users,
            matrix.items,
            seen,
            None,
            {
                "data_fingerprint": fingerprint,
                "sweeps": len(solved.objectives) - 1,
                "converged": solved.converged,
                "objective": solved.objectives,
            },
            {
                "values": np.ones(1, np.float32) if plain else stored_values(matrix.sources, seen),
                "without_items": without_items,
                **self._kept(kind),
                **kept_summary(Transform(problem.weighting, prepared.summary)),
            },
        )

    def _solved(
        self,
        problem: Problem,
        matrix: UserItemMatrix,
        kind: Kind,
        journal: Journal,
        executor: Executor,
        observer: Observer,
    ) -> _Solved:
        """Sweep, and return what is left of it: the transposed matrix is not, when a model is made."""
        rank = problem.rank
        with single_threaded_blas(), tall_algebra(cpu_count()) as algebra:
            turned = matrix.transposed()
            with readable_blocks(executor, matrix) as user_blocks, readable_blocks(executor, turned) as item_blocks:
                sweeps = Sweeps(
                    solver=self.name,
                    kind=kind,
                    users=Side("users", user_blocks, matrix.bounds),
                    items=Side("items", item_blocks, turned.bounds),
                    method=self._method(rank),
                    executor=executor,
                    observer=observer,
                    algebra=algebra,
                )
                progress = _begun(problem, kind, journal)
                converged = sweeps.run(progress, self.max_sweeps, problem.tol, journal)
                items = kind.against(progress.items, progress.items_gram, algebra).columns
                users, of_users = sweeps.solved_users(kind.final(items))
            values = _singular_values(of_users.gram[:rank, :rank], gram_of(items)[:rank, :rank])
        objectives = [*progress.objectives, of_users.objective + progress.items_penalty]
        return _Solved(users, items, values, converged, objectives)

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form: the system of a user, solved."""
        weighting = model.provenance.get("options", {}).get("weighting")
        try:
            weigh = Transform(weighting, summary_of(weighting, model.training))
            kind, without_items = self._kind_of(model), model.training["without_items"]
        except KeyError as error:
            raise ModelFormatError(f"this model does not hold {error}, which new users need. Fit it again.") from error
        with single_threaded_blas():
            system = kind.final(kind.item_rows(model.item_factors))
        return ALSClosedForm(weigh, kind, system, without_items)

    # -- what differs -------------------------------------------------------------------------------------

    n_biases: ClassVar[int]

    def _check_values(self, matrix: UserItemMatrix, executor: Executor) -> None:
        """Raise a DataError if a value does not suit the solver."""

    @abstractmethod
    def _kind(self, summary: Summary) -> Kind:
        """Return what is fitted, given a summary of the data."""

    @abstractmethod
    def _kind_of(self, model: Factors) -> Kind:
        """Return what a model was fitted as."""

    @abstractmethod
    def _kept(self, kind: Kind) -> dict[str, NDArray[Any]]:
        """Return what a model has to hold for `_kind_of`."""

    # -- what does not ------------------------------------------------------------------------------------

    def _warn(self, objectives: list[float], tol: float) -> None:
        fell = [(before - after) / before for before, after in pairwise(objectives)]
        warnings.warn(
            f"{self.name} stopped after {len(objectives)} sweeps"
            + (f", when the objective still fell by {fell[-1]:.2g} of itself in one (tol={tol:g}). " if fell else ". ")
            + f"Allow more with max_sweeps (now {self.max_sweeps}), or a larger tol; tol=0 asks for just those.",
            NotConvergedWarning,
            stacklevel=4,
        )

    def _method(self, rank: int) -> Method:
        if self.nonnegative:
            return Method(nonnegative=True)
        if self.method == "cholesky" or (self.method == "auto" and rank <= _SMALL_RANK):
            return EXACT
        return Method(steps=self.cg_steps, exact_up_to=_FEW_ENTRIES if self.method == "auto" else 0)

    def _check_warm_start(self, model: Factors, problem: Problem) -> None:
        solver = model.provenance.get("solver")
        if solver != self.name:
            raise OptionError(
                f"warm_start is a model of solver {solver!r}; {self.name} starts from one of its own. Leave it out, or "
                "give another model."
            )
        if (rank := model.rank - 2 * self.n_biases) != problem.rank:
            raise OptionError(f"warm_start has rank {rank}, and rank={problem.rank} is asked for. Use rank={rank}.")
        if not (model.items.codes(problem.matrix.items.ids, missing="ignore") >= 0).any():
            raise OptionError("warm_start has none of the items of this matrix. Is it a model of other data?")


@dataclass(frozen=True, slots=True, eq=False)
class _Solved:
    """Rows of both sides, their singular values, and the objective after each sweep and in the end."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    values: NDArray[np.float64]
    converged: bool
    objectives: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitALSSolver(ALSSolver):
    """Implicit feedback (Hu, Koren and Volinsky, 2008); the options of ``factorize(solver="als-implicit")``.

    Minimizes, over all users u and items i, ``sum c (p - x_u y_i)^2 + sum l_u |x_u|^2 + sum l_i |y_i|^2``, where a
    stored value r has ``p = 1, c = 1 + alpha r``, any other entry ``p = 0, c = 1``, and with n stored values in a row
    (or column) of N entries ``l = regularization (n + offset N)^exponent`` (Rendle et al., 2021).

    Parameters
    ----------
    regularization : float
        Of the squares of factors, in the units of the objective.
    exponent : float
        How penalties grow with the number of stored values: 0 is one for all, as in implicit; 1 that of Spark.
    offset : float
        Share of all entries of a row that counts as stored values in its penalty; Rendle et al. have ``1 / alpha``.
    alpha : float
        Confidence in a stored value of 1, above that in one that is not stored.
    max_sweeps : int
        Most sweeps; each solves for all users and then for all items. It ends when the objective has fallen by no more
        than `tol` of itself.
    method : {"auto", "cholesky", "cg"}
        How the system of each user and item is solved: exactly, or by `cg_steps` steps of conjugate gradients (Takacs,
        Pilaszy and Tikk, 2011) from what the last sweep found; by default what is faster for the rank.
    cg_steps : int
        Of conjugate gradients.
    nonnegative : bool
        Whether factors are not to be negative (by coordinate descent).
    """

    regularization: float = 0.01
    exponent: float = 0.0
    offset: float = 0.0
    alpha: float = 1.0

    space: ClassVar[Space] = MappingProxyType(
        {
            "rank": Whole(16, 256, log=True),
            "regularization": Real(0.01, 10.0, log=True),
            "alpha": Real(1.0, 100.0, log=True),
            "exponent": Real(0.0, 1.0),
            "offset": Real(0.0, 0.1),
            "weighting": Choice(("binary", "log", None)),
        }
    )
    name: ClassVar[str] = "als-implicit"
    predicts_values: ClassVar[bool] = False
    n_biases: ClassVar[int] = 0

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, tolerance or an option cannot work."""
        ALSSolver.check(self, problem)
        check_number(self.regularization, "regularization")
        check_number(self.exponent, "exponent", most=2.0)
        check_number(self.offset, "offset")
        check_number(self.alpha, "alpha")
        if self.alpha == 0:
            raise OptionError("alpha must be above 0: with 0 a stored value is as one that is not. Try alpha=1.")

    def _check_values(self, matrix: UserItemMatrix, executor: Executor) -> None:
        with reading_executor(matrix, executor) as where:
            value, user, item = min(map_blocks(where, smallest_value, matrix.sources, label="smallest value"))
        if value < 0:
            raise DataError(
                f"{self.name} takes values as confidence, of at least 0; user row {user}, item column {item} holds "
                f"{value:g}. Remove such rows, or use solver='als-explicit'."
            )

    def _kind(self, summary: Summary) -> Kind:
        penalty = Penalty(float(self.regularization), float(self.exponent), float(self.offset))
        return ImplicitKind(penalty=penalty, nonnegative=self.nonnegative, alpha=float(self.alpha))

    def _kind_of(self, model: Factors) -> Kind:
        return self._kind(Summary(np.zeros(0, np.int64), 0.0, 0, b""))

    def _kept(self, kind: Kind) -> dict[str, NDArray[Any]]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitALSSolver(ALSSolver):
    """Ratings with biases (Zhou et al., 2008; Koren, 2009); the options of ``factorize(solver="als-explicit")``.

    Minimizes, over the stored values r, ``sum (r - m - b_u - b_i - x_u y_i)^2 + sum l_u |x_u|^2 + sum l_i |y_i|^2 +
    s (sum b_u^2 + sum b_i^2)``, with the mean m of all, ``l = regularization n^exponent`` for n stored values, and
    ``s = bias_regularization``. The factors of a model end with the biases, so its scores are ratings. Of
    several ratings of one item by a user, a fit of `Interactions` takes the last.

    Parameters
    ----------
    regularization, bias_regularization : float
        Of the squares of factors and of biases; the latter is the number of ratings that halves a bias.
    exponent : float
        How penalties of factors grow with the number of stored values: 1 is the weighted lambda of Zhou et al., 0 one
        for all.
    max_sweeps, method, cg_steps, nonnegative
        See `ImplicitALSSolver`; biases may be negative in any case.
    """

    duplicates: ClassVar[Aggregation] = "last"  # who rates again has changed their mind

    regularization: float = 1.2
    bias_regularization: float = 4.0
    exponent: float = 0.5

    space: ClassVar[Space] = MappingProxyType(
        {
            "rank": Whole(4, 128, log=True),
            "regularization": Real(0.1, 10.0, log=True),
            "exponent": Real(0.0, 1.0),
            "bias_regularization": Real(0.5, 20.0, log=True),
        }
    )
    name: ClassVar[str] = "als-explicit"
    n_biases: ClassVar[int] = 1

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if rank, tolerance or an option cannot work."""
        ALSSolver.check(self, problem)
        check_number(self.regularization, "regularization")
        check_number(self.bias_regularization, "bias_regularization")
        check_number(self.exponent, "exponent", most=2.0)
        if not self.regularization > 0:
            raise OptionError(
                "regularization must be above 0: users with fewer ratings than factors need one. Try 0.1."
            )
        if problem.weighting is not None:
            raise OptionError(
                f"als-explicit fits ratings as they are; got weighting={problem.weighting!r}. Leave it out, or use "
                "solver='als-implicit'."
            )

    def _kind(self, summary: Summary) -> Kind:
        return self._kind_with(summary.total / max(1, int(summary.counts.sum())))

    def _kind_of(self, model: Factors) -> Kind:
        return self._kind_with(float(model.training["mean"][0]))

    def _kind_with(self, mean: float) -> ExplicitKind:
        penalty = Penalty(float(self.regularization), float(self.exponent), 0.0)
        bias = float(self.bias_regularization)
        return ExplicitKind(penalty=penalty, nonnegative=self.nonnegative, mean=mean, bias_penalty=bias)

    def _kept(self, kind: Kind) -> dict[str, NDArray[Any]]:
        assert isinstance(kind, ExplicitKind)
        return {"mean": np.array([kind.mean])}


def check_number(value: Any, name: str, *, most: float = np.inf) -> None:
    """Raise an OptionError unless a value is a finite number of at least 0, and at most `most`."""
    if not is_number(value) or not 0 <= value <= most or not np.isfinite(value):
        limits = "of at least 0" if most == np.inf else f"from 0 to {most:g}"
        raise OptionError(f"{name} must be a number {limits}; got {name}={value!r}")


def _begun(problem: Problem, kind: Kind, journal: Journal) -> Progress:
    """Return where a fit goes on, or begins."""
    if journal.begun is not None:
        values = journal.begun.values
        arrays = {name.partition("-")[0]: array for name, array in journal.begun.arrays.items()}
        objectives = list(values["objectives"])
        return Progress(arrays["users"], arrays["items"], arrays["gram"], values["items_penalty"], objectives)
    progress = first_progress(kind, *problem.matrix.shape, problem.rank, problem.seed)
    model = problem.warm_start
    if model is None:
        return progress
    users = matched(kind.user_rows(model.user_factors), model.users, problem.matrix.users)
    items = matched(kind.item_rows(model.item_factors), model.items, problem.matrix.items)
    return replace(progress, users=users, items=items, items_gram=gram_of(items))


def _singular_values(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the singular values of ``X Y'``, descending, given ``X'X`` and ``Y'Y``."""
    values, vectors = np.linalg.eigh(right)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    squares = np.linalg.eigvalsh(root.T @ left @ root)
    return np.sqrt(np.maximum(squares[::-1], 0.0))
