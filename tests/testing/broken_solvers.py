"""Solvers that are wrong on purpose; each has one fault and must fail the test of the kit that is for it.

Not collected by name: `test_broken_solvers.py` runs this file in a pytest of its own.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest

from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.model import Factors, SeenItems
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Forecast, Workers
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.space import Space, Whole
from recscale_dask.solvers.svd import SVDSolver
from recscale_dask.testing import SolverContract

NUMBERS = itertools.count()


class Wrong(SVDSolver):
    """An SVD, of which `spoil` changes the model."""

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        return self.spoil(super().fit(problem, executor, observer), problem, executor)

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return factors


class WithoutFoldIn(Wrong):
    """Its users are those that were fitted."""

    closed_form = Solver.closed_form


def nudged(factors: Factors, by: float) -> Factors:
    """Return factors with other last digits."""
    return replace(factors, user_factors=factors.user_factors * np.float32(1 + by * 1e-6))


# -- what a model is ---------------------------------------------------------------------------------


class FactorsOfDoubleLength(Wrong):
    fails = "test_factors_are_a_row_per_user_and_item"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return replace(factors, user_factors=factors.user_factors.astype(np.float64))


class DividesByZero(Wrong):
    fails = "test_a_matrix_of_too_low_rank_gives_finite_scores"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        factors.item_factors[:, factors.singular_values <= 1e-6 * factors.singular_values[0]] = np.nan
        return factors


class ForgetsWhatWasSeenLast(Wrong):
    fails = "test_seen_items_are_never_recommended"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        indptr = factors.seen.indptr.copy()
        indptr[-1] -= 1
        seen = SeenItems(indptr, factors.seen.indices[:-1])
        values = factors.training["values"][:-1]
        return replace(factors, seen=seen, training={**factors.training, "values": values})


class ColdUsersAreNotANumber(Wrong):
    fails = "test_users_and_items_without_interactions_get_finite_scores"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        factors.user_factors[np.diff(factors.seen.indptr) == 0] = np.nan
        return factors


class LeadsAstray(WithoutFoldIn):
    fails = "test_a_user_is_led_to_the_own_group"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return replace(factors, item_factors=-factors.item_factors)


# -- the same answer ---------------------------------------------------------------------------------


class StartsAnywhere(Wrong):
    fails = "test_same_seed_gives_the_same_bytes"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        object.__setattr__(self, "number", next(NUMBERS))

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return nudged(factors, self.__dict__["number"])


class DependsOnTheExecutor(Wrong):
    fails = "test_same_bytes_on_every_executor"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return nudged(factors, executor.parallelism)


class DependsOnTheStore(Wrong):
    fails = "test_a_store_gives_the_bytes_of_memory"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return nudged(factors, float(problem.matrix.is_stored))


class EditsItsInput(Wrong):
    fails = "test_a_fit_does_not_edit_its_input"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        if problem.matrix.shape[0] == 100:  # the matrix of that test alone: others share theirs
            problem.matrix.sources[0].load().values[0] += 1
        return factors


# -- keeping and using a model -----------------------------------------------------------------------


class KeepsWhatCannotBeSaved(WithoutFoldIn):
    fails = "test_a_saved_model_recommends_the_same"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return replace(factors, training={**factors.training, "no/file": np.zeros(1)})


class FoldsInStrangers(Wrong):
    fails = "test_users_of_the_training_data_are_folded_in_to_their_scores_or_refused"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return replace(factors, user_factors=2 * factors.user_factors)


class TellsInTuples(Wrong):
    fails = "test_provenance_is_plain_json"

    def spoil(self, factors: Factors, problem: Problem, executor: Executor) -> Factors:
        return replace(factors, provenance={**factors.provenance, "shape": problem.matrix.shape})


# -- before and during a fit -------------------------------------------------------------------------


@dataclass
class CanBeChanged(Solver):
    fails: ClassVar[str] = "test_options_are_fields_of_a_frozen_dataclass_with_defaults"

    maxiter: int | None = None

    def check(self, problem: Problem) -> None:
        SVDSolver(maxiter=self.maxiter).check(problem)

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        return SVDSolver(maxiter=self.maxiter).fit(problem, executor, observer)

    def closed_form(self, model: Factors) -> ClosedForm:
        return SVDSolver().closed_form(model)


class ChecksNothing(Wrong):
    fails = "test_options_that_cannot_work_are_refused_before_anything_starts"

    def check(self, problem: Problem) -> None:
        pass


class IgnoresTheWeighting(Wrong):
    fails = "test_weighting_and_scaling_are_used_or_refused"

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        return super().fit(replace(problem, weighting=None), executor, observer)


class TunesWhatItHasNot(Wrong):
    fails = "test_what_tuning_may_try_is_accepted"
    space: ClassVar[Space] = MappingProxyType({"temperature": Whole(1, 5)})


class TunesWhatCannotWork(Wrong):
    fails = "test_what_tuning_may_try_is_accepted"
    space: ClassVar[Space] = MappingProxyType({"maxiter": Whole(0, 1)})


class ForecastsNothing(Wrong):
    fails = "test_forecast_tells_of_time_and_memory"

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        return Forecast(stages=(), model_bytes=0)


class WorksInSilence(Wrong):
    fails = "test_progress_is_told"

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        return super().fit(problem, executor)


# -- the kit on each of them -------------------------------------------------------------------------


class KitOnBrokenSolver(SolverContract):
    kind: ClassVar[type[Solver]]
    bad_options: ClassVar = {"maxiter": 0}

    @pytest.fixture
    def make_solver(self) -> Callable[[], Solver]:
        return self.kind

    @pytest.fixture(scope="class")
    @classmethod
    def large(cls, matrix: UserItemMatrix) -> UserItemMatrix:
        return matrix

    @pytest.fixture(scope="class")
    @classmethod
    def open_executor(cls) -> Iterator[Callable[[str], Executor]]:
        with ThreadsExecutor(n_workers=3) as executor:
            yield lambda name: executor


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


ALL: dict[str, Any] = {kind.__name__: kind for kind in _subclasses(Solver) if hasattr(kind, "fails")}
for kind_name, kind in ALL.items():
    globals()[f"Test{kind_name}"] = type(f"Test{kind_name}", (KitOnBrokenSolver,), {"kind": kind})
