"""The executor for Dask clusters: one of its own, one at an address, or the caller's Client."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from distributed import Client, Future, Security, worker_client

from recscale_dask.checks import whole_number
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.dask_call import Call, check_pickles, combine_outcomes
from recscale_dask.execution.dask_cluster import (
    connect,
    current_client,
    has_worker,
    is_in_task,
    start_cluster,
    who_sees,
)
from recscale_dask.execution.dask_link import DaskBroadcast, Link
from recscale_dask.execution.dask_tls import make_security
from recscale_dask.execution.dask_versions import check_versions
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.interrupts import interrupts_held
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import dump_bytes
from recscale_dask.temporary import TemporaryFolder
from recscale_dask.types import Combine, Task

_FEW_WORKERS = 8
_POLL = 1.0  # seconds between two looks at whether anybody is left to wait for


class DaskExecutor(Executor):
    """Runs blocks on a Dask cluster.

    Without an address, a client and a number of workers, it uses the cluster of the task that it is
    opened in, else that of the process's default Client, and else starts one of processes on this
    machine, which it closes again.

    Parameters
    ----------
    address : str, optional
        Of a scheduler, such as ``"tcp://10.0.0.1:8786"`` or ``"tls://10.0.0.1:8786"``.
    n_workers : int, optional
        Number of processes of a cluster of its own; by default as many as use all cores.
    threads_per_worker : int, optional
        Blocks that each of them runs at once; by default 1.
    client : distributed.Client, optional
        The caller's; it is not closed.
    shared_files : bool, optional
        Whether all workers, also those that join later, see the temporary files of this machine:
        constants are then mapped from one copy instead of sent. By default the workers there are at
        the start are asked; say False if workers on other machines may join them.
    timeout : float
        Seconds to wait for the answer of a scheduler and for a first worker, and for another one when all are gone.
        An address where nobody listens is told at once.
    security : distributed.Security, optional
        For TLS, of an address or of a cluster of its own. By default, Dask's configuration.
    tls_ca_file, tls_cert, tls_key : str, optional
        The same as paths of PEM files: who signed, our certificate, and its key.
    """

    name = "dask"
    capabilities = Capabilities(isolated=True, folds=True)

    def __init__(
        self,
        address: str | None = None,
        *,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        client: Client | None = None,
        shared_files: bool | None = None,
        timeout: float = 10,
        security: Security | None = None,
        tls_ca_file: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
    ) -> None:
        if address is not None and client is not None:
            raise OptionError("give an address or a client, not both")
        sizes = n_workers, threads_per_worker
        if sizes != (None, None) and (address is not None or client is not None):
            raise OptionError(
                "n_workers and threads_per_worker are for a cluster of our own; leave them out with an address or "
                "a client"
            )
        for name, size in zip(("n_workers", "threads_per_worker"), sizes, strict=True):
            if size is not None:
                whole_number(size, name)
        files = make_security(tls_ca_file, tls_cert, tls_key)
        if security is not None and files is not None:
            raise OptionError("give security or TLS files, not both")
        encrypted = security is not None or files is not None
        if encrypted and (client is not None or (address is not None and not address.startswith("tls://"))):
            raise OptionError(
                "TLS is for an address that starts with tls:// or for a cluster of our own; a client has its own. "
                f"Got {'a client' if address is None else address!r}."
            )
        self._address = address
        self._sizes = sizes
        self._security = security or files
        self._callers_client = client
        self._shared_files = shared_files
        self._timeout = timeout
        self._link: Link | None = None
        self._exchange: Exchange | None = None
        self._sent: weakref.WeakSet[DaskBroadcast] = weakref.WeakSet()
        self._known: set[str] = set()  # workers that were looked at
        self._threads = (0.0, 1)  # when they were counted, and how many
        self._undo = ExitStack()

    # -- opening and closing ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start or reach the cluster, and look whether its workers can serve."""
        self._threads = 0.0, 1
        client = self._connect()
        if not has_worker(client, self._timeout):
            raise ExecutorUnavailable(
                f"the Dask scheduler at {client.scheduler.address} has no worker after {self._timeout:g} s. "
                f"Start one with `dask worker {client.scheduler.address}`, or give a larger timeout."
            )
        self._known = set(client.nthreads())
        check_versions(client)
        exchange = Exchange()
        self._undo.callback(exchange.close)
        answers = who_sees(client, exchange.folder).values()
        if self._shared_files or (self._shared_files is None and answers and all(answers)):
            self._exchange = exchange
        else:
            exchange.close()
        link = Link(client, self._timeout)
        link.look_at(self._known)
        self._link = link
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
        # In a task, our jobs need the place of that task: a cluster of one thread would wait for itself for ever.
        own = self._undo.enter_context(worker_client()) if is_in_task() else None
        if self._callers_client is not None:
            return self._callers_client
        if self._address is not None:
            client = connect(self._address, self._timeout, self._security)
            self._undo.callback(client.close)
            return client
        if self._sizes == (None, None) and self._security is None and (found := own or current_client()) is not None:
            return found
        return self._start_cluster()

    def _start_cluster(self) -> Client:
        folder = self._undo.enter_context(TemporaryFolder()).path
        threads = self._sizes[1] or 1
        n_workers = self._sizes[0] or max(1, cpu_count() // threads)
        with interrupts_held():  # Dask does not clean up after a start that is cut short
            cluster = start_cluster(n_workers, threads, folder, self._security)
            self._undo.callback(cluster.close)
        client = Client(cluster, set_as_default=False)
        self._undo.callback(client.close)
        return client

    def stop(self) -> None:
        """Free what is on the workers, and close what `start` opened."""
        for broadcast in list(self._sent):
            broadcast.release()
        self._link = self._exchange = None
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
        link = self._opened()
        if self._exchange is not None:
            return self._exchange.put(value)
        check_pickles(value)
        broadcast = DaskBroadcast(link, value)
        self._sent.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers finish."""
        call = Call(self._opened(), task, constants, self._exchange)
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
        call = Call(self._opened(), task, constants, self._exchange)
        try:
            work = dump_bytes(combine)
            level: list[Future] = []
            jobs = list(jobs)
            call.spread(len(jobs))
            for job in jobs:
                future = call.submit(job)
                if isinstance(future, Outcome):
                    return future
                level.append(future)
            while len(level) > 1:
                pairs = zip(level[::2], level[1::2], strict=False)
                odd = level[-1:] if len(level) % 2 else []
                level = [call.send(combine_outcomes, work, left, right) for left, right in pairs] + odd
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
        return self._opened().client

    def _opened(self) -> Link:
        if self._link is None:
            raise self.not_open()
        if self._link.client.status == "closed":  # by the caller, whose it is
            raise _lost("the client is closed")
        return self._link

    def _workers(self) -> dict[str, int]:
        """Return the workers with their threads, once those that joined were looked at."""
        link = self._opened()
        client = link.client
        try:
            if client.status == "running":
                workers = dict(client.nthreads())
                self._look_at(link, workers.keys() - self._known)
                return workers
            reason = f"the client is {client.status}"
        except OSError as error:
            reason = f"{type(error).__name__}: {error}"
        raise _lost(reason)

    def _look_at(self, link: Link, joined: set[str]) -> None:
        if not joined:
            return
        check_versions(link.client, joined)
        if self._exchange is not None:
            blind = [
                address for address, sees in who_sees(link.client, self._exchange.folder, joined).items() if not sees
            ]
            if blind:
                raise ExecutorUnavailable(
                    f"a Dask worker joined that does not see the files of this machine ({blind[0]}). Open the executor "
                    "with shared_files=False: constants are then sent."
                )
        link.look_at(joined)
        self._known |= joined

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


def _lost(reason: str) -> ExecutorUnavailable:
    return ExecutorUnavailable(
        f"the connection to the Dask scheduler is lost ({reason}). Look at the scheduler's log, then run again."
    )
