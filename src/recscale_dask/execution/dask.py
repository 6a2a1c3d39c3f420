"""The executor for Dask clusters: one of its own, one at an address, or the caller's Client.

Tasks travel as bytes and big constants as scattered futures beside them, so that task graphs stay
small. Scattered data is not replicated beforehand: a worker fetches what its tasks need once, from any
worker that has it, which also serves workers that join later.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import CancelledError, Client, Future, KilledWorker

from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.dask_cluster import check_workers, connect, start_cluster, wait_for_worker
from recscale_dask.execution.deposit import collected, deposited
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.packing import pack, unpack
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.types import Combine, Task

_BIG = 1 << 20  # bytes above this are scattered: a graph above 10 MB makes Dask warn (distributed 8814)
_FEW_WORKERS = 8
_POLL = 1.0  # seconds between two looks at whether anybody is left to wait for
_RESULT_TIMEOUT = 600.0  # seconds for a finished result to arrive; its worker counts as dead after that


class DaskBroadcast(Broadcast):
    """A constant as scattered data; on workers a `LocalBroadcast` takes its place.

    The value stays here until `release`: scattered data is lost with the worker that holds it
    (distributed 3149), and is then sent again.
    """

    def __init__(self, client: Client, value: Any) -> None:
        self._client = client
        self._value = value
        self._future: Future | None = None

    @property
    def future(self) -> Future:
        """The scattered data, sent at the first use and again after a loss."""
        if self._future is None or self._future.status != "finished":
            try:
                # In a list, because Dask would scatter a tuple or a dict item by item.
                [self._future] = self._client.scatter([self._value], hash=False)
            except OSError as error:
                raise WorkerLost(f"a constant could not be sent: {type(error).__name__}: {error}") from error
        return self._future

    def load(self) -> Any:
        """Return the value on the driver."""
        return self._value

    def release(self) -> None:
        """Free the value here and on the workers."""
        if self._future is not None:
            self._future.release()
        self._future = self._value = None

    def __reduce__(self) -> Any:
        raise TypeError("a DaskBroadcast travels as a constant of a task or inside a payload only")


class DaskExecutor(Executor):
    """Runs blocks on a Dask cluster.

    Parameters
    ----------
    address : str, optional
        Of a scheduler, such as ``"tcp://10.0.0.1:8786"``. Without it, and without a `client`, a
        cluster of processes on this machine is started and closed again.
    n_workers : int, optional
        Number of processes of a cluster of its own; by default as many as use all cores.
    threads_per_worker : int
        Blocks that each of them runs at once.
    client : distributed.Client, optional
        The caller's; it is not closed.
    shared_files : bool, optional
        Whether all workers, also those that join later, see the temporary files of this machine:
        constants are then mapped from one copy instead of sent. By default the workers there are at
        the start are asked; say False if workers on other machines may join them.
    timeout : float
        Seconds to wait for the scheduler and for a first worker, and for another one when all died.
    """

    name = "dask"
    capabilities = Capabilities(isolated=True, folds=True)

    def __init__(
        self,
        address: str | None = None,
        *,
        n_workers: int | None = None,
        threads_per_worker: int = 1,
        client: Client | None = None,
        shared_files: bool | None = None,
        timeout: float = 10,
    ) -> None:
        if address is not None and client is not None:
            raise OptionError("give an address or a client, not both")
        if n_workers is not None and (address is not None or client is not None):
            raise OptionError("n_workers is for a cluster of our own; leave it out with an address or a client")
        if (n_workers is not None and n_workers < 1) or threads_per_worker < 1:
            raise OptionError(
                f"n_workers and threads_per_worker must be at least 1; got {n_workers} and {threads_per_worker}"
            )
        self._address = address
        self._n_workers = n_workers or max(1, cpu_count() // threads_per_worker)
        self._threads_per_worker = threads_per_worker
        self._callers_client = client
        self._shared_files = shared_files
        self._timeout = timeout
        self._client: Client | None = None
        self._exchange: Exchange | None = None
        self._sent: weakref.WeakSet[DaskBroadcast] = weakref.WeakSet()
        self._threads = (0.0, 1)  # when they were counted, and how many
        self._undo = ExitStack()

    # -- opening and closing ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start or reach the cluster, and look whether its workers can serve."""
        self._threads = 0.0, 1
        self._client = self._connect()
        wait_for_worker(self._client, self._timeout)
        exchange = Exchange()
        self._undo.callback(exchange.close)
        seen = check_workers(self._client, exchange.folder)
        if self._shared_files or (seen and self._shared_files is None):
            self._exchange = exchange
        else:
            exchange.close()
        # A few results in shared files are added here in less time than workers are told to.
        shared = self._exchange is not None
        self.capabilities = replace(
            self.capabilities, shared_files=shared, folds=not (shared and self.parallelism <= _FEW_WORKERS)
        )

    def _connect(self) -> Client:
        if self._callers_client is not None:
            if self._callers_client.asynchronous:
                raise ExecutorUnavailable("the Client is asynchronous; give one made with asynchronous=False")
            if self._callers_client.status != "running":
                raise ExecutorUnavailable(f"the Client is {self._callers_client.status}; give an open one")
            return self._callers_client
        if self._address is not None:
            client = connect(self._address, self._timeout)
        else:
            folder = Path(tempfile.mkdtemp(prefix="recscale-dask-"))
            self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
            cluster = start_cluster(self._n_workers, self._threads_per_worker, folder)
            self._undo.callback(cluster.close)
            client = Client(cluster, set_as_default=False)
        self._undo.callback(client.close)
        return client

    def stop(self) -> None:
        """Free what is on the workers, and close what `start` opened."""
        for broadcast in list(self._sent):
            broadcast.release()
        self._client = self._exchange = None
        self._undo.close()

    # -- the contract ----------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """Threads of all workers; at least 1, for right after a worker died there may be none."""
        counted, threads = self._threads
        if time.monotonic() - counted > _POLL:
            threads = max(1, sum(self._workers().values()))
            self._threads = time.monotonic(), threads
        return threads

    def broadcast(self, value: Any) -> Broadcast:
        """Write the value to a file that every worker maps, or keep it for the workers to fetch."""
        client = self._opened()
        if self._exchange is not None:
            return self._exchange.put(value)
        _check_pickles(value)
        broadcast = DaskBroadcast(client, value)
        self._sent.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers finish."""
        call = _Call(self._opened(), task, constants, self._exchange)
        jobs = iter(jobs)
        running: dict[Future, int] = {}
        try:
            more = True
            while True:
                while more and len(running) < 2 * self.parallelism:
                    job = next(jobs, None)
                    if job is None:
                        more = False
                        break
                    future = call.submit(job)
                    if isinstance(future, Outcome):
                        yield future
                    else:
                        running[future] = job.index
                if not running:
                    return
                for future in self._wait(running, call.wake):
                    yield call.answer(future, running.pop(future))
        finally:
            call.release()

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up on the workers, neighbours in pairs level by level, and fetch the root alone."""
        call = _Call(self._opened(), task, constants, self._exchange)
        try:
            work = dump_bytes(combine)
            level: list[Future] = []
            for job in jobs:
                future = call.submit(job)
                if isinstance(future, Outcome):
                    return future
                level.append(future)
            while len(level) > 1:
                pairs = zip(level[::2], level[1::2], strict=False)
                odd = level[-1:] if len(level) % 2 else []
                level = [call.send(_combine, work, left, right) for left, right in pairs] + odd
            [root] = self._wait(level, call.wake)
            outcome = call.answer(root, 0)
        finally:
            call.release()
        if outcome.lost:
            raise WorkerLost(outcome.error)
        return outcome

    # -- waiting -----------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client of the cluster, while the executor is open."""
        return self._opened()

    def _opened(self) -> Client:
        if self._client is None:
            raise self.not_open()
        return self._client

    def _workers(self) -> dict[str, int]:
        """Return the workers with their threads."""
        client = self._opened()
        try:
            if client.status == "running":
                return dict(client.nthreads())
            reason = f"the client is {client.status}"
        except OSError as error:
            reason = f"{type(error).__name__}: {error}"
        raise ExecutorUnavailable(
            f"the connection to the Dask scheduler is lost ({reason}). Look at the scheduler's log, then run again."
        )

    def _wait(self, futures: Collection[Future], wake: threading.Event) -> list[Future]:
        """Return the futures that ended, at least one."""
        last_seen = time.monotonic()
        while True:
            woken = wake.wait(_POLL)
            wake.clear()
            ended = [future for future in futures if future.status != "pending"]
            if ended:
                return ended
            if woken or self._workers():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self._timeout:
                raise WorkerLost(f"all Dask workers are gone, and none came back within {self._timeout:g} s")


class _Call:
    """One task with its constants, on its way to the workers."""

    def __init__(
        self, client: Client, task: Task, constants: Mapping[str, Broadcast], exchange: Exchange | None
    ) -> None:
        self._exchange = exchange
        self._blanks: dict[str, FileRecipe] = {}  # for large results, by the key of a future
        self.wake = threading.Event()
        self._client = client
        self._name = f"recscale-{getattr(task, '__name__', type(task).__name__)}-{uuid.uuid4().hex}"
        self._count = 0
        self._futures: weakref.WeakSet[Future] = weakref.WeakSet()
        self._error: Exception | None = None
        self._constants: list[DaskBroadcast] = []
        try:
            data, self._constants = pack((task, dict(constants)), DaskBroadcast)
            self._work = self._place(data)
        except Exception as error:
            self._error = error

    def submit(self, job: Job) -> Future | Outcome:
        """Return the future of a job, or the outcome that says why it cannot be sent."""
        if self._error is not None:
            return _unportable(job.index, self._error)
        try:
            data, handles = pack(job, DaskBroadcast)
        except Exception as error:
            return _unportable(job.index, error)
        # Futures are asked for at each job, so that what was lost with a worker is sent again.
        places = [self._work, self._place(data), *self._constants, *handles]
        held = [place.future if isinstance(place, DaskBroadcast) else place for place in places]
        return self.send(_run, job.index, len(self._constants), *held)

    def _place(self, data: bytes) -> bytes | DaskBroadcast:
        return DaskBroadcast(self._client, data) if len(data) > _BIG else data

    def send(self, function: Any, *arguments: Any) -> Future:
        """Return the future of a function on a worker, which gets a blank first; its end sets `wake`."""
        self._count += 1
        key = f"{self._name}-{self._count}"
        blank = None if self._exchange is None else self._exchange.blank()
        if blank is not None:
            self._blanks[key] = blank
        future = self._client.submit(function, blank, *arguments, key=key, pure=False)
        future.add_done_callback(lambda _: self.wake.set())
        self._futures.add(future)
        return future

    def answer(self, future: Future, index: int) -> Outcome:
        """Return the outcome of a future that ended."""
        return collected(_outcome(future, index), self._blanks.pop(future.key, None), self._exchange)

    def release(self) -> None:
        """Give up what is still to come: Dask drops tasks whose result nobody wants."""
        for future in list(self._futures):
            future.release()
        for blank in self._blanks.values():
            if self._exchange is not None:
                self._exchange.give_back(blank.path)


def _outcome(future: Future, index: int) -> Outcome:
    """Return the outcome of a future that ended, as it travelled."""
    reason: object = future.status
    if future.status == "finished":
        try:
            outcome: Outcome = future.result(timeout=_RESULT_TIMEOUT)
            return outcome
        except (OSError, CancelledError, KilledWorker) as error:
            reason = error
        except Exception as error:  # the result does not load here
            return _unportable(index, error)
    elif future.status == "error":
        reason = future.exception()
        if not isinstance(reason, KilledWorker):
            return Outcome(index, error=f"{type(reason).__name__}: {reason}")
    return Outcome(index, error=f"a Dask worker died, or data on it was lost ({reason})", lost=True)


def _check_pickles(value: Any) -> None:
    """Raise an error for a value that cannot be pickled, without copying its arrays.

    Dask logs that at length, and tries for ever when one worker wants such a value from another.
    """
    cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)


def _unportable(index: int, error: Exception) -> Outcome:
    return Outcome(index, error=f"{type(error).__name__}: {error}", portable=False)


# -- on the workers ------------------------------------------------------------------------------------


def _run(blank: FileRecipe | None, index: int, n_constants: int, work: bytes, job: bytes, *held: Any) -> Outcome:
    """Run one job; `held` are the values of the constants, then of the broadcasts in the job."""
    try:
        task, constants = unpack(work, held[:n_constants])
        loaded = unpack(job, held[n_constants:])
    except Exception as error:
        return _unportable(index, error)
    return _checked(run_job(task, loaded, constants), blank)


def _checked(outcome: Outcome, blank: FileRecipe | None) -> Outcome:
    """Return the outcome as it travels, or one that says that its value cannot be pickled."""
    try:
        _check_pickles(outcome.value)
        return deposited(outcome, blank)
    except Exception as error:
        reason = f"the result cannot be pickled: {type(error).__name__}: {error}"
        return Outcome(outcome.index, error=reason, portable=False)


def _combine(blank: FileRecipe | None, work: bytes, left: Outcome, right: Outcome) -> Outcome:
    """Combine two outcomes; the first error is that of the whole."""
    left, right = collected(left), collected(right)
    for outcome in (left, right):
        if outcome.error is not None:
            return outcome
    combine = unpack(work, ())
    total = run_job(lambda pair: combine(*pair), Job(left.index, (left.value, right.value)), {})
    return replace(_checked(total, blank), seconds=total.seconds + left.seconds + right.seconds)
