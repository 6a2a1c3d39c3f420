"""The executor that runs blocks on threads of this process: kernels release the GIL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from recscale_dask.checks import whole_number
from recscale_dask.execution.contract import Broadcast, Executor, Job, Outcome
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.portable import run_job
from recscale_dask.execution.serial import LocalBroadcast
from recscale_dask.types import Task


class ThreadsExecutor(Executor):
    """Runs blocks on threads of this process.

    Parameters
    ----------
    n_workers : int, optional
        Number of threads; by default as many as this process may use cores.
    """

    name = "threads"

    def __init__(self, n_workers: int | None = None) -> None:
        self._n_workers = cpu_count() if n_workers is None else whole_number(n_workers, "n_workers")
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Make the pool; threads start as they are needed."""
        self._pool = ThreadPoolExecutor(self._n_workers, thread_name_prefix="recscale")

    def stop(self) -> None:
        """Wait for running blocks and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    @property
    def parallelism(self) -> int:
        """Number of threads."""
        return self._n_workers

    def broadcast(self, value: Any) -> Broadcast:
        """Return a handle on the value itself."""
        return LocalBroadcast(value)

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as threads finish."""
        if self._pool is None:
            raise self.not_open()
        running: set[Future[Outcome]] = set()
        jobs = iter(jobs)
        try:
            while True:
                while len(running) < 2 * self.parallelism and (job := next(jobs, None)) is not None:
                    running.add(self._pool.submit(run_job, task, job, constants))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()
