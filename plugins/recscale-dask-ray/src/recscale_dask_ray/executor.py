"""The executor for Ray.

The connection to Ray is in a process of its own (`companion`), because Ray ends the process that has it when the node
below it dies. On one machine constants, blocks and large results are in files that workers map; in a cluster the
companion puts them once into Ray's object store, shared memory that sends a value to each further machine once.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from recscale_dask.checks import whole_number
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome, unportable
from recscale_dask.execution.deposit import collected
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.memory import usable_memory
from recscale_dask.execution.packing import pack
from recscale_dask.execution.portable import dump_bytes, task_name
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.execution.versions import compare, versions
from recscale_dask.types import Combine, Task
from recscale_dask_ray.companion import Companion
from recscale_dask_ray.session import Place, TokenAsked, tries
from recscale_dask_ray.shipment import Shipment

_POLL = 1.0  # seconds between two looks at how many CPUs there are
_FEW_WORKERS = 8  # up to which partial sums are added here in less time than workers are told to
_SMALLEST_STORE = 80 << 20  # bytes; Ray wants some 75 MB
_SHARED_MEMORY = Path("/dev/shm")
_SOCKET_FOLDER = 40  # of the 107 bytes of a socket's path, Ray's own names take 65


class RayBroadcast(Broadcast):
    """A value in Ray's object store; on workers a `LocalBroadcast` takes its place."""

    def __init__(self, value: Any, key: str, companion: Companion) -> None:
        self.key = key
        self._value = value
        self._companion: Companion | None = companion

    def load(self) -> Any:
        """Return the value on the driver."""
        return self._value

    def release(self) -> None:
        """Forget it here and there."""
        companion, self._companion, self._value = self._companion, None, None
        if companion is not None:
            with suppress(ExecutorUnavailable):  # what is gone holds nothing
                companion.ask("free", self.key)


class RayExecutor(Executor):
    """Runs blocks on Ray.

    Parameters
    ----------
    address : str, optional
        Of a cluster that this machine is a node of, ``"auto"`` or ``"10.0.0.1:6379"``; or of Ray Client,
        ``"ray://10.0.0.1:10001"``, from anywhere. Without it the cluster that this process is connected to is
        used, and if there is none, a Ray of its own is started and ended.
    n_workers : int, optional
        Number of worker processes of a Ray of its own; by default as many as this process may use cores.
    object_store_bytes : int, optional
        Shared memory of a Ray of its own; by default a third of the memory that may be used. What does not fit
        goes to disk.
    shared_files : bool, optional
        Whether every worker sees the temporary files of this machine: constants, blocks and large results are
        then mapped from one copy. By default for a Ray of its own only.
    folds : bool, optional
        Whether workers add partial sums up among themselves; by default on more than 8.
    """

    name = "ray"
    capabilities = Capabilities(isolated=True)

    def __init__(
        self,
        address: str | None = None,
        *,
        n_workers: int | None = None,
        object_store_bytes: int | None = None,
        shared_files: bool | None = None,
        folds: bool | None = None,
    ) -> None:
        if address is not None and (n_workers is not None or object_store_bytes is not None):
            raise OptionError(
                "n_workers and object_store_bytes are for a Ray of our own; leave them out with an address"
            )
        self._address = address
        self._n_workers = None if n_workers is None else whole_number(n_workers, "n_workers")
        self._object_store_bytes = (
            None if object_store_bytes is None else whole_number(object_store_bytes, "object_store_bytes")
        )
        self._shared_files = shared_files
        self._folds = folds
        self._companion: Companion | None = None
        self._exchange: Exchange | None = None
        self._sent: weakref.WeakSet[RayBroadcast] = weakref.WeakSet()
        self._names = map(str, itertools.count())
        self._cpus = (0.0, 1)  # when they were counted, and how many
        self._undo = ExitStack()

    # -- opening and closing -----------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to the cluster at the address or to that of this process, or start one."""
        place = self._place()
        shared = place.address is None if self._shared_files is None else self._shared_files
        self._exchange = Exchange()
        self._undo.callback(self._exchange.close)
        self._companion = self._connected(tries(place), shared)
        self._cpus = 0.0, 1
        folds = self.parallelism > _FEW_WORKERS if self._folds is None else self._folds
        self.capabilities = replace(self.capabilities, shared_files=shared, folds=folds)

    def _connected(self, places: list[Place], shared_files: bool) -> Companion:
        """Return a companion at the first of some places that lets it in."""
        place, *others = places
        companion = Companion(place, shared_files)
        self._undo.callback(companion.end)
        try:
            told = companion.ask("check")
        except TokenAsked:
            if not others:
                raise
            return self._connected(others, shared_files)
        compare("Ray worker", versions(), told)
        return companion

    def _place(self) -> Place:
        if self._address is not None:
            return Place(self._address)
        ray = sys.modules.get("ray")  # who is connected has imported it
        if ray is not None and ray.is_initialized():
            return _place_of_process(ray)
        folder = _socket_folder()
        self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        store = self._object_store_bytes or _default_store()
        return Place(n_workers=self._n_workers or cpu_count(), object_store_bytes=store, folder=folder)

    def stop(self) -> None:
        """Leave the cluster as it was, or end a Ray of our own."""
        for broadcast in list(self._sent):
            broadcast.release()
        self._companion = self._exchange = None
        self._undo.close()

    # -- the contract ------------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """CPUs of all nodes, as Ray counts them; at least 1."""
        counted, cpus = self._cpus
        if time.monotonic() - counted > _POLL:
            cpus = self._opened()[0].ask("cpus")
            self._cpus = time.monotonic(), cpus
        return cpus

    def broadcast(self, value: Any) -> Broadcast:
        """Write the value to a file that every worker maps, or put it into the object store."""
        companion, exchange = self._opened()
        file = exchange.put(value)
        if self.capabilities.shared_files:
            return file
        broadcast = RayBroadcast(value, next(self._names), companion)
        try:
            companion.ask("put", broadcast.key, file)
        finally:
            file.release()
        self._sent.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers finish."""
        jobs = iter(jobs)
        with self._call(task, constants) as call:
            while True:
                room = 2 * self.parallelism - call.n_running
                refused = call.submit(itertools.islice(jobs, max(0, room)))
                yield from refused
                if not call.n_running and not refused:
                    return
                if call.n_running:
                    yield from call.wait()

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up on the workers, neighbours in pairs level by level, and fetch the root alone."""
        with self._call(task, constants) as call:
            for outcome in call.submit(jobs, blanks=False):  # partial sums are for workers, which take no receipts
                return outcome
            call.add_up(combine)
            while not (outcomes := call.wait()):
                pass
        outcome = outcomes[0]
        if outcome.lost:
            raise WorkerLost(outcome.error)
        return outcome

    @contextmanager
    def _call(self, task: Task, constants: Mapping[str, Broadcast]) -> Iterator[_Call]:
        companion, exchange = self._opened()
        call = _Call(companion, exchange, next(self._names), task, constants)
        try:
            yield call
        finally:
            with suppress(ExecutorUnavailable):
                call.end()

    def _opened(self) -> tuple[Companion, Exchange]:
        if self._companion is None or self._exchange is None:
            raise self.not_open()
        return self._companion, self._exchange


class _Call:
    """One task with its constants, and the jobs of it that are under way."""

    def __init__(
        self, companion: Companion, exchange: Exchange, name: str, task: Task, constants: Mapping[str, Broadcast]
    ) -> None:
        self._companion = companion
        self._exchange = exchange
        self._name = name
        self._running: dict[int, FileRecipe | None] = {}
        self._error: Exception | None = None
        try:
            data, handles = pack((task, dict(constants)), RayBroadcast)
        except Exception as error:
            self._error = error
        else:
            self._ask("begin", f"recscale_dask: {task_name(task)}", data, tuple(each.key for each in handles))

    @property
    def n_running(self) -> int:
        """How many jobs are under way."""
        return len(self._running)

    def submit(self, jobs: Iterable[Job], *, blanks: bool = True) -> list[Outcome]:
        """Send jobs, with files for large results, and return the outcomes of those that cannot be sent."""
        refused, shipments = [], []
        for job in jobs:
            try:
                if self._error is not None:
                    raise self._error
                data, handles = pack(job, RayBroadcast)
            except Exception as error:
                refused.append(unportable(job.index, error))
                continue
            blank = self._running[job.index] = self._exchange.blank() if blanks else None
            shipments.append(Shipment(job.index, data, tuple(each.key for each in handles), blank))
        if shipments:
            self._ask("submit", shipments)
        return refused

    def add_up(self, combine: Combine) -> None:
        """Have the results of all jobs added up: one outcome will come, of index 0."""
        self._running = {0: self._exchange.blank()}
        self._ask("add_up", dump_bytes(combine), self._running[0])

    def wait(self) -> list[Outcome]:
        """Return outcomes that are there; after a while maybe none."""
        found = self._ask("wait", self._companion.patience)
        return [collected(each, self._running.pop(each.index), self._exchange) for each in found]

    def end(self) -> None:
        """Call back what is under way."""
        self._give_back()
        self._ask("end")

    def _give_back(self) -> None:
        for blank in self._running.values():
            if blank is not None:
                self._exchange.give_back(blank.path)

    def _ask(self, request: str, *arguments: Any) -> Any:
        return self._companion.ask(request, self._name, *arguments)


def _place_of_process(ray: Any) -> Place:
    """Return where the cluster is that this process is connected to."""
    context = ray.get_runtime_context()
    try:
        return Place(context.gcs_address, dict(context.runtime_env))
    except Exception as error:
        raise ExecutorUnavailable(
            f"this process is connected to a Ray that does not tell its address ({type(error).__name__}: {error}). "
            "Give it: address='ray://HOST:10001' for Ray Client."
        ) from error


def _socket_folder() -> str:
    folder = tempfile.mkdtemp(prefix="ray-")
    if len(os.fsencode(folder)) > _SOCKET_FOLDER:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    return folder


def _default_store() -> int:
    wanted = usable_memory() // 3
    if _SHARED_MEMORY.is_dir():
        wanted = min(wanted, int(0.8 * shutil.disk_usage(_SHARED_MEMORY).free))
    return max(_SMALLEST_STORE, wanted)
