"""Temporary folders that are deleted when their process is done with them, or by the next one if it was killed.

A folder is locked as long as its process lives, however that ends; the lock is on the folder itself. A folder of
ours whose lock is free was left behind: whoever makes the next one on this machine, until it is started again,
deletes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

SHARED_MEMORY = Path("/dev/shm")
"""Where files are in memory that only processes of this machine share."""

HIDDEN = ".recscale-"
"""What the names of folders among files of others begin with."""

_PREFIX = "recscale-"
_locks: set[int] = set()  # open folders of this process


class TemporaryFolder:
    """A folder of this process, which is there from the start.

    Parameters
    ----------
    parent : Path, optional
        Where; by default the folder for temporary files. Among files of others its name begins with a dot, for which
        readers of data pass over it. What killed processes of this user left there is deleted first.

    Attributes
    ----------
    path : Path
        Its name holds the number of the process.
    """

    def __init__(self, parent: Path | None = None) -> None:
        common = (Path(tempfile.gettempdir()), SHARED_MEMORY)
        parent = common[0] if parent is None else parent
        prefix = _PREFIX if parent in common else HIDDEN
        for place in common if parent in common else (parent,):
            _delete_left_behind(place, prefix)
        self._process = os.getpid()
        self.path, lock = _made(parent, prefix)
        self._lock: int | None = lock
        _locks.add(lock)

    def close(self) -> None:
        """Delete the folder with all that is in it; in a process that was forked, which has none, nothing."""
        if self._process == os.getpid():
            shutil.rmtree(self.path, ignore_errors=True)
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None  # its number may be that of another file soon
        if lock is not None:
            _locks.remove(lock)
            os.close(lock)


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder, and return it with its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", suffix=_suffix(), dir=parent))
        # Until it is locked it looks as if it had been left behind, and another process may delete it: then again.
        with suppress(FileNotFoundError):
            lock = _opened(folder)
            with suppress(OSError):  # a disk without locks, where nobody deletes what others have made
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, folder):
                return folder, lock
            os.close(lock)


def _delete_left_behind(place: Path, prefix: str) -> None:
    """Delete our folders in a place that no process holds."""
    for folder in place.glob(f"{prefix}*{_suffix()}"):
        with suppress(OSError):  # somebody else's, deleted meanwhile, or held
            lock = _opened(folder)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(lock, folder) and os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


@cache
def _suffix() -> str:
    """Return what the names end in: a disk that several machines share may not tell one of the locks of another.

    Names of machines are not always different, so it is what the system has drawn at its start, where it tells that.
    """
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        machine = os.uname().nodename
    return f".{machine}.held"


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # programs that are started do not inherit it


def _is_at(lock: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(folder))
    except FileNotFoundError:
        return False


def _forget_in_child() -> None:
    """Close what a fork has copied: else the lock would be held until the child ends, too."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_forget_in_child)
