"""Dask clusters of real processes, and a proxy that counts what goes to one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from recscale_dask.testing.dask_cluster import DaskCluster


@pytest.fixture(scope="session")
def dask_processes() -> Iterator[Callable[..., DaskCluster]]:
    """What starts clusters; all of them end with the session, or by `close` before."""
    with ExitStack() as stack:

        def start(*arguments: object, **options: object) -> DaskCluster:
            return stack.enter_context(DaskCluster(*arguments, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def scheduler(dask_processes: Callable[..., DaskCluster]) -> str:
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
