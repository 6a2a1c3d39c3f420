"""A Ray cluster as a person starts it, of real processes on loopback: for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE = 60.0  # seconds for a node to start


class RayCluster:
    """A head node and the nodes that are added, each with an object store of its own; a context manager.

    Parameters
    ----------
    num_cpus : int
        Of the head node.
    object_store_bytes : int
        Of each node.
    token : str, optional
        What the cluster asks for; ``""``: nothing; None: what `ray start` makes of the user's settings.
    client : bool
        Whether the head takes Ray Client, at `client_address`; needs grpcio.

    Attributes
    ----------
    address, client_address : str
        For ``address=``.
    environment : dict
        What who joins needs in the environment.
    """

    def __init__(
        self,
        num_cpus: int = 1,
        *,
        object_store_bytes: int = 100_000_000,
        token: str | None = "",
        client: bool = False,
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: Ray's sockets are in it
        self.environment = {} if token is None else {"RAY_AUTH_MODE": "disabled"}
        if token:
            self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        self._options = ("--object-store-memory", str(object_store_bytes), "--disable-usage-stats", "--block")
        port, client_port = _free_port(), _free_port()
        self.address, self.client_address = f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        options = ["--head", "--port", str(port), "--num-cpus", str(num_cpus), "--include-dashboard", "false"]
        options += ["--temp-dir", self._folder, "--include-log-monitor", "false"]
        options += ["--ray-client-server-port", str(client_port)] if client else []
        self._start(*options)
        self._wait_for_node(client_port if client else port)

    def add_node(self, num_cpus: int = 1) -> subprocess.Popen[bytes]:
        """Start a node, and return its process; it joins within seconds."""
        return self._start("--address", self.address, "--num-cpus", str(num_cpus))

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Kill all processes of a node at once, as if its machine had lost power."""
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self.nodes):
            self.kill(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        code = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        node = subprocess.Popen(
            [sys.executable, "-c", code, "start", *options, *self._options, "--node-ip-address", "127.0.0.1"],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.nodes.append(node)
        return node

    def _wait_for_node(self, port: int) -> None:
        """Wait until the head node is there and takes connections."""
        node, end = Path(self._folder, "session_latest", "sockets", "raylet"), time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                if node.exists():
                    return
            if time.monotonic() > end:
                self.close()
                raise TimeoutError(f"no Ray node at port {port} within {_PATIENCE:g} s")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
