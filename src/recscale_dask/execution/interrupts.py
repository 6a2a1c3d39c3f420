"""Ctrl-C, which a terminal sends to every process of a command, is for the driver alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end; threads and processes that are started in here never get it.

    They take over which signals are blocked. A handler of their own would come too late: a process gets one only
    after its imports, and prints a traceback if it is interrupted before.
    """
    resource_tracker.ensure_running()  # lets Ctrl-C through again when it starts, so before and not in here
    held: list[tuple[int, Any]] = []
    handler = signal.getsignal(signal.SIGINT)
    # Other threads, such as those of BLAS, still get it, and Python then interrupts the main one.
    ours = threading.current_thread() is threading.main_thread() and callable(handler)
    if ours:
        signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if ours:
            signal.signal(signal.SIGINT, handler)
        if held and callable(handler):
            handler(*held[0])
