"""The executor for Ray.

Constants and blocks are put once into Ray's object store, shared memory that workers of a machine map without a copy
and that sends an object to each further machine once. Large results come back the same way.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import cloudpickle
import ray
from ray.exceptions import GetTimeoutError, RayError, RaySystemError, RayTaskError

from recscale_dask.checks import whole_number
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.packing import pack
from recscale_dask.execution.portable import dump_bytes
from recscale_dask.types import Combine, Task
from recscale_dask_ray import worker
from recscale_dask_ray.session import join_ray, start_ray

_POLL = 1.0  # seconds between two looks at the cluster
_FEW_WORKERS = 8  # up to which partial sums are added here in less time than workers are told to
_FIRST_TASK = 60.0  # seconds for a first worker to start


class RayBroadcast(Broadcast):
    """A value in Ray's object store; on workers a `LocalBroadcast` takes its place."""

    def __init__(self, value: Any) -> None:
        _check_pickles(value)
        self.ref: ray.ObjectRef[Any] | None = ray.put(value)

    def load(self) -> Any:
        """Return the value on the driver, from the store."""
        return None if self.ref is None else ray.get(self.ref)

    def release(self) -> None:
        """Let go of it: Ray frees what nobody refers to."""
        self.ref = None


class RayExecutor(Executor):
    """Runs blocks on Ray.

    Parameters
    ----------
    address : str, optional
        Of a cluster that this machine is a node of: ``"auto"`` or ``"10.0.0.1:6379"``. Without it the Ray that this
        process is connected to is used and left open, and if there is none, one of its own is started and ended.
    n_workers : int, optional
        Number of worker processes of a Ray of its own; by default as many as this process may use cores.
    object_store_bytes : int, optional
        Shared memory of a Ray of its own; by default a third of the memory that may be used. What does not fit
        goes to disk.
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
        self._folds = folds
        self._open = False
        self._run: Any = None
        self._combine: Any = None
        self._sent: weakref.WeakSet[RayBroadcast] = weakref.WeakSet()
        self._cpus = (0.0, 1)  # when they were counted, and how many
        self._undo = ExitStack()

    # -- opening and closing -----------------------------------------------------------------------------

    def start(self) -> None:
        """Use the Ray there is, join the one at the address, or start one."""
        if ray.is_initialized():
            if self._address is not None:
                raise ExecutorUnavailable(
                    "this process is connected to a Ray already. Leave the address out to use that one, or call "
                    "ray.shutdown() before."
                )
        elif self._address is not None:
            join_ray(self._address, self._undo)
        else:
            start_ray(self._n_workers, self._object_store_bytes, self._undo)
        self._open = True
        self._cpus = 0.0, 1
        # Ray's own retries would run again what the core counts.
        options = {"num_cpus": 1, "max_retries": 0}
        self._run, self._combine = ray.remote(**options)(worker.run), ray.remote(**options)(worker.combine)
        self._check_worker()
        folds = self.parallelism > _FEW_WORKERS if self._folds is None else self._folds
        self.capabilities = replace(self.capabilities, folds=folds)

    def _check_worker(self) -> None:
        """Look whether a worker starts and has the versions that we have."""
        ours = worker.versions()
        try:
            theirs = ray.get(ray.remote(num_cpus=1, max_retries=0)(worker.versions).remote(), timeout=_FIRST_TASK)
        except GetTimeoutError as error:
            raise ExecutorUnavailable(
                f"no worker of Ray took a first task within {_FIRST_TASK:g} s. Are there free CPUs? See `ray status`."
            ) from error
        except RayError as error:
            raise ExecutorUnavailable(
                f"a worker of Ray cannot run recscale_dask: {_text(error)}. Install recscale-dask-ray on every node."
            ) from error
        if theirs != ours:
            raise ExecutorUnavailable(
                f"a worker of Ray has recscale_dask {theirs}; here it is {ours}. Install the same on every node."
            )

    def stop(self) -> None:
        """Free what is in the store, and end Ray if `start` started it."""
        if ray.is_initialized():
            for broadcast in list(self._sent):
                broadcast.release()
        self._open = False
        self._run = self._combine = None
        self._undo.close()

    # -- the contract ------------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """CPUs of all nodes, as Ray counts them; at least 1."""
        counted, cpus = self._cpus
        if time.monotonic() - counted > _POLL:
            self._opened()
            try:
                cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
            except Exception as error:
                raise _gone(error) from error
            self._cpus = time.monotonic(), cpus
        return cpus

    def broadcast(self, value: Any) -> Broadcast:
        """Put the value into the object store."""
        self._opened()
        broadcast = RayBroadcast(value)
        self._sent.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers finish."""
        self._opened()
        call = _Call(self._run, task, constants)
        jobs = iter(jobs)
        running: dict[Any, int] = {}
        # Closing takes no further jobs and forgets those under way, which are few: `ray.cancel` of a task that
        # answers at that moment makes Ray 2.60 end this process (task_manager.cc: unexpected system state).
        while True:
            while len(running) < 2 * self.parallelism and (job := next(jobs, None)) is not None:
                ref = call.submit(job)
                if isinstance(ref, Outcome):
                    yield ref
                else:
                    running[ref] = job.index
            if not running:
                return
            for ref in self._wait(list(running)):
                yield _outcome(ref, running.pop(ref))

    def fold(self, task: Task, combine: Combine, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Outcome:
        """Add up on the workers, neighbours in pairs level by level, and fetch the root alone."""
        self._opened()
        call = _Call(self._run, task, constants)
        work = dump_bytes(combine)
        level: list[Any] = []
        for job in jobs:
            ref = call.submit(job)
            if isinstance(ref, Outcome):
                return ref
            level.append(ref)
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            odd = level[-1:] if len(level) % 2 else []
            level = [self._combine.remote(work, left, right) for left, right in pairs] + odd
        while not self._wait(level):
            pass
        outcome = _outcome(level[0], 0)
        if outcome.lost:
            raise WorkerLost(outcome.error)
        return outcome

    # -- waiting -----------------------------------------------------------------------------------------

    def _opened(self) -> None:
        if not self._open:
            raise self.not_open()
        if not ray.is_initialized():
            raise ExecutorUnavailable("Ray was shut down while the executor was open. Open it again.")

    def _wait(self, refs: list[Any]) -> list[Any]:
        """Return the references whose tasks ended, maybe none after a while."""
        try:
            ended, _ = ray.wait(refs, num_returns=1, timeout=_POLL)
            if ended:  # all that are ready by now
                ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        except RaySystemError as error:
            raise _gone(error) from error
        return list(ended)


class _Call:
    """One task with its constants, on its way to the workers."""

    def __init__(self, run: Any, task: Task, constants: Mapping[str, Broadcast]) -> None:
        self._run = run
        name = getattr(task, "__name__", type(task).__name__)
        self._options = {"name": f"recscale_dask: {name}"}
        self._error: Exception | None = None
        try:
            data, self._constants = pack((task, dict(constants)), RayBroadcast)
            self._work = ray.put(data)
        except Exception as error:
            self._error = error

    def submit(self, job: Job) -> Any:
        """Return the reference of a job's outcome, or the outcome that says why it cannot be sent."""
        if self._error is not None:
            return _unportable(job.index, self._error)
        try:
            data, handles = pack(job, RayBroadcast)
        except Exception as error:
            return _unportable(job.index, error)
        held = [handle.ref for handle in (*self._constants, *handles)]
        return self._run.options(**self._options).remote(job.index, len(self._constants), self._work, data, *held)


def _outcome(ref: Any, index: int) -> Outcome:
    """Return the outcome of a task that ended."""
    try:
        outcome: Outcome = ray.get(ref)
        return outcome
    except RayTaskError as error:  # not of our task, which answers with an outcome: of Ray around it
        return Outcome(index, error=_text(error.cause), traceback=str(error), portable=False)
    except RayError as error:
        return Outcome(index, error=f"a Ray worker died, or an object was lost ({_text(error)})", lost=True)
    except Exception as error:  # the result does not load here
        return _unportable(index, error)


def _check_pickles(value: Any) -> None:
    """Raise the error of a value that cannot be pickled as it is: Ray wraps it in a page of advice."""
    cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)


def _gone(error: Exception) -> ExecutorUnavailable:
    return ExecutorUnavailable(f"Ray has stopped ({_text(error)}). Look at its logs, and run again.")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _unportable(index: int, error: Exception) -> Outcome:
    return Outcome(index, error=f"{type(error).__name__}: {error}", portable=False)
