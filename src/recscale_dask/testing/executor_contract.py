"""The conformance kit: what every executor must do, as a test class to inherit from.

A third party's whole test file::

    import pytest
    from recscale_dask.testing import ExecutorContract
    from recscale_spark import SparkExecutor

    class TestSpark(ExecutorContract):
        @pytest.fixture
        def make_executor(self):
            return lambda: SparkExecutor(master="local[2]")
"""

from __future__ import annotations

import importlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from recscale_dask.errors import BlockFailed, TaskNotPortable, WorkerLost
from recscale_dask.execution.contract import CONTRACT, Executor, Job
from recscale_dask.execution.events import BlockDone, Event, RunFinished, RunStarted
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.known_gaps import KnownGaps
from recscale_dask.testing.leftovers import folders, leftovers, new_leftovers, private_temporary_folder, wait_until
from recscale_dask.testing.matrices import planted_low_rank

_BIG_BYTES = 50_000_000


class ExecutorContract(KnownGaps):
    """Tests that hold for every executor; inherit, give a fixture `make_executor`, and that is all.

    The fixture returns a function without arguments that makes an executor that is not open yet.

    Attributes
    ----------
    known_gaps : dict of str to str
        Names of tests that fail, each with the reason; they become strict expected failures, so that
        a gap that was closed is noticed.
    patience : float
        Seconds that the executor may take to free memory, files, threads and processes.

    Notes
    -----
    Most tests share one open executor; those on opening, closing and dying workers make their own,
    and never are two open at once. Some count attempts by files: where workers do not see the local
    temporary folder, override the fixture `marks` with a folder that they see.
    """

    patience: ClassVar[float] = 10.0

    # -- fixtures --------------------------------------------------------------------------------------

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        """To override: a function that makes an executor that is not open yet."""
        raise NotImplementedError("override the fixture make_executor: return a function that makes an executor")

    @pytest.fixture
    def marks(self, tmp_path: Path) -> Path:
        """To override where workers do not see this machine's files: an empty folder that they see."""
        folder = tmp_path / "marks"
        folder.mkdir()
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def _open_one(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Executor]]:
        tmp_path_factory.getbasetemp()  # pytest's own folder outlives the class
        opened: list[Executor] = []
        with private_temporary_folder():
            yield opened
            for executor in opened:
                executor.stop()

    @pytest.fixture
    def executor(self, _open_one: list[Executor], make_executor: Callable[[], Executor]) -> Executor:
        """Return the open executor that most tests share."""
        if not _open_one:
            _open_one.append(make_executor().__enter__())
        return _open_one[0]

    @pytest.fixture
    def unopened(self, _open_one: list[Executor], make_executor: Callable[[], Executor]) -> Iterator[Executor]:
        """Return an executor of the test's own, closed at the end; no other is open meanwhile."""
        while _open_one:
            _open_one.pop().stop()
        executor = make_executor()
        yield executor
        executor.stop()

    # -- order and completeness ------------------------------------------------------------------------

    def test_contract_number_is_that_of_the_core(self, executor: Executor) -> None:
        assert executor.contract == CONTRACT
        assert executor.name != Executor.name, "give the executor a name: errors mention it"

    def test_parallelism_is_at_least_one(self, executor: Executor) -> None:
        assert executor.parallelism >= 1

    def test_results_keep_block_order(self, executor: Executor) -> None:
        blocks = range(100)
        assert list(map_blocks(executor, tasks.echo_late_ones_first, blocks)) == list(blocks)

    def test_each_block_is_answered_once(self, executor: Executor) -> None:
        jobs = [Job(index, index) for index in range(110)]
        answers = Counter(outcome.index for outcome in executor.outcomes(tasks.echo, iter(jobs), {}))
        assert answers == Counter(range(110))

    def test_no_blocks_is_no_work(self, executor: Executor) -> None:
        assert list(map_blocks(executor, tasks.echo, [])) == []

    def test_placed_blocks_arrive(self, executor: Executor) -> None:
        arrays = [np.arange(i, i + 1000.0) for i in range(4)]
        placed = [executor.place(array) for array in arrays]
        try:
            results = list(map_blocks(executor, tasks.fingerprint, placed))
        finally:
            for block in placed:
                block.release()
        assert results == [tasks.fingerprint(array) for array in arrays]

    def test_functions_of_a_script_run_too(self, executor: Executor) -> None:
        offset = 10  # closures and lambdas cannot be imported by a worker

        assert list(map_blocks(executor, lambda block: block + offset, range(5))) == [10, 11, 12, 13, 14]

    # -- constants -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "constant",
        [
            np.linspace(0, 1, 7),
            np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
            np.arange(20, dtype=np.int32)[::3],
            np.zeros((0, 5)),
        ],
        ids=["float64", "fortran order", "strided", "empty"],
    )
    def test_constant_arrives_unchanged(self, executor: Executor, constant: Any) -> None:
        results = list(map_blocks(executor, tasks.fingerprint_of_constant, range(5), {"constant": constant}))
        assert results == [(block, tasks.fingerprint(constant)) for block in range(5)]

    def test_big_constant_arrives_unchanged(self, executor: Executor) -> None:
        constant = np.arange(_BIG_BYTES // 4, dtype=np.float32).reshape(-1, 100)
        results = list(map_blocks(executor, tasks.fingerprint_of_constant, range(4), {"constant": constant}))
        assert results == [(block, tasks.fingerprint(constant)) for block in range(4)]

    def test_task_cannot_edit_a_constant(self, executor: Executor) -> None:
        constant = np.arange(1000.0)
        told = list(map_blocks(executor, tasks.try_to_edit, range(6), {"constant": constant}))
        assert told == ["refused"] * 6
        assert constant[0] == 0

    def test_constant_is_sent_once_per_worker(self, executor: Executor) -> None:
        constant = tasks.CountedConstant(np.zeros(_BIG_BYTES // 8))
        n_blocks = 5 * executor.parallelism + 5
        seen = list(map_blocks(executor, tasks.how_it_came, range(n_blocks), {"constant": constant}))
        pickled = tasks.PICKLES[constant.name]
        assert pickled <= executor.parallelism + 1, f"pickled {pickled} times for {n_blocks} blocks"
        unpickled = {process: loads for process, loads, mapped in seen if loads > 1 and not mapped}
        assert not unpickled, f"copied again and again on workers (process: times): {unpickled}"

    def test_released_constant_is_forgotten(self, executor: Executor) -> None:
        constant = tasks.CountedConstant(np.zeros(_BIG_BYTES // 8))
        alive = weakref.ref(constant)
        list(map_blocks(executor, tasks.how_it_came, range(4), {"constant": constant}))
        del constant
        assert wait_until(lambda: alive() is None, self.patience), "the driver still holds a constant after the run"
        assert wait_until(lambda: _bytes_in_folders() < _BIG_BYTES, self.patience), (
            "its file is still there after the run"
        )

    # -- errors ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("error", [ValueError, LookupError, StopIteration])
    def test_error_names_its_block(self, executor: Executor, error: type[Exception]) -> None:
        with pytest.raises(BlockFailed, match=f"block 5 .*{error.__name__}: planted") as caught:
            list(map_blocks(executor, tasks.FailOn(5, error), range(8), retries=0))
        assert caught.value.index == 5
        assert "FailOn" in caught.value.remote_traceback or "tasks.py" in caught.value.remote_traceback

    def test_error_that_cannot_be_pickled_names_its_block(self, executor: Executor) -> None:
        with pytest.raises(BlockFailed, match=r"block 3 .*UnpicklableError: planted"):
            list(map_blocks(executor, tasks.FailOn(3, tasks.UnpicklableError), range(8), retries=0))

    def test_error_in_a_sum_says_what_happened(self, executor: Executor) -> None:
        with pytest.raises(BlockFailed, match="ZeroDivisionError: planted"):
            fold_blocks(executor, tasks.FailOn(5, ZeroDivisionError), range(8), retries=0)

    @pytest.mark.parametrize("what", ["task", "block", "constant"])
    def test_what_cannot_travel_says_so(self, executor: Executor, what: str) -> None:
        self._needs_isolation(executor)
        task: Any = tasks.Unportable() if what == "task" else tasks.echo
        blocks: list[Any] = [0, 1, tasks.Unportable() if what == "block" else 2, 3]
        constants = {"factor": tasks.Unportable()} if what == "constant" else {}
        with pytest.raises(TaskNotPortable, match="planted: this cannot be pickled"):
            list(map_blocks(executor, tasks.scaled if constants else task, blocks, constants))

    def test_result_that_cannot_travel_is_an_error(self, executor: Executor) -> None:
        self._needs_isolation(executor)
        with pytest.raises((BlockFailed, TaskNotPortable), match="block 2 "):
            list(map_blocks(executor, tasks.UnportableResultOn(2), range(4), retries=0))

    # -- retries and dead workers ------------------------------------------------------------------------

    def test_only_failed_blocks_are_retried(self, executor: Executor, marks: Path) -> None:
        task = tasks.FailFirstTime(marks, frozenset({2, 5}))
        assert list(map_blocks(executor, task, range(8))) == list(range(8))
        assert tasks.attempts(marks) == Counter({block: 2 if block in (2, 5) else 1 for block in range(8)})

    def test_after_a_dead_worker_the_executor_still_serves(self, unopened: Executor, marks: Path) -> None:
        with unopened as executor:
            self._needs_isolation(executor)
            blocks = list(range(8))
            try:
                results = list(map_blocks(executor, tasks.KillWorker(3, marks / "killed"), blocks))
            except WorkerLost:
                results = blocks
            assert results == blocks
            assert (marks / "killed").exists()
            assert list(map_blocks(executor, tasks.echo, blocks)) == blocks

    def test_sum_with_a_dead_worker_is_right_or_lost(self, unopened: Executor, marks: Path) -> None:
        expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(9))
        with unopened as executor:
            self._needs_isolation(executor)
            task = tasks.KillWorker(4, marks / "killed", tasks.float32_partial)
            try:
                total = fold_blocks(executor, task, range(9))
            except WorkerLost:
                total = expected
            assert (marks / "killed").exists()
            assert total.tobytes() == expected.tobytes()

    def test_block_that_always_kills_its_worker_ends_in_worker_lost(self, unopened: Executor) -> None:
        with unopened as executor:
            self._needs_isolation(executor)
            with pytest.raises(WorkerLost, match=executor.name):
                list(map_blocks(executor, tasks.KillWorker(1), range(4), retries=0))

    # -- flow ------------------------------------------------------------------------------------------

    def test_at_most_twice_parallelism_in_flight(self, executor: Executor) -> None:
        taken, answered, most = 0, 0, 0
        allowed = 2 * executor.parallelism

        def jobs() -> Iterator[Job]:
            nonlocal taken, most
            for index in range(5 * allowed + 10):
                taken += 1
                most = max(most, taken - answered)
                yield Job(index, index)

        for _ in executor.outcomes(tasks.echo_late_ones_first, jobs(), {}):
            answered += 1
        assert answered == taken
        assert most <= allowed

    def test_closing_early_stops_the_rest(self, unopened: Executor, marks: Path) -> None:
        with unopened as executor:
            n_blocks = 10 * executor.parallelism + 20
            jobs = (Job(index, index) for index in range(n_blocks))
            outcomes = cast(Any, executor.outcomes(tasks.LeaveMark(marks, 0.02), jobs, {}))
            with closing(outcomes):
                next(outcomes)
        assert sum(tasks.attempts(marks).values()) < n_blocks // 2

    def test_serves_after_closing_early(self, executor: Executor) -> None:
        outcomes = cast(Any, map_blocks(executor, tasks.echo, range(50)))
        assert next(outcomes) == 0
        outcomes.close()
        assert list(map_blocks(executor, tasks.echo, range(100, 110))) == list(range(100, 110))

    def test_progress_counts_each_block_once(self, executor: Executor) -> None:
        for run in (map_blocks, fold_blocks):
            events: list[Event] = []
            result = run(executor, tasks.echo, range(20), observer=events.append)
            assert result == 190 if run is fold_blocks else list(result) == list(range(20))
            assert [type(event) for event in events] == [RunStarted, *[BlockDone] * 20, RunFinished]
            done = [event for event in events if isinstance(event, BlockDone)]
            assert sorted(event.index for event in done) == list(range(20))
            assert all(event.seconds >= 0 for event in done)
            assert isinstance(events[0], RunStarted)
            assert events[0].executor == executor.name

    # -- the same answer -------------------------------------------------------------------------------

    @pytest.mark.parametrize("counts", [range(1, 9), range(9, 18), (31, 32, 33)], ids=str)
    def test_sum_equals_serial_sum_bit_for_bit(self, executor: Executor, counts: Any) -> None:
        for n_blocks in counts:
            expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(n_blocks))
            total = fold_blocks(executor, tasks.float32_partial, range(n_blocks))
            assert total.dtype == expected.dtype
            assert total.tobytes() == expected.tobytes(), f"the sum of {n_blocks} blocks has other bits"

    def test_factors_are_those_of_serial(self, executor: Executor) -> None:
        # By name: the kit lies below the api in the order of imports.
        recscale = importlib.import_module("recscale_dask")
        planted = planted_low_rank(4000, 300, (9.0, 5.0, 3.0, 2.0), density=0.25, seed=3)
        matrix = recscale.UserItemMatrix.from_scipy(planted.matrix)
        assert len(matrix.sources) >= 4, "the test needs several blocks"
        expected = recscale.factorize(matrix, rank=3, executor=SerialExecutor(), seed=0)
        model = recscale.factorize(matrix, rank=3, executor=executor, seed=0)
        assert model.user_factors.tobytes() == expected.user_factors.tobytes()
        assert model.item_factors.tobytes() == expected.item_factors.tobytes()
        np.testing.assert_allclose(model.singular_values, planted.singular_values[:3], rtol=1e-5)

    # -- opening and closing ---------------------------------------------------------------------------

    def test_opens_again_after_it_was_closed(self, unopened: Executor) -> None:
        for _ in range(2):
            with unopened as executor:
                assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))
            executor.stop()

    def test_nothing_is_left_behind(
        self, unopened: Executor, make_executor: Callable[[], Executor], marks: Path
    ) -> None:
        # Once before: an engine may keep helpers, such as a resource tracker, for the life of the process.
        _open_and_work(unopened, marks)
        before = leftovers()
        executor = make_executor()
        _open_and_work(executor, marks)
        assert new_leftovers(before, self.patience) == set()

    # -- helpers ---------------------------------------------------------------------------------------

    @staticmethod
    def _needs_isolation(executor: Executor) -> None:
        if not executor.capabilities.isolated:
            pytest.skip(f"executor {executor.name!r} runs tasks in this process")


def _open_and_work(executor: Executor, marks: Path) -> None:
    """Use an executor as a run does: work, a constant, an error, and an early end."""
    with executor:
        constants = {"constant": np.zeros(1_000_000)}
        list(map_blocks(executor, tasks.fingerprint_of_constant, range(8), constants))
        with pytest.raises(BlockFailed):
            list(map_blocks(executor, tasks.FailOn(1, ValueError), range(8), retries=0))
        results = cast(Any, map_blocks(executor, tasks.LeaveMark(marks, 0.01), range(20)))
        next(results)
        results.close()


def _bytes_in_folders() -> int:
    total = 0
    for folder in folders():
        for file in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):  # deleted meanwhile, which is what we wait for
                total += file.stat().st_size
    return total
