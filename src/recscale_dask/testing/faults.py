"""Faults on purpose: a table says on which attempt which block sleeps, raises, kills its worker, answers twice or late.

A task with faults, for a run of one's own::

    task = FaultyTask((Fault(3, "kill"),), task, folder)

A whole executor, for anything that runs on it::

    with FaultyExecutor(SparkExecutor(), (Fault(3, "raise"), Fault(5, "kill", attempt=4)), folder) as executor:
        model = rs.factorize(matrix, rank=16, executor=executor)

Attempts are counted by files in a folder that all workers see, made with ``O_EXCL``: right however many count at once.
On workers elsewhere that is a folder of a shared disk; without, only faults at every attempt, ``attempt=None``, work.
"""

from __future__ import annotations

import itertools
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from recscale_dask.checks import is_number, whole_number
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.portable import load, read_only, run_job, task_name
from recscale_dask.types import Combine, Task

FaultKind: TypeAlias = Literal["raise", "sleep", "late", "freeze", "kill", "twice"]

_FATAL = ("freeze", "kill")
_KINDS = FaultKind.__args__  # type: ignore[attr-defined]


class PlantedError(Exception):
    """What a block raises that has the fault ``"raise"``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the table.

    Attributes
    ----------
    block : int
        Number of the block; on a `FaultyExecutor` that of the job, which in a sum may be a group of blocks.
    kind : str
        ``"raise"`` raises a `PlantedError`; ``"sleep"`` waits before the work and ``"late"`` between work and answer;
        ``"freeze"`` stops the worker's process as a whole, which goes on later; ``"kill"`` ends it by a signal that no
        handler sees; ``"twice"`` answers twice, on a `FaultyExecutor` only.
    attempt : int or None
        On which attempt at the block, from 1; None on each. On a `FaultyExecutor` attempts are counted over all
        runs: the third is, without other faults, the third pass of a fit.
    seconds : float
        How long it sleeps, is late or frozen.
    """

    block: int
    kind: FaultKind
    attempt: int | None = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise OptionError(f"a fault is one of {', '.join(_KINDS)}; got {self.kind!r}")
        whole_number(self.block, "block", at_least=0)
        if self.attempt is not None:
            whole_number(self.attempt, "attempt")
        if not is_number(self.seconds) or not self.seconds >= 0:
            raise OptionError(f"seconds must be 0 or more; got seconds={self.seconds!r}")


@dataclass(frozen=True)
class FaultyTask:
    """A task with faults; its payload is the number of the block.

    Attributes
    ----------
    faults : tuple of Fault
        The table.
    task : callable
        What is to be done.
    folder : path or None
        Where attempts are counted, an empty folder that all workers see; None if each fault is for every attempt.
    number : callable
        Returns the number of the block from the payload, if that is not the number itself.
    driver : tuple
        Machine and process where no worker may be killed.
    """

    faults: tuple[Fault, ...]
    task: Task
    folder: str | os.PathLike[str] | None = None
    number: Callable[[Any], int] = int
    driver: tuple[str, int] = field(default_factory=lambda: _this_process())

    def __post_init__(self) -> None:
        if self.folder is None and any(fault.attempt is not None for fault in self.faults):
            raise OptionError("faults at certain attempts need a folder that all workers see; give folder=")
        if self.folder is not None and not os.path.isdir(self.folder):
            raise OptionError(f"attempts are counted in a folder, and {os.fspath(self.folder)!r} is none. Create it.")

    @property
    def __name__(self) -> str:
        """That of what is to be done, for pages of engines."""
        return task_name(self.task)

    def __call__(self, payload: Any, **constants: Any) -> Any:
        """Count the attempt, fail as the table says, or do the work."""
        block = self.number(payload)
        attempt = None if self.folder is None else _count(Path(self.folder), block)
        now = [fault for fault in self.faults if fault.block == block and fault.attempt in (None, attempt)]
        for fault in now:
            self._happen(fault)
        result = self.task(payload, **constants)
        time.sleep(sum(fault.seconds for fault in now if fault.kind == "late"))
        return result

    def _happen(self, fault: Fault) -> None:
        if fault.kind == "raise":
            raise PlantedError(f"planted: block {fault.block}")
        if fault.kind == "sleep":
            time.sleep(fault.seconds)
        if fault.kind in _FATAL:
            if _this_process() == self.driver:
                raise RuntimeError("this executor says that it is isolated, but ran a task in the driver")
            if fault.kind == "freeze":
                _freeze(fault.seconds)
            else:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
                time.sleep(60)


def attempts(folder: str | os.PathLike[str]) -> Counter[int]:
    """Return how often each block was started, by the marks in the folder."""
    return Counter(int(mark.name.partition("-")[0]) for mark in Path(folder).iterdir())


def missed(faults: Iterable[Fault], folder: str | os.PathLike[str]) -> list[Fault]:
    """Return the faults that did not happen, as there was no such block or attempt: of these nothing was tested."""
    counted = attempts(folder)
    return [fault for fault in faults if counted[fault.block] < (fault.attempt or 1)]


class FaultyExecutor(Executor):
    """An executor whose jobs meet faults; all else is that of the executor inside.

    Parameters
    ----------
    inner : Executor
        Opened and closed with this one.
    faults : iterable of Fault
        The table.
    folder : path or None
        As for a `FaultyTask`.
    """

    def __init__(self, inner: Executor, faults: Iterable[Fault], folder: str | os.PathLike[str] | None = None) -> None:
        self._inner = inner
        self._faults = tuple(faults)
        self._folder = folder
        self._attempts: Counter[int] = Counter()

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the executor inside, so that messages are the same."""
        return self._inner.name

    @property
    def label(self) -> str:
        """That of the executor inside, whose engine shows it."""
        return self._inner.label

    @label.setter
    def label(self, label: str) -> None:
        self._inner.label = label

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Those of the executor inside."""
        return self._inner.capabilities

    def start(self) -> None:
        """Open the executor inside.

        Raises
        ------
        OptionError
            If its workers are to be killed or frozen, and it runs tasks in this process.
        """
        self._planted(run_job)  # a table that cannot work is told before anything starts
        self._inner.__enter__()
        if not self.capabilities.isolated and (fatal := [each for each in self._faults if each.kind in _FATAL]):
            raise OptionError(
                f"executor {self.name!r} runs tasks in this process, where {fatal[0].kind!r} cannot be tried. Take one "
                "with processes of its own."
            )

    def stop(self) -> None:
        """Close the executor inside."""
        self._inner.__exit__()

    @property
    def parallelism(self) -> int:
        """That of the executor inside."""
        return self._inner.parallelism

    def broadcast(self, value: Any) -> Broadcast:
        """Send it as the executor inside does."""
        return self._inner.broadcast(value)

    def place(self, value: Any) -> Broadcast:
        """Place it as the executor inside does."""
        return self._inner.place(value)

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield the outcomes of jobs with faults."""
        for outcome in self._inner.outcomes(self._planted(task), map(_numbered, jobs), constants):
            yield outcome
            self._attempts[outcome.index] += 1
            if self._twice(outcome.index):
                yield outcome

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up jobs with faults; one that answers twice is added twice."""
        jobs = list(jobs)
        self._attempts.update(job.index for job in jobs)
        again = [job for job in jobs if self._twice(job.index)]
        # Under numbers of their own, so that they are no attempts at the jobs.
        copies = [Job(number, job.payload) for number, job in enumerate(again, len(jobs))]
        return self._inner.fold(self._planted(task), combine, list(map(_numbered, jobs + copies)), constants)

    def _twice(self, index: int) -> bool:
        now = (None, self._attempts[index])
        return any(each.kind == "twice" and each.block == index and each.attempt in now for each in self._faults)

    def _planted(self, task: Task) -> FaultyTask:
        faults = tuple(fault for fault in self._faults if fault.kind != "twice")
        return FaultyTask(faults, _OnNumbered(task), self._folder, _number_of)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A payload with the number of its job; a recipe if the payload is one."""

    number: int
    payload: Any

    def load(self) -> _Numbered:
        return _Numbered(self.number, read_only(load(self.payload)))


@dataclass(frozen=True, slots=True)
class _OnNumbered:
    """A task on what is in a numbered payload."""

    task: Task

    @property
    def __name__(self) -> str:
        return task_name(self.task)

    def __call__(self, numbered: _Numbered, **constants: Any) -> Any:
        return self.task(numbered.payload, **constants)


def _numbered(job: Job) -> Job:
    return Job(job.index, _Numbered(job.index, job.payload))


def _number_of(numbered: _Numbered) -> int:
    return numbered.number


def _this_process() -> tuple[str, int]:
    return platform.node(), os.getpid()


def _count(folder: Path, block: int) -> int:
    """Return which attempt at the block this is, from 1, and leave a mark of it."""
    for attempt in itertools.count(1):
        try:
            os.close(os.open(folder / f"{block}-{attempt}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        return attempt
    raise AssertionError("unreachable")


def _freeze(seconds: float) -> None:
    """Stop this process; another one lets it go on."""
    code = f"import os, signal, time; time.sleep({seconds}); os.kill({os.getpid()}, signal.SIGCONT)"
    subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)
