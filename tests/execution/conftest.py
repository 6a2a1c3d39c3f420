"""Dask clusters as a person starts them, of real processes on loopback."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress

import pytest
from distributed import Client, Security

PATIENCE = 60  # seconds for a process to start


class DaskProcesses:
    """A `dask scheduler` and the `dask worker` processes that are started for it."""

    def __init__(self, scheme: str = "tcp", options: tuple[str, ...] = ()) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.address = f"{scheme}://127.0.0.1:{port}"
        self._options = options
        self._processes = [self._start("scheduler", "--port", port, "--dashboard-address", ":0")]

    def add_worker(self, *options: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker of one thread; `options` may say that it has no nanny, who would start it again."""
        worker = self._start("worker", self.address, "--nthreads", "1", *options, environment=environment)
        self._processes.append(worker)
        return worker

    def client(self, n_workers: int, security: Security | None = None) -> Client:
        """Return a client once there are so many workers."""
        client = Client(self.address, timeout=PATIENCE, set_as_default=False, security=security)
        client.wait_for_workers(n_workers, timeout=PATIENCE)
        return client

    def close(self) -> None:
        """End all of them, workers first: one that cannot say goodbye to the scheduler tries for long."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(
        self, what: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "dask", what, *arguments, *self._options, "--host", "127.0.0.1"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, "--no-dashboard"], env=environment, **quiet)


@pytest.fixture(scope="session")
def dask_processes() -> Iterator[Callable[..., DaskProcesses]]:
    """What starts clusters; all of them end with the session, or by `close` before."""
    with ExitStack() as stack:

        def start(*arguments: object, **options: object) -> DaskProcesses:
            return stack.enter_context(closing(DaskProcesses(*arguments, **options)))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def scheduler(dask_processes: Callable[..., DaskProcesses]) -> str:
    """The address of a real scheduler with two worker processes, over TCP on loopback."""
    processes = dask_processes()
    processes.add_worker()
    processes.add_worker()
    processes.client(2).close()
    return processes.address


class CountingProxy:
    """Listens on loopback, passes on what it hears to a scheduler, and counts the bytes each way."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self._target = host, int(port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.sent = self.received = 0
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Cut all connections."""
        for each in (self._server, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours = self._server.accept()[0]
                theirs = socket.create_connection(self._target)
                self._connections += [ours, theirs]
                for source, target, name in ((ours, theirs, "sent"), (theirs, ours, "received")):
                    thread = threading.Thread(target=self._pass_on, args=(source, target, name))
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                setattr(self, name, getattr(self, name) + len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def counting_proxy() -> Iterator[Callable[[str], CountingProxy]]:
    """What makes a `CountingProxy` for an address."""
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(closing(CountingProxy(address)))
