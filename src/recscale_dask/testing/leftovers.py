"""What an executor could leave behind: processes, threads, temporary folders and open files of this process."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from recscale_dask.temporary import SHARED_MEMORY


def leftovers() -> set[str]:
    """Return child processes, threads and temporary folders that there are now, by name."""
    return {*_child_processes(), *_threads(), *(f"folder {folder}" for folder in folders())}


def open_files() -> set[str]:
    """Return the open files, sockets and pipes of this process; those of one kind are counted, not told apart."""
    counts: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # that of the listing itself is closed by now
            counts[os.readlink(descriptor).partition(":[")[0]] += 1
    return {f"open file {kind} ({number + 1})" for kind, count in counts.items() for number in range(count)}


def new_leftovers(before: set[str], patience: float) -> set[str]:
    """Return what there is now and was not before, once it is gone or after `patience` seconds."""
    wait_until(lambda: not leftovers() - before, patience)
    return leftovers() - before


def wait_until(condition: Callable[[], bool], patience: float) -> bool:
    """Return whether the condition came true within `patience` seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        gc.collect()
        time.sleep(0.02)
    return True


def folders() -> Iterator[Path]:
    """Yield what is in the temporary folder, and what of this process is in shared memory.

    The kit gives each test class a temporary folder of its own. In shared memory others are at work too;
    `recscale_dask.temporary` puts the process id into its names.
    """
    yield from Path(tempfile.gettempdir()).iterdir()
    if SHARED_MEMORY.is_dir():
        yield from SHARED_MEMORY.glob(f"recscale-{os.getpid()}-*")


@contextmanager
def private_temporary_folder() -> Iterator[None]:
    """Give this process, and those that it starts, a temporary folder of their own."""
    folder = _private_folder()
    before, tempfile.tempdir = tempfile.tempdir, folder
    variable, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), folder
    try:
        yield
    finally:
        tempfile.tempdir = before
        del os.environ["TMPDIR"]
        if variable is not None:
            os.environ["TMPDIR"] = variable


@cache
def _private_folder() -> str:
    # One for the life of this process: helpers such as a fork server keep their sockets in it.
    folder = tempfile.mkdtemp(prefix="kit-")
    # After that of multiprocessing, at -100, which deletes its own folder in it.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)
    return folder


def _child_processes() -> Iterator[str]:
    try:
        import psutil  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        yield from _child_processes_of_proc()
        return
    for child in psutil.Process().children(recursive=True):
        try:
            yield f"process {child.pid} {' '.join(child.cmdline())[:100]}"
        except psutil.Error:  # it ended meanwhile, or is a zombie
            if psutil.pid_exists(child.pid):
                yield f"process {child.pid}"


def _child_processes_of_proc() -> Iterator[str]:
    for task in Path("/proc/self/task").glob("*/children"):
        for pid in task.read_text().split():
            yield f"process {pid}"


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        yield f"thread {thread.ident} {thread.name}"
