"""SIGTERM, which `kill`, `timeout`, SLURM and Kubernetes send, ends a command as Ctrl-C does: it cleans up first."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_TERMINATED = 128 + signal.SIGTERM  # what a shell says of a program that this signal has ended
_ONCE = 1.0  # seconds: `timeout` sends it twice, to the process and to its group


def run_until_sigterm(command: Callable[[], object]) -> None:
    """Run a command, in which SIGTERM is a KeyboardInterrupt; exit with 143 if that has stopped it."""
    process, received = os.getpid(), -_ONCE

    def interrupt(number: int, frame: Any) -> None:
        nonlocal received
        if os.getpid() != process:  # a fork, which is to end at once
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif time.monotonic() - received > _ONCE:
            received = time.monotonic()
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        command()
    except (SystemExit, KeyboardInterrupt) as end:
        done = isinstance(end, SystemExit) and not end.code
        if not done and received > 0:
            sys.exit(_TERMINATED)
        raise


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Leave SIGTERM to whoever has it, whatever what is started here makes of it: Ray exits with codes of its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if signal.getsignal(signal.SIGTERM) is not before:
        signal.signal(signal.SIGTERM, before)
