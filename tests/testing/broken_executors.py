"""Executors that are wrong on purpose; each has one fault and must fail the test of the kit that is for it.

Not collected by name: `test_kit.py` runs this file in a pytest of its own.
"""

import atexit
import multiprocessing
import operator
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from recscale_dask.errors import ExecutorUnavailable, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.portable import CombinePartials, FoldTask, Partial, add, dump_bytes, run_job
from recscale_dask.execution.serial import LocalBroadcast, SerialExecutor
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.tasks import UnreadableError
from recscale_dask.tree import fold_tree
from recscale_dask.types import Combine, Task

Constants = Mapping[str, Broadcast]
Jobs = Iterable[Job]


# -- answers -----------------------------------------------------------------------------------------


class DropsABlock(SerialExecutor):
    fails = "test_each_block_is_answered_once"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            if outcome.index != 100:
                yield outcome


class AnswersTwice(SerialExecutor):
    fails = "test_each_block_is_answered_once"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            yield from [outcome] * (2 if outcome.index == 100 else 1)


class MixesUpBlocks(SerialExecutor):
    fails = "test_results_keep_block_order"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            swapped = {97: 98, 98: 97}.get(outcome.index, outcome.index)
            yield Outcome(swapped, outcome.value, outcome.error, outcome.traceback, seconds=outcome.seconds)


class NeedsAFirstBlock(SerialExecutor):
    fails = "test_no_blocks_is_no_work"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        jobs = iter(jobs)
        yield run_job(task, next(jobs), constants)
        yield from super().outcomes(task, jobs, constants)


class RoundsResults(SerialExecutor):
    fails = "test_arrays_come_back_to_the_last_bit"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            value = outcome.value
            if isinstance(value, tuple) and len(value) == 4 and outcome.index == 3:
                value = (np.nextafter(value[0], 9), *value[1:])
            yield replace(outcome, value=value)


class FlattensResults(SerialExecutor):
    fails = "test_arrays_come_back_to_the_last_bit"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            value = outcome.value
            yield replace(outcome, value=value.ravel() if isinstance(value, np.ndarray) else value)


class UsesMemoryOfResultsAgain(SerialExecutor):
    """Writes each array that is a result to the place of the one before."""

    fails = "test_arrays_come_back_to_the_last_bit"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        places: dict[Any, np.ndarray] = {}
        for outcome in super().outcomes(task, jobs, constants):
            value = outcome.value
            if isinstance(value, np.ndarray):
                place = places.setdefault((value.shape, value.dtype), np.empty_like(value))
                place[...] = value
                outcome = replace(outcome, value=place)
            yield outcome


class MixesUpRuns(SerialExecutor):
    """Has one queue of answers, one ahead, for all that is asked of it."""

    fails = "test_two_runs_at_once_get_their_own_answers"

    def __init__(self) -> None:
        self._answers_of: defaultdict[int, deque[Outcome]] = defaultdict(deque)  # a thread

    @property
    def _answers(self) -> deque[Outcome]:
        return self._answers_of[threading.get_ident()]

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        n_ahead = 0
        try:
            for job in jobs:
                self._answers.append(run_job(task, job, constants))
                n_ahead += 1
                if n_ahead > 1:
                    n_ahead -= 1
                    yield self._answers.popleft()
            while n_ahead:
                n_ahead -= 1
                yield self._answers.popleft()
        finally:
            for _ in range(n_ahead):
                self._answers.popleft()


class IsForOneThread(SerialExecutor):
    """Gives answers of nobody while two threads want some."""

    fails = "test_two_threads_get_their_own_answers"

    def __init__(self) -> None:
        self._threads: list[int] = []

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        self._threads.append(threading.get_ident())
        try:
            for outcome in super().outcomes(task, jobs, constants):
                yield outcome if len(set(self._threads)) == 1 else replace(outcome, value=None)
        finally:
            self._threads.remove(threading.get_ident())


class CountsWithNumpy(SerialExecutor):
    fails = "test_parallelism_is_at_least_one"
    parallelism = np.int64(1)  # type: ignore[assignment]


class TakesOnlyWhatCanBeImported(SerialExecutor):
    fails = "test_functions_of_a_script_run_too"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        return super().outcomes(pickle.loads(pickle.dumps(task)), jobs, constants)


class HasOnePlace(SerialExecutor):
    """For all blocks that are placed."""

    fails = "test_placed_blocks_arrive"

    def __init__(self) -> None:
        self._place = LocalBroadcast(None)

    def place(self, value: Any) -> Broadcast:
        self._place._value = value
        return self._place


class SendsVectorsOfAFitInSinglePrecision(SerialExecutor):
    """Arrays of three dimensions: no other constant of the kit is one."""

    fails = "test_factors_are_those_of_serial"

    def broadcast(self, value: Any) -> Broadcast:
        of_a_fit = isinstance(value, np.ndarray) and value.ndim == 3
        return super().broadcast(value.astype(np.float32).astype(value.dtype) if of_a_fit else value)


class WrittenForAnotherContract(SerialExecutor):
    fails = "test_contract_number_is_that_of_the_core"
    contract = 2


# -- errors ------------------------------------------------------------------------------------------


class SwallowsErrors(SerialExecutor):
    fails = "test_error_names_its_block"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            swallowed = (outcome.error or "").startswith("LookupError")
            yield Outcome(outcome.index, value=None) if swallowed else outcome


class SendsErrorsAsTheyAre(SerialExecutor):
    fails = "test_error_that_cannot_be_pickled_names_its_block"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        def sending(payload: Any, **values: Any) -> Any:
            try:
                return task(payload, **values)
            except Exception as error:
                pickle.dumps(error)
                raise

        return super().outcomes(sending, jobs, constants)


class WorksWithoutBeingOpen(SerialExecutor):
    """And gives nothing, so that what is read is that blocks are missing."""

    fails = "test_closed_executor_works_or_says_that_it_is_closed"
    opened = False

    def start(self) -> None:
        self.opened = True

    def stop(self) -> None:
        self.opened = False

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        if self.opened:
            yield from super().outcomes(task, jobs, constants)


class TakesAnErrorForTheEnd(SerialExecutor):
    fails = "test_error_in_reading_blocks_comes_through"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        def until_error() -> Iterator[Job]:
            with suppress(UnreadableError):
                yield from jobs

        return super().outcomes(task, until_error(), constants)


class RetriesPartitions(SerialExecutor):
    """Runs what is in the same partition as a bad block again, as engines with retries of their own do."""

    fails = "test_only_failed_blocks_are_retried"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        partition = []
        for job in jobs:
            partition.append(job)
            outcome = run_job(task, job, constants)
            if outcome.error is not None:
                for each in partition[:-1]:
                    run_job(task, each, constants)
            yield outcome


class RetriesBlocks(SerialExecutor):
    fails = "test_executor_does_not_retry"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for job in jobs:
            outcome = run_job(task, job, constants)
            yield outcome if outcome.error is None else run_job(task, job, constants)


# -- constants ---------------------------------------------------------------------------------------


class LetsTasksEditConstants(SerialExecutor):
    fails = "test_task_cannot_edit_a_constant"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        def with_constants(payload: Any) -> Any:
            return task(payload, **{name: constant.load() for name, constant in constants.items()})

        return super().outcomes(with_constants, jobs, {})


class LetsTasksEditBlocks(SerialExecutor):
    fails = "test_task_cannot_edit_its_block"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        def with_copy(payload: Any, **values: Any) -> Any:
            return task(payload.copy() if isinstance(payload, np.ndarray) else payload, **values)

        return super().outcomes(with_copy, jobs, constants)


class MixesUpNames(SerialExecutor):
    fails = "test_constants_keep_their_names"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        if len(constants) == 2 and "names" in constants:
            constants = dict(zip(constants, reversed(constants.values()), strict=True))
        return super().outcomes(task, jobs, constants)


class LosesTheShapeOfNothing(SerialExecutor):
    fails = "test_constant_arrives_unchanged"

    def broadcast(self, value: Any) -> Broadcast:
        return super().broadcast(value.ravel() if isinstance(value, np.ndarray) and not value.size else value)


class CutsBigConstants(SerialExecutor):
    """At 40 MB."""

    fails = "test_big_constant_arrives_unchanged"

    def broadcast(self, value: Any) -> Broadcast:
        too_big = isinstance(value, np.ndarray) and value.nbytes > 40_000_000
        return super().broadcast(value[: len(value) * 40_000_000 // value.nbytes] if too_big else value)


class ReleasesOnlyOnce(SerialExecutor):
    fails = "test_constant_serves_many_runs_and_is_released_twice"

    def broadcast(self, value: Any) -> Broadcast:
        return OnceReleased(value)


class OnceReleased(LocalBroadcast):
    released = False

    def release(self) -> None:
        assert not self.released
        self.released = True
        super().release()


class SendsConstantsWithEachJob(SerialExecutor):
    fails = "test_constant_is_sent_once_per_worker"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for job in jobs:
            yield run_job(task, job, cloudpickle.loads(cloudpickle.dumps(dict(constants))))


class KeepsConstants(SerialExecutor):
    fails = "test_released_constant_is_forgotten"
    kept: ClassVar[list[Any]] = []

    def broadcast(self, value: Any) -> Broadcast:
        self.kept.append(value)
        return LocalBroadcast(value)


class KeepsPickledConstants(SerialExecutor):
    fails = "test_released_constant_is_forgotten"

    def __init__(self) -> None:
        self._pickles: list[bytes] = []

    def stop(self) -> None:
        self._pickles.clear()

    def broadcast(self, value: Any) -> Broadcast:
        self._pickles.append(dump_bytes(value))
        return LocalBroadcast(value)


# -- flow --------------------------------------------------------------------------------------------


class IgnoresClose(SerialExecutor):
    fails = "test_closing_early_stops_the_rest"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        jobs = iter(jobs)
        try:
            yield from super().outcomes(task, jobs, constants)
        finally:
            for job in jobs:
                run_job(task, job, constants)


class TakesAllJobsAtOnce(SerialExecutor):
    fails = "test_at_most_twice_parallelism_in_flight"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        return super().outcomes(task, list(jobs), constants)


class LosesTheRunAfterAClosedOne(SerialExecutor):
    """If that was closed at its first answer."""

    fails = "test_serves_after_closing_early"
    closed = False

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        if self.closed:
            self.closed = False
            return
        n_answers = 0
        try:
            for outcome in super().outcomes(task, jobs, constants):
                n_answers += 1
                yield outcome
        except GeneratorExit:
            self.closed = n_answers == 1
            raise


class HasAClockThatRunsBackwards(SerialExecutor):
    fails = "test_progress_counts_each_block_once"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        for outcome in super().outcomes(task, jobs, constants):
            yield replace(outcome, seconds=-outcome.seconds)


# -- sums --------------------------------------------------------------------------------------------


class Folds(SerialExecutor):
    """Adds up itself, and rightly."""

    fails = ""
    capabilities = Capabilities(folds=True)

    def fold(self, task: Task, combine: Combine, jobs: Jobs, constants: Constants) -> Outcome:
        outcomes = sorted(self.outcomes(task, jobs, constants), key=operator.attrgetter("index"))
        for outcome in outcomes:
            if outcome.error is not None or outcome.lost:
                return outcome  # of the job that failed: errors name its blocks
        return Outcome(0, self.add_up([outcome.value for outcome in outcomes], combine))

    def add_up(self, results: list[Any], combine: Combine) -> Any:
        return fold_tree(iter(results), combine)


class HidesErrorsOfSums(Folds):
    fails = "test_error_in_a_sum_says_what_happened"

    def fold(self, task: Task, combine: Combine, jobs: Jobs, constants: Constants) -> Outcome:
        outcome = super().fold(task, combine, jobs, constants)
        return outcome if outcome.error is None else replace(outcome, error="EngineError: a stage failed")


class AddsUpInArrivalOrder(Folds):
    """In the tree for up to 8 blocks, and then as they come."""

    fails = "test_sum_equals_serial_sum_bit_for_bit"

    def add_up(self, results: list[Any], combine: Combine) -> Any:
        total = fold_tree(iter(results[:8]), combine)
        for result in results[8:]:
            total = combine(total, result)
        return total


class AddsUpInAnotherTree(Folds):
    """Splits in halves, which is the tree of the contract for 2, 4, 8, ... blocks only."""

    fails = "test_sum_equals_serial_sum_bit_for_bit"

    def add_up(self, results: list[Any], combine: Combine) -> Any:
        if len(results) == 1:
            return results[0]
        middle = len(results) // 2
        return combine(self.add_up(results[:middle], combine), self.add_up(results[middle:], combine))


class AddsWithPlus(Folds):
    """Whatever function was given."""

    fails = "test_sum_is_of_the_given_combine_in_block_order"

    def add_up(self, results: list[Any], combine: Combine) -> Any:
        if isinstance(results[0].value, tuple):
            return super().add_up(results, CombinePartials(add))
        return super().add_up(results, combine)


# -- opening and closing -----------------------------------------------------------------------------


class LeavesAFolder(SerialExecutor):
    fails = "test_nothing_is_left_behind"

    def start(self) -> None:
        tempfile.mkdtemp(prefix="recscale-")


class LeavesAProcess(SerialExecutor):
    fails = "test_nothing_is_left_behind"

    def start(self) -> None:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        atexit.register(process.kill)


class LeavesAnOpenFile(SerialExecutor):
    fails = "test_nothing_is_left_behind"

    def start(self) -> None:
        os.open(os.devnull, os.O_RDONLY)


class ChangesTheProcess(SerialExecutor):
    """Does one of the things that are for the caller alone."""

    fails = "test_process_is_as_it_was"

    def start(self) -> None:
        self.change()

    def change(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "37"  # which nobody has set before


class SeedsNumpy(ChangesTheProcess):
    def change(self) -> None:
        np.random.seed(0)  # noqa: NPY002


class GoesElsewhere(ChangesTheProcess):
    def change(self) -> None:
        os.chdir("/")


class HandlesSignals(ChangesTheProcess):
    def change(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class WritesWhereItIs(ChangesTheProcess):
    def change(self) -> None:
        Path("engine.log").write_text("opened")


class Prints(ChangesTheProcess):
    def change(self) -> None:
        print("opened")


class CannotBeReopened(SerialExecutor):
    fails = "test_opens_again_after_it_was_closed"
    used = False

    def start(self) -> None:
        if self.used:
            raise ExecutorUnavailable("it was used before")
        self.used = True


# -- isolated ones -----------------------------------------------------------------------------------


class Pool(Executor):
    """A right executor on `concurrent.futures`, for the faults that need processes."""

    fails = ""
    name = "pool"
    capabilities = Capabilities(isolated=True, shared_files=True)
    parallelism = 2

    def start(self) -> None:
        self._exchange = Exchange()
        self._pool = self._make_pool()

    def stop(self) -> None:
        if hasattr(self, "_pool"):
            self._pool.shutdown(cancel_futures=True)
            self._exchange.close()
            del self._pool, self._exchange

    def _make_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        # Imported once for all workers; this module cannot be: a fork server does not look where pytest found it.
        context.set_forkserver_preload(["recscale_dask.testing.executor_contract", "recscale_dask.api.fitting"])
        return ProcessPoolExecutor(self.parallelism, context)

    def broadcast(self, value: Any) -> Broadcast:
        if not hasattr(self, "_pool"):
            raise self.not_open()
        return self._exchange.put(value)

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        if not hasattr(self, "_pool"):
            raise self.not_open()
        running: dict[Future[bytes], Job] = {}
        jobs = iter(jobs)
        try:
            while True:
                while len(running) < 2 * self.parallelism and (job := next(jobs, None)) is not None:
                    try:
                        call = dump_bytes((task, job, dict(constants)))
                    except Exception as error:
                        yield self.unportable(job, error)
                        continue
                    running[self._pool.submit(self.answer, call)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield self.outcome(future, running.pop(future))
        except BrokenProcessPool as error:
            self.mend()
            raise WorkerLost(str(error)) from error
        finally:
            for future in running:
                future.cancel()

    @staticmethod
    def answer(call: bytes) -> bytes:
        return answer(call)

    def outcome(self, future: Future[bytes], job: Job) -> Outcome:
        try:
            outcome: Outcome = cloudpickle.loads(future.result())
            return outcome
        except BrokenProcessPool:
            raise
        except Exception as error:
            return Outcome(job.index, error=str(error), portable=False)

    def unportable(self, job: Job, error: Exception) -> Outcome:
        return Outcome(job.index, error=str(error), portable=False)

    def mend(self) -> None:
        self._pool.shutdown()
        self._pool = self._make_pool()


def answer(call: bytes) -> bytes:
    task, job, constants = cloudpickle.loads(call)
    outcome = run_job(task, job, constants)
    try:
        return dump_bytes(outcome)
    except Exception as error:
        return dump_bytes(Outcome(job.index, error=str(error), portable=False))


class SaysThatItIsNotIsolated(Pool):
    fails = "test_isolated_says_where_tasks_run"
    capabilities = Capabilities(shared_files=True)


class LetsBlasUseAllThreads(SerialExecutor):
    fails = "test_blas_has_one_thread_in_a_task"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        def with_threads(payload: Any, **values: Any) -> Any:
            with threadpool_limits(2 if task is tasks.blas_threads else 1, user_api="blas"):
                return task(payload, **values)

        return super().outcomes(with_threads, jobs, constants)


class KeepsConstantsOnWorkers(Pool):
    fails = "test_released_constant_is_forgotten"
    kept: ClassVar[dict[Any, Any]] = {}

    @staticmethod
    def answer(call: bytes) -> bytes:
        _, _, constants = cloudpickle.loads(call)
        for recipe in constants.values():
            KeepsConstantsOnWorkers.kept.setdefault(recipe, dump_bytes(recipe.load()))
        return answer(call)


class NewWorkersLackConstants(Pool):
    """Forgets what it sent when a worker died."""

    fails = "test_after_a_dead_worker_the_executor_still_serves"

    def mend(self) -> None:
        self._exchange.close()
        self._exchange = Exchange()
        super().mend()


class StaysBrokenAfterADeath(Pool):
    fails = "test_after_a_dead_worker_the_executor_still_serves"

    def mend(self) -> None:
        pass


class TakesADeathForAnError(Pool):
    fails = "test_block_that_always_kills_its_worker_ends_in_worker_lost"

    def outcomes(self, task: Task, jobs: Jobs, constants: Constants) -> Iterator[Outcome]:
        jobs = iter(jobs)
        under_way: dict[int, Job] = {}

        def noted() -> Iterator[Job]:
            for job in jobs:
                under_way[job.index] = job
                yield job

        try:
            for outcome in super().outcomes(task, noted(), constants):
                del under_way[outcome.index]
                yield outcome
        except WorkerLost as error:
            for job in under_way.values():
                yield self.instead(task, job, error)
            yield from self.outcomes(task, jobs, constants)

    def instead(self, task: Task, job: Job, error: Exception) -> Outcome:
        return Outcome(job.index, error=str(error))


class AddsNothingForTheDead(TakesADeathForAnError):
    fails = "test_sum_with_a_dead_worker_is_right_or_lost"

    def instead(self, task: Task, job: Job, error: Exception) -> Outcome:
        if isinstance(task, FoldTask):
            return Outcome(job.index, Partial(len(job.payload), np.zeros(40, np.float32)))
        return Outcome(job.index, lost=True)


class CallsUnportableAFailure(Pool):
    fails = "test_what_cannot_travel_says_so"

    def unportable(self, job: Job, error: Exception) -> Outcome:
        return Outcome(job.index, error=str(error))


class AnswersForNobody(Pool):
    """Where the worker could not load the job, and so does not know its number."""

    fails = "test_what_does_not_load_on_a_worker_says_so"

    def outcome(self, future: Future[bytes], job: Job) -> Outcome:
        outcome = super().outcome(future, job)
        return outcome if future.exception() is None else replace(outcome, index=-1)


class LetsOutWhatDoesNotLoadHere(Pool):
    fails = "test_result_that_cannot_travel_is_an_error"

    def outcome(self, future: Future[bytes], job: Job) -> Any:
        return super().outcome(future, job) if future.exception() is not None else cloudpickle.loads(future.result())


# -- the kit on each of them -------------------------------------------------------------------------


class KitOnBrokenExecutor(ExecutorContract):
    kind: ClassVar[type[Executor]]
    patience = 1.0

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return self.kind


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


ALL: dict[str, Any] = {kind.__name__: kind for kind in _subclasses(Executor) if hasattr(kind, "fails")}
for kind_name, kind in ALL.items():
    globals()[f"Test{kind_name}"] = type(f"Test{kind_name}", (KitOnBrokenExecutor,), {"kind": kind})


class TestKnownGap(KitOnBrokenExecutor):
    kind = LetsTasksEditConstants
    known_gaps: ClassVar = {"test_task_cannot_edit_a_constant": "arrays of this engine are always writable"}


class TestGapThatIsClosed(KitOnBrokenExecutor):
    kind = SerialExecutor
    known_gaps: ClassVar = {"test_no_blocks_is_no_work": "was so once"}
