"""The conformance kit of solvers: what every solver must do, as a test class to inherit from.

A third party's whole test file::

    import pytest
    from recscale_dask.testing import SolverContract
    from my_package.solver import MySolver

    class TestMine(SolverContract):
        bad_options = {"damping": -1.0}

        @pytest.fixture
        def make_solver(self):
            return lambda: MySolver()
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.events import Event, RunFinished, RunStarted
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.io.model_store import load_model, save_model
from recscale_dask.model import Factors, sha256_of
from recscale_dask.scoring.fold_in import fold_in
from recscale_dask.scoring.new_rows import with_items_of
from recscale_dask.scoring.pairs import score_pairs
from recscale_dask.scoring.recommend import recommend
from recscale_dask.scoring.request import request
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Workers
from recscale_dask.solvers.rates import NOMINAL
from recscale_dask.solvers.space import Choice, Real, Space, Whole
from recscale_dask.testing.known_gaps import KnownGaps
from recscale_dask.testing.matrices import PlantedTastes, planted_tastes

EXECUTORS: Mapping[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadsExecutor(n_workers=3),
    "processes": lambda: ProcessesExecutor(n_workers=2),
    "dask": lambda: DaskExecutor(n_workers=2),
}
"""Those that must give the bytes of the serial one."""

_ARGUMENTS = ("rank", "weighting", "user_scaling", "item_scaling", "tol")

_PREPARATION = {"weighting": ("log", "bm25"), "user_scaling": (0.5, 0.25), "item_scaling": (0.5, 0.25)}
"""What a problem may ask for of the values, each with two values of which one is not asked for already."""


class SolverContract(KnownGaps):
    """Tests that hold for every solver; inherit, give a fixture `make_solver`, and that is all.

    The fixture returns a function without arguments that makes a solver.

    Attributes
    ----------
    problem : mapping
        Fields of the `Problem` besides the matrix: rank, weighting, scaling, tol.
    bad_options : mapping of str to object
        Options of the solver, each with a value that it has to refuse.
    known_gaps : dict of str to str
        Names of tests that fail, each with the reason; they become strict expected failures, so that
        a gap that was closed is noticed.
    tolerance : float
        How far scores may be apart where only rounding and the tolerance of the fit differ, as a fraction of the
        largest score.
    """

    problem: ClassVar[Mapping[str, Any]] = {"rank": 6}
    bad_options: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-3

    # -- fixtures --------------------------------------------------------------------------------------

    @pytest.fixture
    def make_solver(self) -> Callable[[], Solver]:
        """To override: a function that makes a solver."""
        raise NotImplementedError("override the fixture make_solver: return a function that makes a solver")

    @pytest.fixture
    def solver(self, make_solver: Callable[[], Solver]) -> Solver:
        """Return the solver of a test."""
        return make_solver()

    @pytest.fixture(scope="class")
    @classmethod
    def tastes(cls) -> PlantedTastes:
        """Return interactions of users and items in groups."""
        return planted_tastes(600, 90, 5, per_user=20, seed=1)

    @pytest.fixture(scope="class")
    @classmethod
    def matrix(cls, tastes: PlantedTastes) -> UserItemMatrix:
        """Return their matrix."""
        return _matrix(tastes)

    @pytest.fixture(scope="class")
    @classmethod
    def large(cls) -> UserItemMatrix:
        """Return a matrix of several blocks."""
        matrix = _matrix(planted_tastes(5200, 150, 5, per_user=55, seed=2))
        assert matrix.n_blocks > 2, "the tests need several blocks"
        return matrix

    @pytest.fixture(scope="class")
    @classmethod
    def open_executor(cls) -> Iterator[Callable[[str], Executor]]:
        """Return a function that opens an executor of `EXECUTORS`, once a class."""
        opened: dict[str, Executor] = {}
        with ExitStack() as stack:

            def of(name: str) -> Executor:
                if name not in opened:
                    opened[name] = stack.enter_context(EXECUTORS[name]())
                return opened[name]

            yield of

    # -- what a model is -------------------------------------------------------------------------------

    def test_factors_are_a_row_per_user_and_item(self, solver: Solver, matrix: UserItemMatrix) -> None:
        model = self.fit(solver, matrix)
        assert model.user_factors.shape == (matrix.shape[0], model.rank)
        assert model.item_factors.shape == (matrix.shape[1], model.rank)
        assert model.user_factors.dtype == model.item_factors.dtype == np.float32
        assert model.singular_values.ndim == 1
        assert model.users == matrix.users
        assert model.items == matrix.items

    def test_a_matrix_of_too_low_rank_gives_finite_scores(self, solver: Solver) -> None:
        groups = np.kron(np.eye(3, dtype=np.float32), np.full((8, 6), 1e4, np.float32))
        few = min(self.problem["rank"], min(groups.shape) - 1)
        matrix = UserItemMatrix.from_scipy(sp.csr_array(groups))
        model = self.fit(solver, matrix, problem=dataclasses.replace(self.problem_of(matrix), rank=few))
        assert np.isfinite(model.user_factors).all()
        assert np.isfinite(model.item_factors).all()
        assert np.isfinite(_scores(model)).all()

    def test_seen_items_are_never_recommended(self, solver: Solver, matrix: UserItemMatrix) -> None:
        table = _recommended(self.fit(solver, matrix), k=matrix.shape[1])
        rows = matrix.to_scipy()
        pairs = rows[table["user"].to_numpy(), table["item"].to_numpy()]
        assert not np.any(pairs), "an item that a user has in the training data is recommended to that user"
        assert len(table) == rows.shape[0] * rows.shape[1] - rows.nnz, "an unseen item is missing"

    def test_users_and_items_without_interactions_get_finite_scores(
        self, solver: Solver, matrix: UserItemMatrix
    ) -> None:
        rows = matrix.to_scipy()
        empty = sp.vstack([rows, sp.csr_array((2, rows.shape[1]), dtype=rows.dtype)])
        empty = sp.hstack([sp.csr_array((empty.shape[0], 1), dtype=rows.dtype), empty]).tocsr()
        model = self.fit(solver, UserItemMatrix.from_scipy(empty))
        assert np.isfinite(_scores(model)).all()
        nobody = recommend(model, request(model, users=[empty.shape[0] - 1], k=3), SerialExecutor())
        assert len(nobody) == 3, "a user without interactions gets no list"

    def test_a_user_is_led_to_the_own_group(
        self, solver: Solver, matrix: UserItemMatrix, tastes: PlantedTastes
    ) -> None:
        table = _recommended(self.fit(solver, matrix), k=5)
        own = tastes.user_groups[table["user"].to_numpy()] == tastes.item_groups[table["item"].to_numpy()]
        chance = 1 / (tastes.item_groups.max() + 1)
        assert own.mean() > 2 * chance, f"{own.mean():.0%} of what is recommended is of the user's planted group"

    # -- the same answer -------------------------------------------------------------------------------

    def test_same_seed_gives_the_same_bytes(self, make_solver: Callable[[], Solver], matrix: UserItemMatrix) -> None:
        assert _bytes(self.fit(make_solver(), matrix)) == _bytes(self.fit(make_solver(), matrix))

    @pytest.mark.parametrize("name", EXECUTORS)
    def test_same_bytes_on_every_executor(
        self, solver: Solver, large: UserItemMatrix, open_executor: Callable[[str], Executor], name: str
    ) -> None:
        model = self.fit(solver, large, executor=open_executor(name))
        assert _bytes(model) == _bytes(self.fit(solver, large)), f"{name} gives another model than serial"

    def test_a_store_gives_the_bytes_of_memory(self, solver: Solver, large: UserItemMatrix, tmp_path: Path) -> None:
        large.save(tmp_path / "store")
        stored = self.fit(solver, UserItemMatrix.open(tmp_path / "store"))
        assert _bytes(stored) == _bytes(self.fit(solver, large))

    def test_order_of_the_input_rows_changes_no_more_than_rounding(
        self, solver: Solver, matrix: UserItemMatrix, tastes: PlantedTastes
    ) -> None:
        shuffled = np.random.default_rng(0).permutation(len(tastes.users))
        scores = _scores(self.fit(solver, matrix))
        other = _scores(self.fit(solver, _matrix(tastes, shuffled)))
        np.testing.assert_allclose(other, scores, atol=self.tolerance * np.abs(scores).max())

    def test_a_fit_does_not_edit_its_input(self, solver: Solver, matrix: UserItemMatrix) -> None:
        own = UserItemMatrix.from_scipy(matrix.to_scipy()[:100].copy())
        before = _arrays(own)
        self.fit(solver, own)
        assert _arrays(own) == before

    # -- keeping and using a model ---------------------------------------------------------------------

    def test_a_saved_model_recommends_the_same(self, solver: Solver, matrix: UserItemMatrix, tmp_path: Path) -> None:
        model = self.fit(solver, matrix)
        save_model(model, tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        assert _bytes(loaded) == _bytes(model)
        assert _recommended(loaded).equals(_recommended(model))

    def test_users_of_the_training_data_are_folded_in_to_their_scores_or_refused(
        self, solver: Solver, matrix: UserItemMatrix, tmp_path: Path
    ) -> None:
        model = self.fit(solver, matrix)
        try:
            solver.closed_form(model)
        except OptionError:
            return
        save_model(model, tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        with SerialExecutor() as here:
            folded = fold_in(loaded, with_items_of(matrix, matrix.items), solver.closed_form(loaded), here)
        scores = _scores(model)
        np.testing.assert_allclose(_scores(folded), scores, atol=self.tolerance * np.abs(scores).max())

    def test_provenance_is_plain_json(self, solver: Solver, matrix: UserItemMatrix) -> None:
        with SerialExecutor() as here:
            provenance = dict(solver.fit(self.problem_of(matrix), here).provenance)
        assert json.loads(json.dumps(provenance)) == provenance

    # -- before and during a fit -----------------------------------------------------------------------

    def test_options_are_fields_of_a_frozen_dataclass_with_defaults(self, solver: Solver) -> None:
        kind: Any = type(solver)
        assert hasattr(kind, "__dataclass_fields__"), "options are the fields of a dataclass"
        assert kind.__dataclass_params__.frozen, "a solver must not change: make it a frozen dataclass"
        kind()  # `factorize(solver=...)` without options

    def test_options_that_cannot_work_are_refused_before_anything_starts(
        self, solver: Solver, matrix: UserItemMatrix
    ) -> None:
        for name, value in self.bad_options.items():
            wrong: Any = dataclasses.replace(solver, **{name: value})  # type: ignore[type-var]
            with pytest.raises(OptionError):
                wrong.check(self.problem_of(matrix))

    def test_weighting_and_scaling_are_used_or_refused(self, solver: Solver, matrix: UserItemMatrix) -> None:
        problem = self.problem_of(matrix)
        plain = self.fit(solver, matrix).fingerprint
        for name, values in _PREPARATION.items():
            value: Any = next(each for each in values if each != getattr(problem, name))
            try:
                other = self.fit(solver, matrix, problem=dataclasses.replace(problem, **{name: value}))
            except OptionError:
                continue
            assert other.fingerprint != plain, (
                f"{name}={value!r} changes nothing of the model: whoever gives it would believe that it was used. Use "
                "it (recscale_dask.solvers.preparation.prepare does as svd), or raise an OptionError in check()"
            )

    def test_what_tuning_may_try_is_accepted(self, solver: Solver, matrix: UserItemMatrix) -> None:
        own = {each.name for each in dataclasses.fields(solver)}  # type: ignore[arg-type]
        assert solver.space.keys() <= {*own, *_ARGUMENTS}, "space names no options"
        rng = np.random.default_rng(0)
        for _ in range(50):
            chosen = _drawn(solver.space, rng)
            if "rank" in chosen:
                chosen["rank"] = min(chosen["rank"], min(matrix.shape) - 1)
            fields = {name: value for name, value in chosen.items() if name in own}
            tried = type(solver)(**fields)
            arguments = {name: value for name, value in chosen.items() if name not in own}
            tried.check(dataclasses.replace(self.problem_of(matrix), **arguments))

    def test_forecast_tells_of_time_and_memory(self, solver: Solver, matrix: UserItemMatrix) -> None:
        with ThreadsExecutor(n_workers=2) as executor:
            forecast = solver.forecast(self.problem_of(matrix), Workers.of(executor), NOMINAL)
        assert forecast.stages
        assert sum(stage.seconds for stage in forecast.stages) > 0
        assert max(sum(stage.driver.values()) for stage in forecast.stages) >= 4 * matrix.nnz
        assert forecast.model_bytes >= 4 * matrix.nnz, "a model holds at least what was seen"

    def test_progress_is_told(self, solver: Solver, matrix: UserItemMatrix) -> None:
        events: list[Event] = []
        self.fit(solver, matrix, observer=events.append)
        assert events, "no event of a run or a step came"
        assert len([each for each in events if isinstance(each, RunStarted)]) == len(
            [each for each in events if isinstance(each, RunFinished)]
        )

    # -- helpers ---------------------------------------------------------------------------------------

    def problem_of(self, matrix: UserItemMatrix) -> Problem:
        """Return the problem of a matrix."""
        return Problem(matrix=matrix, **self.problem)

    def fit(
        self,
        solver: Solver,
        matrix: UserItemMatrix,
        *,
        problem: Problem | None = None,
        executor: Executor | None = None,
        observer: Any = None,
    ) -> Factors:
        """Return a model as `factorize` would: with the options in its provenance."""
        if problem is None:
            problem = self.problem_of(matrix)
        solver.check(problem)
        observed = {} if observer is None else {"observer": observer}
        factors = solver.fit(problem, executor or SerialExecutor(), **observed)
        own = {each.name: getattr(solver, each.name) for each in dataclasses.fields(solver)}  # type: ignore[arg-type]
        options = {**{name: getattr(problem, name) for name in _ARGUMENTS}, **own}
        return dataclasses.replace(factors, provenance={"options": options, **factors.provenance})


def _matrix(tastes: PlantedTastes, order: NDArray[np.int64] | slice = slice(None)) -> UserItemMatrix:
    columns = pa.table({name: column[order] for name, column in tastes.columns().items()})
    rows = Interactions.from_arrow(columns, user="user", item="item", value="value", time="time")
    return UserItemMatrix.from_interactions(rows)


def _scores(model: Factors) -> NDArray[np.float32]:
    """Return the scores of all pairs, shape (n_users * n_items,)."""
    users, items = np.divmod(np.arange(len(model.users) * len(model.items)), len(model.items))
    with SerialExecutor() as here:
        return score_pairs(model, users.astype(np.int32), items.astype(np.int32), here)


def _recommended(model: Factors, k: int = 10) -> pa.Table:
    with SerialExecutor() as here:
        return recommend(model, request(model, k=k), here)


def _bytes(model: Factors) -> dict[str, str]:
    """Return hashes of all that a fit computes."""
    kept = {name: sha256_of(np.asarray(array)) for name, array in model.training.items()}
    return {"model": model.fingerprint, "singular values": sha256_of(model.singular_values), **kept}


def _arrays(matrix: UserItemMatrix) -> list[str]:
    blocks = [source.load() for source in matrix.sources]
    return [sha256_of(block.indptr, block.indices, block.values) for block in blocks]


def _drawn(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Return one point of a space."""
    chosen: dict[str, Any] = {}
    for name, range_ in space.items():
        if not range_.applies(chosen):
            continue
        if isinstance(range_, Choice):
            chosen[name] = range_.values[int(rng.integers(len(range_.values)))]
        elif isinstance(range_, Whole):
            chosen[name] = int(rng.integers(range_.low, range_.high + 1))
        else:
            assert isinstance(range_, Real)
            chosen[name] = float(rng.uniform(range_.low, range_.high))
    return chosen
