"""The executor that runs blocks on the processes of joblib's loky."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cloudpickle
from joblib.externals.loky import (
    FIRST_COMPLETED,
    BrokenProcessPool,
    Future,
    ProcessPoolExecutor,
    wait,
)
from recscale_dask.errors import OptionError, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome, unportable
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.types import Task


class LokyExecutor(Executor):
    """Runs blocks on loky processes; constants are files that all of them map.

    Parameters
    ----------
    n_workers : int, optional
        Number of processes; by default as many as this process may use cores.
    """

    name = "loky"
    capabilities = Capabilities(isolated=True, shared_files=True)

    def __init__(self, n_workers: int | None = None) -> None:
        if n_workers is not None and n_workers < 1:
            raise OptionError(f"n_workers must be at least 1; got {n_workers}")
        self._n_workers = n_workers or cpu_count()
        self._pool: ProcessPoolExecutor | None = None
        self._exchange: Exchange | None = None

    def start(self) -> None:
        """Make the folder that processes share; they start with the first block."""
        self._exchange = Exchange()
        self._pool = ProcessPoolExecutor(self._n_workers)

    def stop(self) -> None:
        """End the processes and delete the folder."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    @property
    def parallelism(self) -> int:
        """Number of processes."""
        return self._n_workers

    def broadcast(self, value: Any) -> Broadcast:
        """Write the value to a file once; what travels with the blocks is its path."""
        if self._exchange is None:
            raise self.not_open()
        return self._exchange.put(value)

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as processes answer, with at most two blocks for each under way."""
        if self._pool is None:
            raise self.not_open()
        running: dict[Future, Job] = {}
        jobs = iter(jobs)
        try:
            while True:
                while len(running) < 2 * self.parallelism and (job := next(jobs, None)) is not None:
                    try:
                        call = dump_bytes((task, job, dict(constants)))
                    except Exception as error:
                        yield unportable(job.index, error)
                        continue
                    running[self._pool.submit(_run, call)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        outcome = cloudpickle.loads(future.result())
                    except BrokenProcessPool:
                        raise
                    except Exception as error:  # the call does not load on the worker, or the result here
                        outcome = unportable(job.index, error)
                    yield outcome
        except BrokenProcessPool as error:  # the core asks again for the blocks without an answer
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = ProcessPoolExecutor(self._n_workers)
            raise WorkerLost(f"{type(error).__name__}: {error}") from error
        finally:
            for future in running:
                future.cancel()


def _run(call: bytes) -> bytes:
    """Run one job on a worker; bytes, so that what cannot be pickled is seen here and told."""
    task, job, constants = cloudpickle.loads(call)
    outcome = run_job(task, job, constants)
    try:
        return dump_bytes(outcome)
    except Exception as error:
        return dump_bytes(unportable(job.index, error))
