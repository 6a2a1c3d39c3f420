"""Ctrl-C, which a terminal sends to every process of a command, is for the driver alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C of this thread back until the end; threads and processes that are started in here never get it.

    They take over which signals are blocked. A handler of their own would come too late: a process gets one only
    after its imports, and prints a traceback if it is interrupted before.
    """
    resource_tracker.ensure_running()  # lets Ctrl-C through again when it starts, so before and not in here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
