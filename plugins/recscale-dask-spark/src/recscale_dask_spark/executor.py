"""The executor for Apache Spark.

Twice as many jobs as there are cores make one Spark job, with a partition for each core. A Spark job takes some 10 ms
of a core on the driver and as much on the way, too much to have one for each of ours, or for each round of them.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark import RDD, SparkContext

from recscale_dask.errors import ExecutorUnavailable, OptionError
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome, unportable
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.interrupts import interrupts_held
from recscale_dask.execution.portable import dump_bytes, task_name
from recscale_dask.execution.versions import compare, versions
from recscale_dask.types import Combine, Task
from recscale_dask_spark.context import is_local, start_context
from recscale_dask_spark.jobs import Batch, Call, SparkBroadcast, gone
from recscale_dask_spark.workers import FirstJobs

_POLL = 1.0  # seconds between two looks at how many cores there are
_FIRST_JOB = 60.0  # seconds for a cluster to do first jobs: it may have to start executors


class SparkExecutor(Executor):
    """Runs blocks on Apache Spark.

    Sums are added up on the workers, in our own tree: that of Spark follows its partitions, and ours has
    to follow block numbers. On one machine they are added up here, out of files that all processes map.

    Parameters
    ----------
    master : str, optional
        Where to run, such as ``"local[4]"`` or ``"spark://10.0.0.1:7077"``; by default what
        ``spark-submit`` was told, and else all cores of this machine. If this process has a Spark session
        already, that one is used and left open; one with another master is an `OptionError`.
    session : SparkSession, optional
        The caller's; it is not stopped.
    shared_files : bool, optional
        Whether every worker sees the temporary files of this machine: constants are then mapped from
        one copy instead of sent. By default for local masters only.
    app_name : str, optional
        How Spark's pages call a session of our own; by default recscale_dask.
    config : mapping, optional
        More Spark settings for a session of our own; one there is has to have them already.
    """

    name = "spark"
    capabilities = Capabilities(isolated=True)

    def __init__(
        self,
        master: str | None = None,
        *,
        session: Any = None,
        shared_files: bool | None = None,
        app_name: str | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        if session is not None and (master is not None or app_name is not None or config):
            raise OptionError("master, app_name and config are for a session of our own; leave them out with a session")
        self._master = master
        self._session = session
        self._shared_files = shared_files
        self._app_name = app_name
        self._config = dict(config or {})
        self._context: SparkContext | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._exchange: Exchange | None = None
        self._sent: weakref.WeakSet[SparkBroadcast] = weakref.WeakSet()
        self._rdds: dict[tuple[int, int], RDD[int]] = {}
        self._cores = (0.0, 1)  # when they were counted, and how many
        self._undo = ExitStack()

    # -- opening and closing -----------------------------------------------------------------------------

    def start(self) -> None:
        """Use the session there is, or start Spark."""
        callers = self._callers_context()
        self._context = context = callers or self._own_context()
        self._cores = 0.0, 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recscale-spark")
        self._undo.callback(self._pool.shutdown)
        if callers is not None or not is_local(context.master):  # else they are here, and have our Python
            self._wait_for_workers(context)
        if self._shared_files or (self._shared_files is None and is_local(context.master)):
            self._exchange = Exchange()
            self._undo.callback(self._exchange.close)
        shared = self._exchange is not None
        self.capabilities = replace(self.capabilities, shared_files=shared, folds=not shared)

    def _callers_context(self) -> SparkContext | None:
        """Return that of the session that was given, or that is active in this process; None if there is none."""
        context: SparkContext | None
        if self._session is not None:
            try:
                context = self._session.sparkContext
            except Exception as error:
                raise ExecutorUnavailable(
                    f"the session has no Spark context ({type(error).__name__}). Spark Connect cannot run "
                    "Python tasks of this kind: give a classic SparkSession, or a master."
                ) from error
            if context._jsc is None:
                raise ExecutorUnavailable("the Spark session was stopped. Give a running one, or a master.")
            return context
        context = SparkContext._active_spark_context
        if context is not None and context._jsc is not None:
            self._check_settings(context)
            return context
        return None

    def _own_context(self) -> SparkContext:
        folder = Path(tempfile.mkdtemp(prefix="recscale-spark-"))
        self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        with interrupts_held():  # Java would be left behind by a start that is cut short
            return start_context(self._master, self._app_name or "recscale_dask", self._config, folder, self._undo)

    def _check_settings(self, context: SparkContext) -> None:
        """Raise an error if the session there is has not what was asked for: it cannot be changed any more."""
        wanted = {"spark.master": self._master, "spark.app.name": self._app_name, **self._config}
        found = context.getConf()
        for name, value in wanted.items():
            if value is not None and found.get(name) != str(value):
                raise OptionError(
                    f"this process has a Spark session with {name} {found.get(name)!r}; expected {str(value)!r}. "
                    "Stop that session, or leave out master, app_name and config to use it."
                )

    def _wait_for_workers(self, context: SparkContext) -> None:
        """Wait for workers, and compare their versions with ours."""
        assert self._pool is not None
        jobs = FirstJobs(context)
        try:
            told = self._pool.submit(jobs.run).result(_FIRST_JOB)
        except TimeoutError as error:
            jobs.cancel()  # not those of the caller, whose session it may be
            raise ExecutorUnavailable(
                f"no worker of {context.master!r} took a first job within {_FIRST_JOB:g} s. Look at its page: are "
                "there workers, have they the cores and memory that the session asks for, and are these free?"
            ) from error
        compare("Spark worker", versions(), told)

    def stop(self) -> None:
        """Free what is on the workers, and stop Spark if `start` started it."""
        for broadcast in list(self._sent):
            broadcast.release()
        self._context = self._pool = self._exchange = None
        self._rdds.clear()
        self._undo.close()

    # -- the contract --------------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """Cores of all workers, as Spark counts them."""
        counted, cores = self._cores
        if time.monotonic() - counted > _POLL:
            try:
                cores = max(1, int(self._opened().defaultParallelism))
            except Exception as error:
                raise gone(error) from error
            self._cores = time.monotonic(), cores
        return cores

    def broadcast(self, value: Any) -> Broadcast:
        """Write the value to a file that every worker maps, or make it a broadcast variable."""
        context = self._opened()
        if self._exchange is not None:
            return self._exchange.put(value)
        broadcast = SparkBroadcast(context, value)
        self._sent.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as Spark jobs finish."""
        call = self._call(task)
        jobs = iter(jobs)
        with self._cancelling(call) as submit:
            while True:
                batch = Batch()
                for job in itertools.islice(jobs, 2 * self.parallelism):
                    try:
                        batch.add(job, task, constants)
                    except Exception as error:
                        yield unportable(job.index, error)
                if not batch.taken:
                    return
                if batch.jobs:
                    yield from submit(call.run, batch).result()

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up on the workers, in groups of neighbours, and fetch the root alone."""
        batch = Batch()
        for job in jobs:
            try:
                batch.add(job, task, constants)
                work = dump_bytes(combine)
            except Exception as error:
                return unportable(job.index, error)
        call = self._call(task)
        with self._cancelling(call) as submit:
            outcome: Outcome = submit(call.fold, batch, work).result()
            return outcome

    def _call(self, task: Task) -> Call:
        title = f"recscale_dask: {self.label or 'run'}: {task_name(task)}"
        return Call(self._opened(), self._numbered, title, self._exchange)

    @contextmanager
    def _cancelling(self, call: Call) -> Iterator[Callable[..., Future[Any]]]:
        """Yield what runs a function of a call on the thread for Spark jobs; cancel what runs at the end."""
        assert self._pool is not None
        running: list[Future[Any]] = []

        def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            assert self._pool is not None
            running[:] = [self._pool.submit(function, *arguments)]
            return running[0]

        try:
            yield submit
        finally:
            call.closed.set()
            if running and not running[0].done():
                with suppress(Exception):  # Spark itself may be what failed
                    self._opened().cancelJobGroup(call.group)

    def _numbered(self, n_jobs: int) -> RDD[int]:
        """Return an RDD of the numbers up to `n_jobs`, a partition a core; making one takes some milliseconds."""
        cut = n_jobs, min(n_jobs, self.parallelism)
        if cut not in self._rdds:
            self._rdds[cut] = self._opened().parallelize(range(n_jobs), cut[1])
        return self._rdds[cut]

    @property
    def context(self) -> SparkContext:
        """The Spark context, while the executor is open."""
        return self._opened()

    def _opened(self) -> SparkContext:
        if self._context is None:
            raise self.not_open()
        return self._context
