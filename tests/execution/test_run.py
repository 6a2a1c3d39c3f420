import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recscale_dask.errors import BlockFailed, ExecutorUnavailable, IncompleteRun, TaskNotPortable, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Job, Outcome
from recscale_dask.execution.events import BlockDone, Event, RunFinished, RunStarted
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import LocalBroadcast, SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.testing import tasks
from recscale_dask.types import Combine, Task

Round = Callable[[list[Job]], Iterable[Outcome]]


class Scripted(SerialExecutor):
    """Takes all jobs of a round and answers as the script says; the last entry is used from then on."""

    name = "scripted"

    def __init__(self, *script: Round, capabilities: Capabilities | None = None) -> None:
        self.script = list(script)
        self.asked: list[list[int]] = []
        self.capabilities = capabilities or Capabilities()

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        taken = list(jobs)
        self.asked.append([job.index for job in taken])
        yield from self.script[min(len(self.asked), len(self.script)) - 1](taken)


def answer(jobs: list[Job]) -> list[Outcome]:
    return [Outcome(job.index, job.payload) for job in jobs]


def nothing(jobs: list[Job]) -> list[Outcome]:
    return []


def losing(*lost: int) -> Round:
    return lambda jobs: [Outcome(job.index, job.payload, lost=job.index in lost) for job in jobs]


def failing(*bad: int) -> Round:
    return lambda jobs: [
        Outcome(job.index, job.payload, error="ValueError: planted" if job.index in bad else None, traceback="tb")
        for job in jobs
    ]


# -- order and completeness --------------------------------------------------------------------------


def test_results_come_in_block_order_whatever_the_order_of_answers() -> None:
    executor = Scripted(lambda jobs: answer(jobs)[::-1])
    assert list(map_blocks(executor, tasks.echo, "abcdef")) == list("abcdef")


def test_results_come_as_soon_as_all_before_them_are_there() -> None:
    given: list[int] = []

    def out_of_order(jobs: list[Job]) -> Iterator[Outcome]:
        for index in (1, 0, 3, 2):
            given.append(index)
            yield Outcome(index, index)

    results = map_blocks(Scripted(out_of_order), tasks.echo, range(4))
    assert next(results) == 0
    assert given == [1, 0]
    assert list(results) == [1, 2, 3]


def test_missing_answer_is_an_error_that_names_the_block() -> None:
    executor = Scripted(lambda jobs: answer(jobs)[:3] + answer(jobs)[4:])
    with pytest.raises(IncompleteRun, match=r"no answer for block 3 \(1 missing\)"):
        list(map_blocks(executor, tasks.echo, range(6)))


@pytest.mark.parametrize("index", [0, 99], ids=["answered twice", "never asked"])
def test_answer_too_many_is_an_error(index: int) -> None:
    executor = Scripted(lambda jobs: [*answer(jobs), Outcome(index, 0)])
    with pytest.raises(IncompleteRun, match=f"block {index}"):
        list(map_blocks(executor, tasks.echo, range(3)))


@pytest.mark.timeout(20)
def test_block_that_failed_and_is_then_forgotten_is_an_error_not_an_endless_loop() -> None:
    executor = Scripted(failing(2), nothing)
    with pytest.raises(IncompleteRun, match="no answer for block 2"):
        list(map_blocks(executor, tasks.echo, range(4)))


class TakesNothing(SerialExecutor):
    """As a cluster with no worker left, whose parallelism of 0 lets nothing in."""

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        return iter(())


@pytest.mark.timeout(20)
def test_executor_that_takes_no_block_is_an_error_not_an_endless_loop() -> None:
    with pytest.raises(IncompleteRun, match="before the last block"):
        list(map_blocks(TakesNothing(), tasks.echo, range(4)))


def test_sum_over_too_few_blocks_is_an_error() -> None:
    class LosesTheLast(SerialExecutor):
        capabilities = Capabilities(folds=True)

        def fold(
            self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]
        ) -> Outcome:
            first, *_ = self.outcomes(task, jobs, constants)
            return first

    with pytest.raises(IncompleteRun, match="added up 1 of 5 blocks"):
        fold_blocks(LosesTheLast(), tasks.echo, range(5))


# -- retries -----------------------------------------------------------------------------------------


def test_failed_blocks_are_run_again_and_no_others() -> None:
    executor = Scripted(failing(1, 4), failing(4), answer)
    assert list(map_blocks(executor, tasks.echo, range(6))) == list(range(6))
    assert executor.asked == [[0, 1, 2, 3, 4, 5], [1, 4], [4]]


def test_block_that_fails_too_often_is_named_with_its_error_and_traceback() -> None:
    executor = Scripted(failing(2))
    with pytest.raises(
        BlockFailed, match=r"my run: block 2 failed 3 times .*'scripted': ValueError: planted"
    ) as caught:
        list(map_blocks(executor, tasks.echo, range(4), label="my run"))
    assert caught.value.index == 2
    assert caught.value.remote_traceback == "tb"
    assert len(executor.asked) == 3


def test_unportable_block_is_not_tried_again() -> None:
    executor = Scripted(lambda jobs: [Outcome(0, error="TypeError: no", portable=False)])
    with pytest.raises(TaskNotPortable, match="block 0 cannot be sent"):
        list(map_blocks(executor, tasks.echo, range(2)))
    assert len(executor.asked) == 1


def test_failed_sum_names_the_run_of_blocks_and_its_first() -> None:
    executor = Scripted(failing(1), capabilities=Capabilities(isolated=True))
    with pytest.raises(BlockFailed, match="one of blocks 4 to 7 failed 1 times") as caught:
        fold_blocks(executor, tasks.echo, range(8), retries=0)
    assert caught.value.index == 4


def test_constant_that_does_not_pickle_is_named() -> None:
    class Exchanging(SerialExecutor):
        def broadcast(self, value: Any) -> Broadcast:
            exchange = Exchange()
            try:
                return exchange.put(value)
            finally:
                exchange.close()

    with pytest.raises(TaskNotPortable, match=r"constant 'factor' cannot be sent .*'serial': TypeError"):
        list(map_blocks(Exchanging(), tasks.scaled, [1], {"factor": threading.Lock()}))


# -- lost workers ------------------------------------------------------------------------------------


def test_lost_blocks_are_run_again_and_no_others() -> None:
    executor = Scripted(losing(0, 3), losing(3), answer)
    assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))
    assert executor.asked == [[0, 1, 2, 3, 4], [0, 3], [3]]


def test_blocks_without_an_answer_are_run_again_after_a_worker_was_lost() -> None:
    def dies_after_two(jobs: list[Job]) -> Iterator[Outcome]:
        yield from answer(jobs)[:2]
        raise WorkerLost("gone")

    executor = Scripted(dies_after_two)
    assert list(map_blocks(executor, tasks.echo, range(5), retries=0)) == list(range(5))
    assert executor.asked == [[0, 1, 2, 3, 4], [2, 3, 4], [4]]


def test_rounds_without_any_progress_end_in_worker_lost() -> None:
    executor = Scripted(losing(1))
    with pytest.raises(WorkerLost, match=r"died 3 times in a row .*block 1 died.*executor='threads'"):
        list(map_blocks(executor, tasks.echo, range(3)))
    assert executor.asked == [[0, 1, 2], [1], [1], [1]]


def test_reason_of_a_lost_worker_is_told() -> None:
    executor = Scripted(lambda jobs: [Outcome(job.index, error="no such module", lost=True) for job in jobs])
    with pytest.raises(WorkerLost, match=r"the worker that ran block \d died: no such module\)"):
        list(map_blocks(executor, tasks.echo, range(2)))


def test_open_executor_is_not_opened_again() -> None:
    with SerialExecutor() as executor:
        with pytest.raises(ExecutorUnavailable, match="executor 'serial' is open already"), executor:
            pass
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
    with executor:  # but after it was closed
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


def test_error_at_the_start_comes_through_whatever_a_subclass_does_at_the_end() -> None:
    class Unavailable(SerialExecutor):
        def start(self) -> None:
            raise ExecutorUnavailable("no cluster today")

        def __exit__(self, kind: object, error: object, traceback: object) -> None:
            self.stop()

    with pytest.raises(ExecutorUnavailable, match="no cluster today"), Unavailable():
        pass


def test_fork_is_told_to_open_an_executor_of_its_own(tmp_path: Path) -> None:
    with ThreadsExecutor(2) as executor:
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                list(map_blocks(executor, tasks.echo, range(3)))
            except ExecutorUnavailable as error:
                (tmp_path / "told").write_text(str(error))
            os._exit(0)
        os.waitpid(child, 0)
    assert "of which this one is a fork. Open one here" in (tmp_path / "told").read_text()


def test_lost_worker_of_a_sum_on_workers_starts_it_again() -> None:
    class DiesOnce(SerialExecutor):
        capabilities = Capabilities(folds=True)
        calls = 0

        def fold(
            self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]
        ) -> Outcome:
            self.calls += 1
            if self.calls == 1:
                raise WorkerLost("gone")
            total = fold_blocks(SerialExecutor(), task, [job.payload for job in jobs], combine=combine)
            return Outcome(0, total)

    executor = DiesOnce()
    assert fold_blocks(executor, tasks.echo, range(7)) == 21
    assert executor.calls == 2
    with pytest.raises(WorkerLost, match="died 1 times"):
        fold_blocks(DiesOnce(), tasks.echo, range(7), retries=0)


# -- flow and cleaning up ----------------------------------------------------------------------------


def test_blocks_are_taken_one_at_a_time() -> None:
    taken = []

    def blocks() -> Iterator[int]:
        for block in range(10):
            taken.append(block)
            yield block

    results = map_blocks(SerialExecutor(), tasks.echo, blocks())
    assert taken == []
    assert [next(results), next(results)] == [0, 1]
    assert taken == [0, 1]
    results.close()  # type: ignore[attr-defined]


class Counting(SerialExecutor):
    """Counts the constants that are not released, and whether outcomes were closed."""

    def __init__(self) -> None:
        self.held = 0
        self.closed = 0

    def broadcast(self, value: Any) -> Broadcast:
        executor = self
        executor.held += 1

        class Counted(LocalBroadcast):
            def release(self) -> None:
                executor.held -= 1

        return Counted(value)

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        try:
            yield from super().outcomes(task, jobs, constants)
        finally:
            self.closed += 1


def test_constants_are_released_at_the_end() -> None:
    executor = Counting()
    results = map_blocks(executor, tasks.scaled, range(3), {"factor": 2})
    assert next(results) == 0
    assert executor.held == 1
    assert list(results) == [2, 4]
    assert executor.held == 0


def test_constants_are_released_after_an_error() -> None:
    executor = Counting()
    with pytest.raises(BlockFailed):
        list(map_blocks(executor, tasks.scaled, [object()], {"factor": 2}))
    with pytest.raises(BlockFailed):
        fold_blocks(executor, tasks.scaled, [object()], {"factor": 2})
    assert executor.held == 0


def test_constants_are_released_and_work_cancelled_when_the_consumer_stops() -> None:
    executor = Counting()
    results = map_blocks(executor, tasks.scaled, range(30), {"factor": 2})
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert (executor.held, executor.closed) == (0, 1)


def test_work_is_cancelled_when_the_sum_fails_here() -> None:
    def cannot_add(left: Any, right: Any) -> Any:
        raise FloatingPointError("planted")

    executor = Counting()
    with pytest.raises(FloatingPointError) as caught:
        fold_blocks(executor, tasks.echo, range(30), combine=cannot_add)
    assert executor.closed == 1, caught  # while the traceback still holds the frames


def test_constants_that_were_sent_before_stay_the_callers() -> None:
    executor = Counting()
    sent = executor.broadcast(3)
    assert list(map_blocks(executor, tasks.scaled, range(3), {"factor": sent})) == [0, 3, 6]
    assert executor.held == 1


def test_sum_does_not_write_into_the_callers_blocks() -> None:
    blocks = [np.full(3, float(i)) for i in range(4)]
    for _ in range(2):
        assert fold_blocks(SerialExecutor(), tasks.echo, blocks).tolist() == [6, 6, 6]
    assert blocks[0].tolist() == [0, 0, 0]


def test_sum_of_no_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="no blocks to add up"):
        fold_blocks(SerialExecutor(), tasks.echo, [])


# -- events ------------------------------------------------------------------------------------------


def test_events_count_each_block_once_whatever_was_retried() -> None:
    events: list[Event] = []
    list(map_blocks(Scripted(failing(1), losing(1), answer), tasks.echo, range(3), observer=events.append, label="x"))
    assert events[0] == RunStarted(label="x", executor="scripted", n_blocks=3)
    assert [event.index for event in events if isinstance(event, BlockDone)] == [0, 2, 1]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].n_blocks, events[-1].error) == (3, None)


def test_events_of_a_failed_run_end_with_its_error() -> None:
    events: list[Event] = []
    with pytest.raises(BlockFailed):
        list(map_blocks(Scripted(failing(1)), tasks.echo, range(3), observer=events.append, retries=0))
    assert isinstance(events[-1], RunFinished)
    assert events[-1].error is not None
    assert events[-1].error.startswith("BlockFailed: map: block 1 failed")


def test_number_of_blocks_of_a_generator_may_be_told() -> None:
    events: list[Event] = []
    list(map_blocks(SerialExecutor(), tasks.echo, iter(range(3)), total=3, observer=events.append))
    list(map_blocks(SerialExecutor(), tasks.echo, iter(range(3)), observer=events.append))
    assert [event.n_blocks for event in events if isinstance(event, RunStarted)] == [3, None]
