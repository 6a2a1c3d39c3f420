"""The process that is connected to Ray in our place, and the pipe to it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from recscale_dask.errors import ExecutorUnavailable, RecscaleError
from recscale_dask.execution.interrupts import interrupts_held
from recscale_dask.execution.main_module import without_main_module
from recscale_dask.execution.portable import dump_bytes
from recscale_dask_ray.session import Place

_LONG, _SHORT = 1.0, 0.02  # seconds to wait for outcomes at a time
_SHARED = 5.0  # seconds for which it is remembered that another thread asked
_PATIENCE = 20.0  # seconds for it to leave Ray, or to end a Ray of our own


class Companion:
    """Starts the process, asks it, and ends it.

    Parameters
    ----------
    place : Place
        Which Ray to use.
    shared_files : bool
        Whether workers see this machine's files.
    """

    def __init__(self, place: Place, shared_files: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # one request at a time, of whichever thread
        self._next = threading.Lock()  # who has it gets that one, so that threads take turns
        self._asked, self._shared = 0, -_SHARED  # by which thread, and when by another one
        self._process = context.Process(
            target=_serve, args=(theirs, place, shared_files), name="recscale-ray", daemon=True
        )
        with without_main_module, interrupts_held():
            self._process.start()
        theirs.close()

    def ask(self, request: str, *arguments: Any) -> Any:
        """Return what a method of `driver.Driver` returns there.

        Raises
        ------
        ExecutorUnavailable
            If the process ended, or says that Ray did.
        """
        number = next(self._numbers)
        with self._alone():
            with self._whole():
                self._pipe.send_bytes(dump_bytes((number, request, arguments)))
            while True:
                with self._whole(interrupted=True):
                    self._pipe.poll(None)
                with self._whole():
                    answered, answer, error = cloudpickle.loads(self._pipe.recv_bytes())
                if answered == number:  # else of a request that was interrupted
                    break
        if error is not None:
            raise error
        return answer

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._next:
            self._lock.acquire()
        try:
            if self._asked not in (0, threading.get_ident()):
                self._shared = time.monotonic()
            self._asked = threading.get_ident()
            yield
        finally:
            self._lock.release()

    @property
    def patience(self) -> float:
        """Seconds that a request may take while nothing happens: less where threads take turns."""
        return _SHORT if time.monotonic() - self._shared < _SHARED else _LONG

    @contextmanager
    def _whole(self, interrupted: bool = False) -> Iterator[None]:
        """Close the pipe if something ends in the middle of a message; tell of an end of the process."""
        try:
            yield
        except (EOFError, OSError) as error:
            self._pipe.close()
            raise ExecutorUnavailable(
                "Ray has stopped: its node on this machine died or was ended, and with it our connection. Look at its "
                "logs, and run again."
            ) from error
        except BaseException:
            if not interrupted:
                self._pipe.close()
            raise

    def end(self) -> None:
        """End the process, which leaves Ray, or ends a Ray of our own."""
        self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(pipe: Connection, place: Place, shared_files: bool) -> None:
    """Answer requests until the pipe ends: what the process runs."""
    os.setsid()  # what is typed at a terminal is not for Ray's processes
    with ExitStack() as undo:
        driver: Any = None
        while True:
            try:
                number, request, arguments = cloudpickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                return
            answer, error = None, None
            try:
                if driver is None:
                    driver = _enter(place, shared_files, undo)
                answer = getattr(driver, request)(*arguments)
            except RecscaleError as found:
                error = found
            except Exception as found:
                reason = f"{type(found).__name__}: {str(found)[:300]}"
                error = ExecutorUnavailable(f"Ray has stopped ({reason}). Look at its logs, and run again.")
            try:
                pipe.send_bytes(dump_bytes((number, answer, error)))
            except OSError:
                return


def _enter(place: Place, shared_files: bool, undo: ExitStack) -> Any:
    from recscale_dask_ray.session import enter

    enter(place, undo)
    from recscale_dask_ray.driver import Driver  # after that: it imports Ray, which reads the environment

    return Driver(shared_files, undo)
