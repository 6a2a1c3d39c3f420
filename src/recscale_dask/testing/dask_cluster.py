"""A Dask cluster as a person starts it, of real processes on loopback: for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client, Security


class DaskCluster:
    """A `dask scheduler` and the `dask worker` processes that are started for it; a context manager.

    Parameters
    ----------
    scheme : str
        ``"tcp"``, or ``"tls"`` with the `options` that it takes.
    options : sequence of str
        Options of every process.
    patience : float
        Seconds within which a process must have started.
    """

    def __init__(self, scheme: str = "tcp", options: tuple[str, ...] = (), patience: float = 60.0) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.address = f"{scheme}://127.0.0.1:{port}"
        self._options, self._patience = options, patience
        self._folder = tempfile.mkdtemp()
        self.scheduler = self._start("scheduler", "--port", port, "--dashboard-address", ":0")
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_worker(self, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; `options` may say that it has no nanny, who would start it again."""
        worker = self._start("worker", self.address, "--nthreads", "1", *options, environment=environment)
        self.workers.append(worker)
        return worker

    def client(self, n_workers: int, security: Security | None = None) -> Client:
        """Return a client once there are so many workers."""
        from distributed import Client

        client = Client(self.address, timeout=self._patience, set_as_default=False, security=security)
        client.wait_for_workers(n_workers, timeout=self._patience)
        return client

    def close(self) -> None:
        """End all of them, workers first: one that cannot say goodbye to the scheduler tries for long."""
        for process in (*reversed(self.workers), self.scheduler):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(
        self, what: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, *arguments, *self._options, "--host", "127.0.0.1"]
        place = {"DASK_TEMPORARY_DIRECTORY": self._folder}  # Dask leaves a folder in the one that it is told
        return subprocess.Popen(
            [*command, "--no-dashboard"],
            env={**(os.environ if environment is None else environment), **place},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
