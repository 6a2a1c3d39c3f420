"""What travels while a job runs: bytes over TCP, bytes that the driver writes and reads, tasks and graphs of Dask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, SchedulerPlugin

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.events import Event, Observer, RunFinished, RunStarted


@dataclass(frozen=True, slots=True)
class Pass:
    """One run over the blocks.

    Attributes
    ----------
    n_blocks : int
        Of the run.
    n_tasks, graph_bytes : int
        Of Dask: tasks that its scheduler was asked for, and bytes that the client sent it meanwhile, which are
        graphs and little else. 0 on other executors.
    """

    n_blocks: int
    n_tasks: int
    graph_bytes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was moved.

    Attributes
    ----------
    tcp : int
        Bytes over this machine's loopback interface, each counted once: what driver, engine and workers said
        to one another over TCP. So it is at least what went over TCP through the driver; other programs of a machine
        that is not quiet are in it too.
    written, read : int
        Bytes that the driver's process itself wrote and read with system calls for files and pipes: messages of
        pools, and the mapped files that it wrote for its workers. Files that are mapped cost no call to read, and
        Ray's shared memory none either way.
    passes : tuple of Pass
        One for each run over the blocks.
    """

    tcp: int
    written: int
    read: int
    passes: tuple[Pass, ...]

    @property
    def tasks_per_block(self) -> float:
        """The most tasks for a block in a pass."""
        return max(each.n_tasks / each.n_blocks for each in self.passes)

    @property
    def graph_bytes(self) -> int:
        """The most bytes of graphs in a pass, all of it together."""
        return max(each.graph_bytes for each in self.passes)

    def facts(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def measure_traffic(executor: Executor, run: Callable[[Observer], object]) -> Traffic:
    """Return what was moved while `run` ran, which hands on the observer that it gets.

    A `DaskExecutor` must have a cluster of its own: that scheduler is in this process.
    """
    client = executor.client if isinstance(executor, DaskExecutor) else None
    passes = _Passes(client)
    if client is not None:
        client.cluster.scheduler.add_plugin(passes.tasks)
    before = _bytes()
    run(passes)
    tcp, written, read = (after - each for after, each in zip(_bytes(), before, strict=True))
    if client is not None:
        client.cluster.scheduler.remove_plugin(passes.tasks.name)
    return Traffic(tcp, written, read, tuple(passes.found))


def _bytes() -> tuple[int, int, int]:
    """Return bytes over loopback, and bytes that this process wrote and read, since some time in the past."""
    own = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return psutil.net_io_counters(pernic=True)["lo"].bytes_sent, int(own["wchar"]), int(own["rchar"])


class _CountsTasks(SchedulerPlugin):
    """Counts the tasks that a scheduler is asked for."""

    name = "counts tasks"

    def __init__(self) -> None:
        self.count = 0

    def update_graph(self, scheduler: Any, *, keys: Any, **_: Any) -> None:
        """Take the graph's tasks."""
        self.count += len(keys)


class _Passes:
    """An observer that counts the tasks and graphs of each pass."""

    def __init__(self, client: Client | None) -> None:
        self.found: list[Pass] = []
        self.tasks = _CountsTasks()
        self._client = client
        self._begun = 0, 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._begun = self._counts()
        elif isinstance(event, RunFinished):
            n_tasks, n_bytes = (now - then for now, then in zip(self._counts(), self._begun, strict=True))
            self.found.append(Pass(event.n_blocks, n_tasks, n_bytes))

    def _counts(self) -> tuple[int, int]:
        return self.tasks.count, 0 if self._client is None else self._client.scheduler_comm.byte_count
