"""What an executor is: a few small things to implement; order, retries and progress belong to the core.

Third parties subclass `Executor`, register an ``ExecutorSpec`` through the hook
``recscale_register_executors`` and run ``recscale_dask.testing.ExecutorContract`` as their test.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from recscale_dask.errors import ExecutorUnavailable, error_text
from recscale_dask.types import Combine, Task

CONTRACT = 1
"""The version of this contract; an executor of another one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the core needs to know of an executor; a flag exists only if something branches on it.

    Attributes
    ----------
    isolated : bool
        Tasks run in other processes: blocks are placed there once before the first pass.
    shared_files : bool
        Every worker reads the driver's temporary files: blocks are placed as memory-mapped files.
        Otherwise they travel through `Executor.place`.
    folds : bool
        `Executor.fold` adds up on the workers.
    """

    isolated: bool = False
    shared_files: bool = False
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work.

    Attributes
    ----------
    index : int
        Its number, from 0, unique within a run.
    payload : object
        What the task gets first. A `Recipe` (such as a block source or a `Broadcast`) is loaded on
        the worker. In a fold, a tuple of payloads, loaded one at a time.
    """

    index: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one job: a value, an error as data, or the news that its worker died.

    Attributes
    ----------
    index : int
        Number of the job.
    value : object
        What the task returned.
    error : str or None
        ``"ValueError: ..."`` if the task raised.
    traceback : str
        The worker's traceback as text.
    portable : bool
        False if the task or its payload could not be sent at all.
    lost : bool
        The worker died before it answered; the core runs the job again.
    seconds : float
        Time spent in the task.
    """

    index: int
    value: Any = None
    error: str | None = None
    traceback: str = ""
    portable: bool = True
    lost: bool = False
    seconds: float = 0.0


def unportable(index: int, error: BaseException, what: str = "") -> Outcome:
    """Return the outcome of a job that cannot be sent, or whose result cannot come back; `what` may say which."""
    return Outcome(index, error=f"{what and f'{what}: '}{error_text(error)}", portable=False)


class Broadcast(ABC):
    """A big constant that was sent once; picklable, and a `Recipe`: ``load()`` gives it on the worker."""

    @abstractmethod
    def load(self) -> Any:
        """Return the value on the worker, read-only, without copying it again."""

    @abstractmethod
    def release(self) -> None:
        """Free the value everywhere; called on the driver, may be called twice."""


class Executor(ABC):
    """Runs pure tasks on jobs, somewhere.

    The constructor only stores; `start` acts. Used as a context manager; it may be opened again after
    it was closed, but not before. `outcomes`, `fold` and `broadcast` may be called by several threads at once, as an
    executor that is open may serve several calls.
    """

    contract: ClassVar[int] = CONTRACT
    name: str = "executor"
    capabilities: Capabilities = Capabilities()
    _process: int | None = None  # where it is open
    label: str = ""
    """What the core has it run now, such as ``"svd pass 3"``, for engines with pages that show work by name."""

    def start(self) -> None:  # noqa: B027 -- nothing to start is a valid executor
        """Acquire processes or connections.

        Raises
        ------
        ExecutorUnavailable
            If that fails; within seconds, saying what to do.
        """

    def stop(self) -> None:  # noqa: B027
        """Release everything that `start` acquired, temporary files too; may be called twice."""

    def not_open(self) -> ExecutorUnavailable:
        """Return the error of a call before `start` or after `stop`."""
        return ExecutorUnavailable(
            f"executor {self.name!r} is not open. Use it in a `with` statement, or give its name to have it opened "
            "for one call."
        )

    def __enter__(self) -> Self:
        if self._process == os.getpid():
            raise ExecutorUnavailable(
                f"executor {self.name!r} is open already. Use it as it is; whoever opened it closes it."
            )
        self._process = os.getpid()
        try:
            self.start()
        except BaseException:
            self._process = None
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process = None
        self.stop()

    def check_process(self) -> None:
        """Raise an ExecutorUnavailable in a fork of the process that opened it, where nobody would ever answer."""
        if self._process not in (None, os.getpid()):
            raise ExecutorUnavailable(
                f"executor {self.name!r} was opened in process {self._process}, of which this one is a fork. Open one "
                "here, after the fork."
            )

    @property
    @abstractmethod
    def parallelism(self) -> int:
        """How many tasks run at once, at least 1; may change while a cluster grows."""

    @abstractmethod
    def broadcast(self, value: Any) -> Broadcast:
        """Send a big constant once to every worker.

        An array reaches tasks read-only; arrays inside other records are protected by who makes those,
        as `recscale_dask.data.blocks.Block` does.
        """

    def place(self, value: Any) -> Broadcast:
        """Send one block to where it will be used, again and again; by default to every worker.

        Only called if workers do not share the driver's files.
        """
        return self.broadcast(value)

    @abstractmethod
    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield one `Outcome` per job, in any order.

        Takes the next job from `jobs` only while fewer than ``2 * parallelism`` are in flight. Closing
        the iterator cancels what has not run. It may be called again while an earlier iterator is not at its
        end: each gives the answers of its own jobs. On the worker, each job goes through
        `recscale_dask.execution.portable.run_job`.

        Raises
        ------
        WorkerLost
            If workers died; the core asks again for the jobs without an answer.
        """

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up the results of `jobs` on the workers, in the tree of `portable.fold_tree`.

        Only called if ``capabilities.folds``. An error of one job is the error of the outcome.
        """
        raise NotImplementedError(f"{self.name} does not add up on its workers")
