"""The executor that runs one block after another in this process: the reference for all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from recscale_dask.execution.contract import Broadcast, Executor, Job, Outcome
from recscale_dask.execution.portable import run_job
from recscale_dask.types import Task


class LocalBroadcast(Broadcast):
    """A constant of this process: the very object."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def load(self) -> Any:
        """Return the object."""
        return self._value

    def release(self) -> None:
        """Forget the object."""
        self._value = None


class SerialExecutor(Executor):
    """Runs one block after another in this process."""

    name = "serial"

    @property
    def parallelism(self) -> int:
        """One."""
        return 1

    def broadcast(self, value: Any) -> Broadcast:
        """Return a handle on the value itself."""
        return LocalBroadcast(value)

    def check_process(self) -> None:
        """Do nothing: blocks run wherever it is called."""

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield each outcome as it is computed."""
        for job in jobs:
            yield run_job(task, job, constants)
