"""What the tests of executors share: opened executors, a folder for marks, a class's own temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recscale_dask.execution.contract import Broadcast, Executor, Job, Outcome
from recscale_dask.testing.known_gaps import KnownGaps
from recscale_dask.testing.leftovers import private_temporary_folder
from recscale_dask.testing.process_state import ProcessState
from recscale_dask.types import Task

BIG_BYTES = 50_000_000
"""Size of constants that must not be copied again and again."""


class ExecutorFixtures(KnownGaps):
    """Base of all tests of executors.

    Attributes
    ----------
    patience : float
        Seconds that the executor may take to free memory, files, threads and processes.
    """

    patience: ClassVar[float] = 10.0

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
    def process_before(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessState]:
        """Return the state of the process before the first executor of a class, in a temporary folder of its own."""
        tmp_path_factory.getbasetemp()  # pytest's own folder outlives the class
        with private_temporary_folder():
            yield ProcessState.now()

    @pytest.fixture(scope="class")
    @classmethod
    def _open_one(cls, process_before: ProcessState) -> Iterator[list[Executor]]:
        opened: list[Executor] = []
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


def needs_isolation(executor: Executor) -> None:
    """Skip a test that is about workers in other processes."""
    if not executor.capabilities.isolated:
        pytest.skip(f"executor {executor.name!r} runs tasks in this process")


def outcomes_of(executor: Executor, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Any:
    """Return what `Executor.outcomes` gives, which has to be an iterator that can be closed."""
    found: Iterator[Outcome] = executor.outcomes(task, jobs, constants)
    assert hasattr(found, "__next__"), (
        f"outcomes() returned a {type(found).__name__}; expected an iterator that runs jobs as it is asked for more: "
        "make it a generator, and yield each outcome as it comes"
    )
    assert hasattr(found, "close"), (
        f"outcomes() returned a {type(found).__name__} without close(), by which the core says that nobody wants the "
        "rest: make it a generator, with what cancels in a `finally`"
    )
    return found
