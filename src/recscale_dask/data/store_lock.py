"""One writer of a store at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recscale_dask.errors import OutputError, StoreError


@contextmanager
def store_lock(store: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a store, which need not be there yet.

    The lock is on a file beside the store that holds the number of this process, and goes with the lock. Readers
    need none: they see the store as it was before a change, or after it.

    Parameters
    ----------
    store : path
    wait : bool
        Whether to wait for another writer, instead of an error.

    Raises
    ------
    StoreError
        If another writer, in this process or in another, holds it.
    OutputError
        If there cannot be a file beside the store.
    """
    target = Path(store).absolute()
    path = target.with_name(f".{target.name}.lock")
    try:
        file = _locked(path, target, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # before the lock is let go: who waits for it looks whether the file is still there
        os.close(file)


def _locked(path: Path, target: Path, how: int) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, how)
            if _is_at(file, path):
                os.ftruncate(file, 0)
                os.write(file, str(os.getpid()).encode())
                return file
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace") or "unknown"
            os.close(file)
            raise StoreError(
                f"{target} is busy: process {holder} writes to it. Wait until it is done, or stop it."
            ) from None
        except OSError:
            os.close(file)
            raise
        os.close(file)  # the one who had it has deleted it: make another


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
