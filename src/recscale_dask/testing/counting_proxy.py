"""A proxy between a driver and a scheduler, which counts what goes through, and cuts it: for tests."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class CountingProxy:
    """Listens on loopback, passes on what it hears to another address, and counts the bytes; a context manager.

    Parameters
    ----------
    address : str
        Of a scheduler, such as ``"tcp://127.0.0.1:8786"``.

    Attributes
    ----------
    address : str
        Of the proxy itself, to be given to who is to be counted.
    sent, received : int
        Bytes to the scheduler and from it.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self._target = host, int(port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.sent = self.received = 0
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """Cut all connections, and take no more; both ends live on."""
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
