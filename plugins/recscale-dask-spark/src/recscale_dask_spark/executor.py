"""The executor for Apache Spark.

Twice as many jobs as there are cores make one Spark job, with a partition for each core. A Spark job takes some 10 ms
of a core on the driver and as much on the way, too much to have one for each of ours, or for each round of them.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyspark
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import RDD, SparkContext

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.deposit import collected, deposited
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.packing import pack, unpack
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.types import Task
from recscale_dask_spark.collector import keep_imports_from_collector
from recscale_dask_spark.context import is_local, start_context

_POLL = 1.0  # seconds between two looks at how many cores there are
_FIRST_JOB = 60.0  # seconds for a cluster to do a first, empty job: it may have to start executors


class SparkBroadcast(Broadcast):
    """A constant as a broadcast variable: sent once to each machine, read once by each Python worker."""

    def __init__(self, context: SparkContext, value: Any) -> None:
        # Spark uses plain pickle, which cannot send classes of the caller's script.
        boxed = value if isinstance(value, np.ndarray) else _Boxed(dump_bytes(value))
        self.variable: pyspark.Broadcast[Any] | None = context.broadcast(boxed)

    def load(self) -> Any:
        """Return the value on the driver; on workers a `LocalBroadcast` takes the place of this handle."""
        return None if self.variable is None else self.variable.value

    def release(self) -> None:
        """Free the value here and on the workers."""
        variable, self.variable = self.variable, None
        if variable is not None:
            with suppress(Py4JError, OSError):  # the session may have been stopped before us
                variable.destroy()


class _Boxed:
    """Bytes that load as the value they were made from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return cloudpickle.loads, (self._data,)


class SparkExecutor(Executor):
    """Runs blocks on Apache Spark.

    Sums are added up on the driver: Spark's own tree of sums follows its partitions, and ours has to
    follow block numbers.

    Parameters
    ----------
    master : str
        Where to run, such as ``"local[4]"`` or ``"spark://10.0.0.1:7077"``. If this process has a
        Spark session already, that one is used and left open.
    session : SparkSession, optional
        The caller's; it is not stopped.
    shared_files : bool, optional
        Whether every worker sees the temporary files of this machine: constants are then mapped from
        one copy instead of sent. By default for local masters only.
    app_name : str
        How Spark's pages call it.
    config : mapping, optional
        More Spark settings for a session of our own.
    """

    name = "spark"
    capabilities = Capabilities(isolated=True)

    def __init__(
        self,
        master: str = "local[*]",
        *,
        session: Any = None,
        shared_files: bool | None = None,
        app_name: str = "recscale_dask",
        config: Mapping[str, str] | None = None,
    ) -> None:
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
        context = self._find_context()
        self._context = context
        self._cores = 0.0, 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recscale-spark")
        self._undo.callback(self._pool.shutdown)
        if not is_local(context.master):
            self._wait_for_workers(context)
        if self._shared_files or (self._shared_files is None and is_local(context.master)):
            self._exchange = Exchange()
            self._undo.callback(self._exchange.close)
        self.capabilities = replace(self.capabilities, shared_files=self._exchange is not None)

    def _find_context(self) -> SparkContext:
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
            return context
        folder = Path(tempfile.mkdtemp(prefix="recscale-spark-"))
        self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        return start_context(self._master, self._app_name, self._config, folder, self._undo)

    def _wait_for_workers(self, context: SparkContext) -> None:
        assert self._pool is not None
        try:
            self._pool.submit(context.parallelize([0], 1).count).result(_FIRST_JOB)
        except TimeoutError as error:
            context.cancelAllJobs()
            raise ExecutorUnavailable(
                f"no worker of {context.master!r} took a first job within {_FIRST_JOB:g} s. Look at its page: "
                "are there workers, and have they the cores and memory that the session asks for?"
            ) from error

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
                raise _gone(error) from error
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
        context = self._opened()
        call = _Call(context, self._numbered, task, self._exchange)
        assert self._pool is not None
        jobs = iter(jobs)
        running: Future[list[Outcome]] | None = None
        try:
            while True:
                batch = _Batch()
                for job in itertools.islice(jobs, 2 * self.parallelism):
                    try:
                        batch.add(job, task, constants)
                    except Exception as error:
                        yield _unportable(job.index, error)
                if not batch.taken:
                    return
                if batch.jobs:
                    running = self._pool.submit(call.run, batch)
                    yield from running.result()
        finally:
            call.closed.set()
            if running is not None and not running.done():
                with suppress(Exception):  # Spark itself may be what failed
                    self._opened().cancelJobGroup(call.group)

    def _numbered(self, n_jobs: int) -> RDD[int]:
        """Return an RDD of the numbers up to `n_jobs`, a partition a core; making one takes some milliseconds."""
        cut = n_jobs, min(n_jobs, self.parallelism)
        if cut not in self._rdds:
            self._rdds[cut] = self._opened().parallelize(range(n_jobs), cut[1])
        return self._rdds[cut]

    def _opened(self) -> SparkContext:
        if self._context is None:
            raise self.not_open()
        return self._context


@dataclass(frozen=True, slots=True)
class _Packed:
    """One job with its task and constants; numbers say which broadcast variables of the batch they need."""

    index: int
    work: bytes
    job: bytes
    constants: list[int]
    held: list[int]


class _Batch:
    """Jobs that become the partitions of one Spark job."""

    def __init__(self) -> None:
        self.taken = 0
        self.jobs: list[_Packed] = []
        self.variables: list[Any] = []

    def add(self, job: Job, task: Task, constants: Mapping[str, Broadcast]) -> None:
        """Pack a job."""
        self.taken += 1
        work, shared = pack((task, dict(constants)), SparkBroadcast)
        data, own = pack(job, SparkBroadcast)
        self.jobs.append(_Packed(job.index, work, data, self._places(shared), self._places(own)))

    def _places(self, handles: list[SparkBroadcast]) -> list[int]:
        for handle in handles:
            if handle.variable not in self.variables:
                self.variables.append(handle.variable)
        return [self.variables.index(handle.variable) for handle in handles]


class _Call:
    """The Spark jobs of one task; `numbered` gives an RDD of as many numbers as there are jobs."""

    def __init__(
        self, context: SparkContext, numbered: Callable[[int], RDD[int]], task: Task, exchange: Exchange | None
    ) -> None:
        self._exchange = exchange  # where large results are left, if workers and driver share files
        self.closed = threading.Event()
        self.group = f"recscale-{uuid.uuid4().hex}"
        self._context = context
        self._numbered = numbered
        self._name = getattr(task, "__name__", type(task).__name__)

    def run(self, batch: _Batch) -> list[Outcome]:
        """Return the outcomes of a batch; called on a thread of its own."""
        if self.closed.is_set():
            return []
        blanks = [None if self._exchange is None else self._exchange.blank() for _ in batch.jobs]
        outcomes = self._outcomes(batch, blanks)
        return [collected(outcome, blank, self._exchange) for outcome, blank in zip(outcomes, blanks, strict=True)]

    def _outcomes(self, batch: _Batch, blanks: list[FileRecipe | None]) -> list[Outcome]:
        """Return the outcomes as they travelled."""
        jobs = batch.jobs
        try:
            # A property of this thread, in Java as well.
            blocks = f"block {jobs[0].index}" + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
            self._context.setJobGroup(self.group, f"recscale_dask: {self._name}, {blocks}")
            serve = partial(_serve, jobs=jobs, variables=batch.variables, blanks=blanks)
            return [cloudpickle.loads(each) for each in self._numbered(len(jobs)).mapPartitions(serve).collect()]
        except (Py4JNetworkError, OSError) as error:
            raise _gone(error) from error
        except Exception as error:
            return [_failed(job.index, error) for job in jobs]


def _failed(index: int, error: Exception) -> Outcome:
    """Return the outcome of a Spark job that failed; errors of tasks do not come this way."""
    text = str(error)
    raised = re.findall(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception): .*)$", text, re.MULTILINE)
    if "spark.driver.maxResultSize" in text:
        reason = "its results, with those of other blocks, exceed spark.driver.maxResultSize; raise that"
        return Outcome(index, error=reason, traceback=text, portable=False)
    if "PythonException" in text and "exited unexpectedly" not in text:
        # The worker's Python is there but cannot load our function: another version, or no recscale_dask.
        reason = f"a Spark worker cannot run it ({raised[-1] if raised else text[:300]})"
        return Outcome(index, error=reason, traceback=text, portable=False)
    return Outcome(index, error=raised[-1] if raised else text[:300], traceback=text, lost=True)


def _gone(error: Exception) -> ExecutorUnavailable:
    return ExecutorUnavailable(
        f"Spark has stopped ({type(error).__name__}: {str(error)[:300]}). Look at its log, and run again."
    )


def _unportable(index: int, error: Exception) -> Outcome:
    return Outcome(index, error=f"{type(error).__name__}: {error}", portable=False)


# -- on the workers ----------------------------------------------------------------------------------------


def _serve(
    places: Iterator[int], *, jobs: list[_Packed], variables: list[Any], blanks: list[FileRecipe | None]
) -> Iterator[bytes]:
    """Yield the pickled outcome of each job that a partition names."""
    # To the end: Spark gives up a Python worker that leaves input unread, and the next job pays for a
    # new one.
    for place in places:
        yield _run(jobs[place], variables, blanks[place])
    keep_imports_from_collector()


def _run(packed: _Packed, variables: list[Any], blank: FileRecipe | None) -> bytes:
    try:
        task, constants = unpack(packed.work, [variables[place].value for place in packed.constants])
        job = unpack(packed.job, [variables[place].value for place in packed.held])
        outcome = run_job(task, job, constants)
    except Exception as error:
        outcome = _unportable(packed.index, error)
    try:
        return dump_bytes(deposited(outcome, blank))
    except Exception as error:
        reason = f"the result cannot be pickled: {type(error).__name__}: {error}"
        return dump_bytes(Outcome(packed.index, error=reason, portable=False))
