"""Errors are told, with their block and the worker's traceback; nothing hides their cause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recscale_dask.errors import BlockFailed, ExecutorUnavailable, TaskNotPortable
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures, needs_isolation


class ErrorsContract(ExecutorFixtures):
    """What a user reads when something failed."""

    @pytest.mark.parametrize("error", [ValueError, LookupError, StopIteration])
    def test_error_names_its_block(self, executor: Executor, error: type[Exception]) -> None:
        with pytest.raises(BlockFailed, match=f"block 5 .*{error.__name__}: planted") as caught:
            list(map_blocks(executor, tasks.FailOn(5, error), range(8), retries=0))
        assert caught.value.index == 5
        told = caught.value.remote_traceback
        assert "FailOn" in told or "tasks.py" in told, (
            f"the outcome of a failed block has the traceback {told!r}; expected the worker's, as text, that names the "
            "line of the task: run_job of recscale_dask.execution.portable makes it"
        )

    def test_error_that_cannot_be_pickled_names_its_block(self, executor: Executor) -> None:
        with pytest.raises(BlockFailed, match=r"block 3 .*UnpicklableError: planted"):
            list(map_blocks(executor, tasks.FailOn(3, tasks.UnpicklableError), range(8), retries=0))

    def test_error_in_a_sum_says_what_happened(self, executor: Executor) -> None:
        with pytest.raises(BlockFailed, match="ZeroDivisionError: planted"):
            fold_blocks(executor, tasks.FailOn(5, ZeroDivisionError), range(8), retries=0)

    def test_error_in_reading_blocks_comes_through(self, executor: Executor) -> None:
        def blocks() -> Iterator[int]:
            yield from range(5)
            raise tasks.UnreadableError("planted: block 5 cannot be read")

        with pytest.raises(tasks.UnreadableError, match="planted"):
            list(map_blocks(executor, tasks.echo, blocks()))
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]

    @pytest.mark.parametrize("what", ["task", "block", "constant"])
    def test_what_cannot_travel_says_so(self, executor: Executor, what: str) -> None:
        needs_isolation(executor)
        task: Any = tasks.Unportable() if what == "task" else tasks.echo
        blocks: list[Any] = [0, 1, tasks.Unportable() if what == "block" else 2, 3]
        constants = {"factor": tasks.Unportable()} if what == "constant" else {}
        with pytest.raises(TaskNotPortable, match="planted: this cannot be pickled"):
            list(map_blocks(executor, tasks.scaled if constants else task, blocks, constants))

    @pytest.mark.parametrize("what", ["task", "block"])
    def test_what_does_not_load_on_a_worker_says_so(self, executor: Executor, what: str) -> None:
        needs_isolation(executor)
        task: Any = tasks.Unloadable() if what == "task" else tasks.echo
        blocks: list[Any] = [0, 1, tasks.Unloadable() if what == "block" else 2, 3]
        named = "block 2 " if what == "block" else r"block \d "
        with pytest.raises(TaskNotPortable, match=f"{named}.*planted: this cannot be loaded"):
            list(map_blocks(executor, task, blocks))
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]

    @pytest.mark.parametrize("kind", [tasks.Unportable, tasks.Unloadable, tasks.LargeUnloadable])
    def test_result_that_cannot_travel_is_an_error(self, executor: Executor, kind: type[tasks.Unportable]) -> None:
        needs_isolation(executor)
        with pytest.raises((BlockFailed, TaskNotPortable), match="block 2 "):
            list(map_blocks(executor, tasks.UnportableResultOn(2, kind), range(4), retries=0))
        assert list(map_blocks(executor, tasks.echo, range(30))) == list(range(30))  # on every worker

    def test_closed_executor_works_or_says_that_it_is_closed(self, unopened: Executor) -> None:
        for constants in ({}, {"factor": 1}):
            try:
                found = list(map_blocks(unopened, tasks.scaled if constants else tasks.echo, range(3), constants))
            except ExecutorUnavailable:
                continue
            except Exception as error:
                pytest.fail(
                    f"an executor that is not open answered with {type(error).__name__}: {error} Expected "
                    "ExecutorUnavailable: raise self.not_open() in broadcast() and outcomes()"
                )
            assert found == [0, 1, 2]
