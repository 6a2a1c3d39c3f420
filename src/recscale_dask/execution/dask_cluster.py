"""Getting hold of a Dask cluster, and finding out within seconds that there is none."""

from __future__ import annotations

import importlib.metadata
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, Nanny
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.system import MEMORY_LIMIT

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.main_module import without_main_module


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


def start_cluster(n_workers: int, threads_per_worker: int, folder: Path) -> LocalCluster:
    """Return a cluster of processes on this machine, reachable from this machine only.

    Parameters
    ----------
    n_workers, threads_per_worker : int
        Number of processes, and of blocks that each runs at once.
    folder : Path
        Where workers keep what does not fit in memory; the caller deletes it.

    Raises
    ------
    ExecutorUnavailable
        If its processes do not start.
    """
    try:
        return _start_cluster(n_workers, threads_per_worker, folder)
    except (OSError, RuntimeError) as error:
        raise ExecutorUnavailable(
            f"a Dask cluster of {n_workers} processes does not start here ({error}: {error.__cause__}). "
            "Look at memory and process limits; then try fewer workers, or executor='threads'."
        ) from error


def _start_cluster(n_workers: int, threads_per_worker: int, folder: Path) -> LocalCluster:
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        worker_class=QuietNanny,
        preload="recscale_dask.execution.dask_worker",
        host="127.0.0.1",
        # Not None: a server of plain pages starts in any case, and warns if 8787 is taken.
        dashboard_address="127.0.0.1:0",
        local_directory=str(folder),
        # Mapped files count in every worker's memory although they are there once; a share per
        # worker, Dask's default, would have workers killed for pages that they have in common.
        memory_limit=MEMORY_LIMIT,
        # The core says what matters of a dead worker.
        silence_logs=logging.CRITICAL,
        # One more try by Dask; the core then runs again what is missing, and counts.
        scheduler_kwargs={"allowed_failures": 1, "dashboard": False},
    )


def connect(address: str, timeout: float) -> Client:
    """Return a client of the scheduler at an address.

    Raises
    ------
    ExecutorUnavailable
        If nobody answers there, or somebody who is no Dask scheduler.
    """
    advice = "Look at the address, or start one: `dask scheduler`, then `dask worker ADDRESS` on each machine."
    try:
        _listen(address, timeout)
        return Client(address, timeout=timeout, set_as_default=False)
    except _NotDask as error:
        raise ExecutorUnavailable(f"what answers at {address!r} is no Dask scheduler. {advice}") from error
    except (OSError, ValueError) as error:
        raise ExecutorUnavailable(f"nobody answers at {address!r} ({error}). {advice}") from error


class _NotDask(Exception):
    """The other side does not speak like a Dask scheduler."""


def _listen(address: str, timeout: float) -> None:
    """Check that somebody at an address greets as Dask does, for its Client would wait for it for ever."""
    scheme, location = parse_address(address)
    if scheme not in ("tcp", "tls"):
        return
    with socket.create_connection(parse_host_port(location), timeout=min(timeout, 5)) as connection:
        if scheme == "tls":
            return
        try:
            size = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "little")
        except OSError as error:
            raise _NotDask from error
        # The greeting starts with its size, some hundred bytes; text read as a number is far larger.
        if not 0 < size < 1 << 20:
            raise _NotDask


def wait_for_worker(client: Client, timeout: float) -> None:
    """Wait until the cluster has a worker.

    Raises
    ------
    ExecutorUnavailable
        If it has none in time.
    """
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise ExecutorUnavailable(
            f"the Dask scheduler at {client.scheduler.address} has no worker after {timeout:g} s. "
            f"Start one with `dask worker {client.scheduler.address}`, or give a larger timeout."
        ) from error


def check_workers(client: Client, folder: Path | None) -> bool:
    """Return whether all workers see a folder of this machine, once sure that they can run our tasks.

    Raises
    ------
    ExecutorUnavailable
        If a worker has another Python, another recscale_dask, or none.
    """
    ours = _versions()
    token = None
    if folder is not None:
        token = folder / "token"
        token.write_text(client.id)
    answers = client.run(_look, token, on_error="return")
    # A worker that just died says nothing about the others.
    answers = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
    for address, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ExecutorUnavailable(
                f"the Dask worker at {address} cannot run recscale_dask ({type(answer).__name__}: {answer}). "
                f"Install recscale-dask {ours[1]} there."
            )
        if answer[0] != ours:
            raise ExecutorUnavailable(
                f"the Dask worker at {address} has Python {answer[0][0]} and recscale_dask {answer[0][1]}; "
                f"here they are {ours[0]} and {ours[1]}. Install the same versions on both sides."
            )
    return bool(answers) and all(answer[1] == client.id for answer in answers.values())


def _versions() -> tuple[str, str]:
    # Functions of the caller's script travel as byte code, which is that of one minor version.
    return "{}.{}".format(*sys.version_info[:2]), importlib.metadata.version("recscale-dask")


def _look(token: Path | None) -> tuple[tuple[str, str], str | None]:
    """Return the versions of a worker, and what it reads in the file; runs on the worker."""
    try:
        content = None if token is None else token.read_text()
    except OSError:
        content = None
    return _versions(), content
