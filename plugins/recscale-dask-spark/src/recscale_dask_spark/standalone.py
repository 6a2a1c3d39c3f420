"""A standalone cluster on loopback, of a master and workers that are processes of their own: for tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pyspark

LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.port": "0"}
"""Settings of an application that shall listen on loopback only."""


class StandaloneCluster:
    """A master, and the workers of one core that are started for it; a context manager.

    Parameters
    ----------
    folder : Path
        Where workers keep their files.
    n_workers : int
        Workers to start at once; `add_worker` starts more.
    patience : float
        Seconds within which a worker must have registered.
    """

    def __init__(self, folder: Path, n_workers: int = 2, patience: float = 60.0) -> None:
        self._folder, self._patience = folder, patience
        self._processes: list[subprocess.Popen[bytes]] = []
        port, self._page = _free_port(), _free_port()
        self.master = f"spark://127.0.0.1:{port}"
        self._start("master.Master", "--port", str(port), "--webui-port", str(self._page))
        for _ in range(n_workers):
            self.add_worker()
        self.wait_for("aliveworkers", n_workers)

    def add_worker(self) -> None:
        """Start one more worker."""
        options = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "-d", str(self._folder))
        self._start("worker.Worker", *options, self.master)

    def wait_for(self, what: str, value: int) -> None:
        """Wait until the master says that a number is so: `aliveworkers`, or `coresused` by applications.

        Raises
        ------
        TimeoutError
            If it does not within the patience.
        """
        deadline = time.monotonic() + self._patience
        while (found := self._status().get(what)) != value:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.master} tells {what} {found}, not {value}, after {self._patience:g} s")
            time.sleep(0.2)

    def kill_worker(self) -> None:
        """Kill the last worker, with what it started."""
        worker = self._processes.pop()
        for each in psutil.Process(worker.pid).children(recursive=True):
            each.kill()
        worker.kill()
        worker.wait(10)

    def close(self) -> None:
        """End all of them."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def __enter__(self) -> StandaloneCluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _status(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/json/", timeout=5) as page:
                status: dict[str, Any] = json.load(page)
                return status
        except OSError:
            return {}

    def _start(self, what: str, *arguments: str) -> None:
        program = str(Path(pyspark.__path__[0], "bin", "spark-class"))
        command = [program, f"org.apache.spark.deploy.{what}", "--host", "127.0.0.1", *arguments]
        environment = {**os.environ, "SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
