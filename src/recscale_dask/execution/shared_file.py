"""Files that the processes of one machine keep mapped, and write again and again.

The first touch of a page costs several times a copy of it, both in the process that writes it and in each
that maps it. So files are used again, and mapped once in each process. Two things keep that safe, whoever
was killed, stopped or late: a file is written under an exclusive lock, which is not to be had while anybody
uses what is in it, and each writing gives it a new version, without which nobody reads or writes it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recscale_dask.execution.portable import read_value, write_value

_HEADER = struct.Struct("<QQ48x")  # version, and how many bytes are in use; the value behind it stays aligned
_WATCH = 0.5  # seconds between two looks for mapped files that were deleted
_WRITING = -1  # in the place of the number of users


@dataclass(frozen=True, slots=True)
class FileRecipe:
    """One version of a file: a value to load, or a blank to write one into.

    Attributes
    ----------
    path : Path
        On a disk, or in memory, that driver and workers share.
    version : int
        What the file has to have.
    """

    path: Path
    version: int

    def load(self, done: Callable[[], object] | None = None) -> Any:
        """Return the value, its arrays mapped read-only; once none is used any more, `done` is called.

        Raises
        ------
        FileNotFoundError
            If the file was deleted, or written again.
        """
        return _mapped(self.path).read(self.version, done)

    @property
    def written(self) -> FileRecipe:
        """The recipe of what is there once somebody has written into this blank."""
        return FileRecipe(self.path, self.version + 1)

    def write(self, value: Any) -> FileRecipe | None:
        """Write a value, and return the recipe that loads it; None if another process was faster.

        Raises
        ------
        OSError
            If the file was deleted, or does not hold the value.
        """
        return None if _mapped(self.path).write(value, self.version) is None else self.written


def renew(path: Path, value: Any = None) -> FileRecipe | None:
    """Return the next version of a file, with a value if one is given; None if somebody uses what is in it."""
    version = _mapped(path).write(value, None)
    return None if version is None else FileRecipe(path, version)


def forget(folder: Path) -> None:
    """Unmap the files in a folder as soon as nothing in them is used."""
    with _lock:
        for path in [path for path in _files if path.parent == folder]:
            del _files[path]


class _MappedFile:
    """A file as this process has it; `_lock` guards what is not constant."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)
        self._map: mmap.mmap | None = None
        self._users = 0

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    @property
    def deleted(self) -> bool:
        return os.fstat(self._file).st_nlink == 0

    def read(self, version: int, done: Callable[[], object] | None) -> Any:
        self._enter()
        try:
            found, size = self._header()
            if found != version:
                raise FileNotFoundError(f"version {version} of a shared file is gone; there is {found}")
            if self._map is None or len(self._map) < size:
                self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
            whole = np.frombuffer(self._map, np.uint8, size)  # what all arrays of the value hold on to
        except BaseException:
            self._leave(None)
            raise
        weakref.finalize(whole, self._leave, done).atexit = False
        return read_value(whole, _HEADER.size)

    def write(self, value: Any, version: int | None) -> int | None:
        with self._claimed() as claimed:
            if not claimed:
                return None
            found, size = self._header()
            if version is not None and found != version:
                return None
            with open(os.dup(self._file), "wb") as file:
                if value is not None:
                    file.seek(_HEADER.size)
                    write_value(value, file)
                    size = file.tell()
                file.seek(0)  # last: a process that is killed meanwhile leaves the old version
                file.write(_HEADER.pack(found + 1, size))
            return found + 1

    def _header(self) -> tuple[int, int]:
        data = os.pread(self._file, _HEADER.size, 0)
        return _HEADER.unpack(data) if data else (0, 0)

    def _enter(self) -> None:
        with _lock:
            if self._users == _WRITING or (self._users == 0 and not _locked(self._file, fcntl.LOCK_SH)):
                raise FileNotFoundError("a shared file is being written again")
            self._users += 1

    def _leave(self, done: Callable[[], object] | None) -> None:
        with _lock:
            self._users -= 1
            if self._users == 0:
                _locked(self._file, fcntl.LOCK_UN)
        if done is not None:
            done()

    @contextmanager
    def _claimed(self) -> Iterator[bool]:
        with _lock:
            claimed = self._users == 0 and _locked(self._file, fcntl.LOCK_EX)
            if claimed:
                self._users = _WRITING
        try:
            yield claimed
        finally:
            if claimed:
                with _lock:
                    self._users = 0
                    _locked(self._file, fcntl.LOCK_UN)


def _locked(file: int, how: int) -> bool:
    """Change the lock of this process on a file, and return whether that was possible at once."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this disk; where there are none, nothing is written again
        return True
    return True


# -- what this process has mapped ---------------------------------------------------------------------

_lock = threading.RLock()  # taken by finalizers too, which run anywhere
_files: dict[Path, _MappedFile] = {}
_watcher: threading.Thread | None = None


def _mapped(path: Path) -> _MappedFile:
    global _watcher
    with _lock:
        if path not in _files:
            _files[path] = _MappedFile(path)
        if _watcher is None:
            _watcher = threading.Thread(target=_watch, name="recscale-shared-files", daemon=True)
            _watcher.start()
        return _files[path]


def _watch() -> None:
    """Unmap files that were deleted, for their pages live on while they are mapped; end when none is left."""
    global _watcher
    while True:
        time.sleep(_WATCH)
        with _lock:
            for path in [path for path, file in _files.items() if file.deleted]:
                del _files[path]
            if not _files:
                _watcher = None
                return
