"""Getting hold of a Dask cluster, and finding out within seconds that there is none."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, Nanny, Security, get_worker
from distributed.system import MEMORY_LIMIT

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.dask_tls import look_at_scheduler, nobody
from recscale_dask.execution.main_module import without_main_module
from recscale_dask.execution.signs import signs_in


class QuietNanny(Nanny):  # type: ignore[misc]
    """A worker's guardian that leaves the environment and the script of the caller alone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Dask would set OMP_NUM_THREADS=1 and more in the caller's own environment, for good; tasks
        # limit their threads themselves.
        self.pre_spawn_env: dict[str, str] = {}

    async def instantiate(self) -> Any:
        """Start the worker process without running the caller's script again in it."""
        with without_main_module:
            return await super().instantiate()


def start_cluster(
    n_workers: int, threads_per_worker: int, folder: Path, security: Security | None = None
) -> LocalCluster:
    """Return a cluster of processes on this machine, reachable from this machine only.

    Parameters
    ----------
    n_workers, threads_per_worker : int
        Number of processes, and of blocks that each runs at once.
    folder : Path
        Where workers keep what does not fit in memory, and the scheduler its locks; the caller deletes it.
    security : distributed.Security, optional
        With it, scheduler and workers encrypt what they say, and let in nobody else, on this machine neither.

    Raises
    ------
    ExecutorUnavailable
        If its processes do not start.
    """
    try:
        return _start_cluster(n_workers, threads_per_worker, folder, security)
    except (OSError, RuntimeError) as error:
        raise ExecutorUnavailable(
            f"a Dask cluster of {n_workers} processes does not start here ({error}: {error.__cause__}). "
            "Look at memory and process limits; then try fewer workers, or executor='threads'."
        ) from error


def _start_cluster(n_workers: int, threads_per_worker: int, folder: Path, security: Security | None) -> LocalCluster:
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        worker_class=QuietNanny,
        host="127.0.0.1",
        security=security,
        protocol=None if security is None else "tls://",
        # Not None: a server of plain pages starts in any case, and warns if 8787 is taken.
        dashboard_address="127.0.0.1:0",
        local_directory=str(folder),
        # Mapped files count in every worker's memory although they are there once; a share per
        # worker, Dask's default, would have workers killed for pages that they have in common.
        memory_limit=MEMORY_LIMIT,
        # The core says what matters of a dead worker.
        silence_logs=logging.CRITICAL,
        # One more try by Dask; the core then runs again what is missing, and counts.
        scheduler_kwargs={"allowed_failures": 1, "dashboard": False, "local_directory": str(folder)},
    )


def connect(address: str, timeout: float, security: Security | None = None) -> Client:
    """Return a client of the scheduler at an address.

    Raises
    ------
    ExecutorUnavailable
        If nobody answers there, somebody who is no Dask scheduler, or one that refuses us.
    """
    look_at_scheduler(address, security, timeout)
    try:
        return Client(address, timeout=timeout, set_as_default=False, security=security)
    except (OSError, ValueError) as error:
        raise nobody(address, error) from error


def is_in_task() -> bool:
    """Return whether this runs on a worker of a Dask cluster."""
    try:
        get_worker()
    except ValueError:
        return False
    return True


def current_client() -> Client | None:
    """Return the open client that the caller made the default of this process, if there is one."""
    try:
        client = Client.current()
    except ValueError:
        return None
    return client if client.status == "running" and not client.asynchronous else None


def has_worker(client: Client, timeout: float) -> bool:
    """Return whether the cluster has a worker, after waiting for one if need be."""
    if client.nthreads():
        return True
    demand = client.submit(int, pure=False)  # an adaptive cluster starts workers for tasks, and not for who waits
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError:
        return False
    finally:
        demand.release()
    return True


def who_sees(client: Client, folder: Path, workers: Collection[str] | None = None) -> dict[str, bool]:
    """Return which workers, by default of all, see a folder of this machine, and that for temporary files.

    Those that died are left out.

    Raises
    ------
    ExecutorUnavailable
        If a worker does not even look.
    """
    with signs_in(folder) as signs:
        answers = client.run(signs.seen, workers=None if workers is None else list(workers), on_error="return")
    found = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
    for address, answer in found.items():
        if isinstance(answer, BaseException):
            raise ExecutorUnavailable(
                f"the Dask worker at {address} cannot run recscale_dask ({type(answer).__name__}: {answer}). "
                "Look at its log, and install the same packages there."
            )
    return found
