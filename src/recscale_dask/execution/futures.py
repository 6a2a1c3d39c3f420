"""The executor for any `concurrent.futures.Executor`: loky, mpi4py, Dask's, the standard library's."""

from __future__ import annotations

import pkgutil
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import cloudpickle

from recscale_dask.checks import whole_number
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost, error_text
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome, unportable
from recscale_dask.execution.deposit import collected
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.futures_worker import Missing, answer, look
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.packing import pack
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.execution.serial import LocalBroadcast
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.execution.signs import signs_in
from recscale_dask.types import Task

PoolFactory: TypeAlias = Callable[..., Pool]
"""Makes a pool; called without arguments, or with the number of workers."""

_KNOWN = {"loky": "loky:ProcessPoolExecutor", "mpi4py": "mpi4py.futures:MPIPoolExecutor"}
_OPTIONS = {
    # loky ends workers that grew by 300 MB, which it takes for a leak: here it is blocks, mapped or kept.
    "loky": {"env": {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}},
}


class KeptBroadcast(Broadcast):
    """A constant that a worker gets with the first of its jobs that needs it, and keeps under a key."""

    def __init__(self, value: Any) -> None:
        self.key = uuid.uuid4().hex
        self._value = value
        self._data: bytes | None = dump_bytes(value)

    def load(self) -> Any:
        """Return the value on the driver; on workers a `LocalBroadcast` takes the place of this handle."""
        return self._value

    @property
    def alive(self) -> bool:
        """Whether it was not released."""
        return self._data is not None

    def data(self) -> bytes:
        """Return the pickled value."""
        assert self._data is not None, "this constant was released"
        return self._data

    def release(self) -> None:
        """Forget the value here; a worker does with its next job."""
        self._value = self._data = None


class FuturesExecutor(Executor):
    """Runs blocks on a pool with the interface of `concurrent.futures.Executor`.

    Parameters
    ----------
    pool : concurrent.futures.Executor, callable or str
        A pool of the caller's, which is left open. Or a function that makes one, called when this
        executor is opened and again after a worker died, such as ``loky.ProcessPoolExecutor``; or
        ``"module:function"`` for such a function; or ``"loky"`` or ``"mpi4py"``.
    n_workers : int, optional
        How many tasks the pool runs at once; given to the function that makes it. By default what the
        pool itself says, or as many as this process may use cores.
    shared_files : bool, optional
        Whether all workers see the temporary files of this machine: constants are then mapped from one
        copy instead of sent to each worker. By default as many are asked as run at once.
    timeout : float
        Seconds to wait, at the start, for the workers to answer.
    """

    name = "futures"
    example = "pool='loky'"
    """What `open_executor` says it needs."""

    def __init__(
        self,
        pool: Pool | PoolFactory | str,
        *,
        n_workers: int | None = None,
        shared_files: bool | None = None,
        timeout: float = 60,
    ) -> None:
        if not (isinstance(pool, Pool | str) or callable(pool)):
            raise OptionError(
                f"pool must be a concurrent.futures.Executor, a function that makes one, or its name, such as 'loky' "
                f"or 'package.module:function'; got {type(pool).__name__}"
            )
        self._given = pool
        self._n_workers = None if n_workers is None else whole_number(n_workers, "n_workers")
        self._shared_files = shared_files
        self._timeout = timeout
        self._factory: PoolFactory | None = None
        self._pool: Pool | None = None
        self._exchange: Exchange | None = None
        self._kept: weakref.WeakSet[KeptBroadcast] = weakref.WeakSet()

    # -- opening and closing -----------------------------------------------------------------------------

    def start(self) -> None:
        """Make the pool if it is not the caller's, and ask its workers where they are."""
        if isinstance(self._given, Pool):
            self._pool = self._given
        else:
            self._factory = _factory(self._given) if isinstance(self._given, str) else self._given
            self._pool = self._make_pool()
        exchange = Exchange()
        self._exchange = exchange  # so that `stop` closes it whatever happens
        marker = object()
        try:
            with signs_in(exchange.folder) as signs:
                # All at once, so that a pool that hands tasks to whoever is idle asks those on other machines too.
                asked = [self._pool.submit(look, marker, signs) for _ in range(self.parallelism)]
                silent = wait(asked, self._timeout).not_done
                if silent:
                    raise self._silence(asked, len(silent))
                markers, seen = zip(*(each.result() for each in asked), strict=True)
        except ExecutorUnavailable:
            raise
        except Exception as error:
            raise ExecutorUnavailable(
                f"no worker of the pool answers ({error_text(error)}). Give a pool that was not shut down, whose "
                "workers have recscale_dask in the same version."
            ) from error
        if markers[0] is marker:  # it did not travel: tasks run in this process
            self.capabilities = Capabilities()
        else:
            shared = all(seen) if self._shared_files is None else self._shared_files
            self.capabilities = Capabilities(isolated=True, shared_files=shared)

    def _silence(self, asked: Sequence[Future[Any]], n_silent: int) -> ExecutorUnavailable:
        """Give up what was asked, and a pool of our own; return the error."""
        for future in asked:
            future.cancel()
        pool = self._pool
        if pool is not None and self._factory is not None:
            self._pool = None  # `stop` would wait for its workers
            pool.shutdown(wait=False)
        return ExecutorUnavailable(
            f"{n_silent} of {len(asked)} tasks have no answer from the pool after {self._timeout:g} s: it has no "
            "workers yet, or they are busy. Look whether they started (MPI, a cluster), or give a smaller n_workers or "
            "a larger timeout."
        )

    def stop(self) -> None:
        """End the pool if it is not the caller's, and delete what was shared."""
        pool, self._pool = self._pool, None
        if pool is not None and self._factory is not None:
            pool.shutdown(wait=True)
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _make_pool(self) -> Pool:
        assert self._factory is not None
        pool = self._factory() if self._n_workers is None else self._factory(self._n_workers)
        if not isinstance(pool, Pool):
            raise OptionError(f"pool makes a {type(pool).__name__}; it must make a concurrent.futures.Executor")
        return pool

    # -- the contract ------------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """What was given, or what the pool says."""
        if self._n_workers is not None:
            return self._n_workers
        # The standard library's and loky's pools, then mpi4py's.
        told = getattr(self._pool, "_max_workers", None) or getattr(self._pool, "num_workers", None)
        return max(1, told) if isinstance(told, int) else cpu_count()

    def broadcast(self, value: Any) -> Broadcast:
        """Hand on the value itself, write it to a file that all workers map, or keep it for them to ask for."""
        if self._exchange is None:
            raise self.not_open()
        if not self.capabilities.isolated:
            return LocalBroadcast(value)
        if self.capabilities.shared_files:
            return self._exchange.put(value)
        broadcast = KeptBroadcast(value)
        self._kept.add(broadcast)
        return broadcast

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers answer, with at most two jobs for each under way."""
        self._opened()
        submit = self._submit if self.capabilities.isolated else self._submit_here
        jobs = iter(jobs)
        running: dict[Future[Any], _Call] = {}
        try:
            while True:
                while len(running) < 2 * self.parallelism and (job := next(jobs, None)) is not None:
                    try:
                        call = submit(task, job, constants)
                    except (BrokenExecutor, ExecutorUnavailable):
                        raise
                    except Exception as error:
                        yield unportable(job.index, error)
                        continue
                    running[call.future] = call
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    call = running.pop(future)
                    outcome = self._outcome(call)
                    if isinstance(outcome, _Call):
                        running[outcome.future] = outcome
                    else:
                        yield outcome
        except BrokenExecutor as error:  # the core asks again for the jobs without an answer
            self._mend()
            raise WorkerLost(error_text(error)) from error
        finally:
            for future in running:
                future.cancel()

    def _opened(self) -> Pool:
        if self._pool is None:
            raise self.not_open()
        return self._pool

    # -- one job -----------------------------------------------------------------------------------------

    def _submit_here(self, task: Task, job: Job, constants: Mapping[str, Broadcast]) -> _Call:
        return _Call(job.index, self._opened().submit(run_job, task, job, constants))

    def _submit(self, task: Task, job: Job, constants: Mapping[str, Broadcast]) -> _Call:
        data, handles = pack((task, job, dict(constants)), KeptBroadcast)
        blank = self._exchange.blank() if self._exchange is not None and self.capabilities.shared_files else None
        return self._send(_Call(job.index, Future(), data, tuple(handles), blank), {})

    def _send(self, call: _Call, values: Mapping[str, bytes]) -> _Call:
        pool = self._opened()
        keys = [handle.key for handle in call.handles]
        live = {each.key for each in self._kept if each.alive}
        future = pool.submit(answer, call.data, keys, values, live, call.blank)
        return replace(call, future=future)

    def _outcome(self, call: _Call) -> Outcome | _Call:
        """Return the outcome of a call that ended, or the call sent again with the constants that its worker lacks."""
        try:
            outcome = call.future.result()
        except BrokenExecutor:
            raise
        except Exception as error:  # of the pool: those of tasks are outcomes
            outcome = Outcome(call.index, error=f"the pool failed: {error_text(error)}")
        if isinstance(outcome, Missing):
            return self._send(call, {each.key: each.data() for each in call.handles if each.key in outcome.keys})
        if isinstance(outcome, bytes):
            try:
                outcome = cloudpickle.loads(outcome)
            except Exception as error:  # the result does not load here
                outcome = unportable(call.index, error)
        # A worker that could not load the job does not know its number.
        return collected(replace(outcome, index=call.index), call.blank, self._exchange)

    def _mend(self) -> None:
        """Make a new pool in the place of a broken one, if it is ours."""
        if self._factory is not None and self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = self._make_pool()


@dataclass(frozen=True, slots=True)
class _Call:
    """One job under way; `data` and what follows are for workers in other processes."""

    index: int
    future: Future[Any]
    data: bytes = b""
    handles: tuple[KeptBroadcast, ...] = ()
    blank: FileRecipe | None = None  # for a large result


def _factory(name: str) -> PoolFactory:
    """Return the function that a name stands for."""
    target = _KNOWN.get(name, name)
    try:
        factory: PoolFactory = pkgutil.resolve_name(target)
    except ImportError as error:
        package = target.partition(":")[0].partition(".")[0]
        raise ExecutorUnavailable(
            f"pool {name!r} does not import: {error_text(error)}. Try: pip install {package}"
        ) from error
    except (AttributeError, ValueError) as error:
        known = ", ".join(map(repr, _KNOWN))
        raise OptionError(f"pool {name!r}: {error_text(error)}. Give 'package.module:function', or {known}.") from error
    return partial(factory, **_OPTIONS[name]) if name in _OPTIONS else factory
