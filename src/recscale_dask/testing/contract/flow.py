"""Jobs are taken as there is room, stop when nobody wants them, and are told of as they are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from recscale_dask.execution.contract import Executor, Job
from recscale_dask.execution.events import BlockDone, Event, RunFinished, RunStarted
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures, outcomes_of
from recscale_dask.testing.faults import attempts


class FlowContract(ExecutorFixtures):
    """How work flows."""

    def test_at_most_twice_parallelism_in_flight(self, executor: Executor) -> None:
        taken, answered, most = 0, 0, 0
        allowed = 2 * executor.parallelism

        def jobs() -> Iterator[Job]:
            nonlocal taken, most
            for index in range(5 * allowed + 10):
                taken += 1
                most = max(most, taken - answered)
                yield Job(index, index)

        for _ in outcomes_of(executor, tasks.echo_late_ones_first, jobs(), {}):
            answered += 1
        assert answered == taken
        assert most <= allowed, (
            f"{most} jobs were under way at once; expected at most {allowed}, twice the parallelism: take the next job "
            "only while fewer are in flight, for blocks may be large, and there may be millions"
        )

    def test_closing_early_stops_the_rest(self, unopened: Executor, marks: Path) -> None:
        with unopened as executor:
            n_blocks = 10 * executor.parallelism + 20
            jobs = (Job(index, index) for index in range(n_blocks))
            outcomes = outcomes_of(executor, tasks.LeaveMark(marks, 0.02), jobs, {})
            with closing(outcomes):
                next(outcomes)
        n_run = sum(attempts(marks).values())
        assert n_run < n_blocks // 2, (
            f"{n_run} of {n_blocks} jobs ran although the iterator was closed after the first answer; expected fewer "
            f"than {n_blocks // 2}: cancel in the `finally` of outcomes() what has not run, and take no more jobs"
        )

    def test_serves_after_closing_early(self, executor: Executor) -> None:
        outcomes = map_blocks(executor, tasks.echo, range(50))
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
