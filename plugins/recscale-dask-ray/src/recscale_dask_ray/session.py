"""Getting hold of Ray, and giving back all that one of our own took."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.memory import usable_memory

_SECONDS = 5.0  # for a connection to a cluster
_SMALLEST_STORE = 80 << 20  # bytes; Ray wants some 75 MB
_SHARED_MEMORY = Path("/dev/shm")
_SOCKET_FOLDER = 40  # of the 107 bytes of a socket's path, Ray's own names take 65


def start_ray(n_workers: int | None, object_store_bytes: int | None, undo: ExitStack) -> None:
    """Start a Ray of this process's own, on this machine and reachable from it only.

    Parameters
    ----------
    n_workers : int or None
        Number of worker processes; None: as many as this process may use cores.
    object_store_bytes : int or None
        Shared memory for constants, blocks and results; None: a third of what may be used.
    undo : ExitStack
        Gets what ends it.

    Raises
    ------
    ExecutorUnavailable
        If it does not start.
    """
    folder = tempfile.mkdtemp(prefix="ray-")
    if len(os.fsencode(folder)) > _SOCKET_FOLDER:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    options: dict[str, Any] = {
        "num_cpus": n_workers or cpu_count(),
        "object_store_memory": object_store_bytes or _default_store(),
        "include_dashboard": False,
        "_temp_dir": folder,
        "_node_ip_address": "127.0.0.1",
    }
    _init("Ray does not start here", "Look at memory, shared memory and process limits.", "local", options, undo)


def join_ray(address: str, undo: ExitStack) -> None:
    """Connect this process to a cluster, of which this machine is a node; its end leaves the cluster as it was.

    Raises
    ------
    ExecutorUnavailable
        If nobody answers there.
    """
    advice = (
        "Look at the address, or start one: `ray start --head`, then `ray start --address=ADDRESS` on each machine."
    )
    if address.startswith("ray://"):
        raise ExecutorUnavailable(
            f"{address!r} is for Ray Client, which is not supported. Run this on a node, with address='auto'."
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS).close()
        except OSError as error:
            raise ExecutorUnavailable(f"nobody answers at {address!r} ({error}). {advice}") from error
    _init(f"there is no Ray cluster at {address!r}", advice, address, {}, undo)


def _init(failure: str, advice: str, address: str, options: dict[str, Any], undo: ExitStack) -> None:
    undo.callback(ray.shutdown)
    try:
        with _as_it_was():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        raise ExecutorUnavailable(f"{failure}: {type(error).__name__}: {str(error)[:500]}. {advice}") from error


def _default_store() -> int:
    wanted = usable_memory() // 3
    if _SHARED_MEMORY.is_dir():
        wanted = min(wanted, int(0.8 * shutil.disk_usage(_SHARED_MEMORY).free))
    return max(_SMALLEST_STORE, wanted)


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Undo what Ray does to the process when it starts: environment, the handler of SIGTERM, logging."""
    environment = dict(os.environ)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    logger = logging.getLogger("ray")
    level = logger.level
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        logger.setLevel(level)
        if in_main:
            signal.signal(signal.SIGTERM, handler)
