"""What a solver is: options as fields, and one method from a problem to factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from recscale_dask.checks import whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.stage import Stage
from recscale_dask.model import Factors
from recscale_dask.solvers.checkpoint import Checkpoints
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers, model_bytes
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.space import Space
from recscale_dask.types import Aggregation


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is to be fitted, and to what accuracy.

    Attributes
    ----------
    matrix : UserItemMatrix
        Users by items.
    rank : int
        Number of factors.
    weighting : str or None
        One of `recscale_dask.data.weighting.WEIGHTINGS`.
    user_scaling, item_scaling : float
        Exponents of the row and column sums that the matrix is divided by.
    tol : float
        Largest residual allowed, as a fraction of each singular value; what it means is the solver's.
    seed : int
        Of all random numbers.
    checkpoints : Checkpoints or None
        Where the state is kept after each pass, if it is.
    warm_start : Factors or None
        A model to start from.
    """

    matrix: UserItemMatrix
    rank: int
    weighting: str | None = None
    user_scaling: float = 0.0
    item_scaling: float = 0.0
    tol: float = 1e-3
    seed: int = 0
    checkpoints: Checkpoints | None = None
    warm_start: Factors | None = None


class Solver(ABC):
    """Fits factors to a matrix; subclasses are frozen dataclasses whose fields are their options.

    Attributes
    ----------
    warm_starts : bool
        Whether a fit can start from an earlier model; then `check` looks at that too.
    checkpoints : bool
        Whether a fit keeps its state in `Problem.checkpoints`, and goes on from there.
    uses_rank : bool
        Whether the rank means anything to it; if not, plans tell none.
    duplicates : {"sum", "max", "last"}
        What becomes of several rows of one user and item, where a fit is given rows.
    predicts_values : bool
        Whether its scores are of the scale of the values that it is given, so that errors of them mean something.
    space : Space
        What `recscale_dask.tune` tries: ranges of options, of the rank and of the weighting; here nothing.
    """

    warm_starts: ClassVar[bool] = False
    checkpoints: ClassVar[bool] = False
    uses_rank: ClassVar[bool] = True
    duplicates: ClassVar[Aggregation] = "sum"
    predicts_values: ClassVar[bool] = True
    space: ClassVar[Space] = MappingProxyType({})

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Raise an OptionError if the problem, or an option, cannot work; called before anything starts."""

    @abstractmethod
    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return the factors of a problem, fitted on an open executor; the same bits on every one.

        What `closed_form` needs of the training data goes into `Factors.training`.
        """

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take on such workers, at such rates; nothing is read for it.

        Here what every fit takes at least: the matrix and the factors. A solver that holds more says so.
        """
        matrix = MatrixBytes.of(problem.matrix)
        factors = {"factors": 4 * problem.rank * (matrix.n_users + matrix.n_items)}
        stage = Stage(
            name="fit",
            passes=1,
            seconds=matrix.nnz / rates.digest,
            read_bytes=matrix.store if matrix.stored else 0,
            driver={**matrix.held(), **factors},
        )
        return Forecast(stages=(stage,), model_bytes=model_bytes(matrix, problem.rank, plain_values=False))

    def lighter(self, problem: Problem) -> Iterator[tuple[str, Solver]]:
        """Yield ways of this solver that take less memory, the least change first, each with what to say of it."""
        yield from ()

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of the factors of new users, for a model that this solver fitted.

        Raises
        ------
        OptionError
            If there is none, which is so unless a solver says otherwise.
        ModelFormatError
            If the model does not hold what it needs.
        """
        raise OptionError(
            f"{type(self).__name__} has no closed form for users that were not fitted. Fit again with their "
            "interactions."
        )


def check_rank(rank: int, shape: tuple[int, int]) -> None:
    """Raise an OptionError unless ``0 < rank < min(shape)``."""
    smaller = min(shape)
    sides = f"({shape[0]} x {shape[1]})"
    if smaller < 2:
        raise OptionError(
            f"a matrix of {sides} has no factorization of a lower rank; it takes at least 2 users and 2 items. "
            "Are these all of the data, and is each column what it should be?"
        )
    if whole_number(rank, "rank", hint=f". Try rank={min(64, smaller - 1)}") >= smaller:
        raise OptionError(
            f"rank must be below both sides of the matrix {sides}; got rank={rank}. Try rank={smaller - 1} or less."
        )
