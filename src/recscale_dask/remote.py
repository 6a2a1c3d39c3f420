"""Files at fsspec URLs: read, copied to this machine once, written; what goes wrong there is said as a sentence."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from recscale_dask.errors import OutputError, RecscaleError

UNFINISHED = ".recscale-unfinished"
"""Name of the file that is in a folder at a URL while it is written: what a stopped upload left may be overwritten."""

_PREFIX = "recscale-copies-"
_YOUNG = 60.0  # seconds in which a folder that was made is certainly held
_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError")  # of botocore
_lock = threading.Lock()
_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_folders: dict[int, Path] = {}  # of copies, by process: a forked one must not delete those of its parent


def is_url(place: str | os.PathLike[str]) -> bool:
    """Return whether a place is an fsspec URL, such as ``s3://bucket/model``, and no path."""
    return "://" in os.fspath(place)


@contextmanager
def reaching(place: object, error: type[RecscaleError], doing: str = "read") -> Iterator[None]:
    """Turn whatever a file system raises into an error that says what is wrong, and what to do.

    Parameters
    ----------
    place : path or URL
        What is read or written.
    error : type
        To raise; errors of ours pass as they are.
    doing : str
        What was tried: "read" or "write".
    """
    try:
        yield
    except RecscaleError:
        raise
    # Not OSError alone: what botocore and its like raise has nothing in common.
    except Exception as problem:
        raise error(f"cannot {doing} {place}: {reason_of(problem)}") from problem


def file_system(url: str | os.PathLike[str]) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path on it."""
    import fsspec

    system, path = fsspec.url_to_fs(os.fspath(url))
    return system, str(path).rstrip("/")


def read_text(url: str, error: type[RecscaleError]) -> str | None:
    """Return the text of a file; None if it, or the folder that it should be in, is not there."""
    with reaching(url, error):
        system, path = file_system(url)
        try:
            return bytes(system.cat_file(path)).decode()
        except (FileNotFoundError, NotADirectoryError) as problem:
            if _no_bucket(problem):
                raise
            return None


def local_copy(url: str, version: str, error: type[RecscaleError]) -> Path:
    """Return a copy of a file on this machine, which is made once in a process and goes with it.

    Parameters
    ----------
    url : str
    version : str
        Of what is in the file: that of another version, at the same URL, is another copy. Files of one folder with
        one version are in one folder here, too.
    error : type
        Raised if the file cannot be had.
    """
    place, _, name = url.rpartition("/")
    folder = _copies() / hashlib.sha256(f"{place} {version}".encode()).hexdigest()[:32]
    target = folder / name
    with _lock:
        one_at_a_time = _locks[target]
    with one_at_a_time:
        if not target.exists():
            with reaching(url, error):
                folder.mkdir(exist_ok=True)
                beside = target.with_name(f".{name}.writing")
                system, path = file_system(url)
                system.get_file(path, str(beside))
                beside.rename(target)
    return target


def exists(url: str) -> bool:
    """Return whether there is a file or folder at a URL."""
    with reaching(url, OutputError, "look at"):
        system, path = file_system(url)
        system.invalidate_cache()
        return bool(system.exists(path))


def upload(source: Path, url: str, *, last: str = "") -> None:
    """Write a file, or all files of a folder, to a URL.

    Parameters
    ----------
    source : Path
    url : str
    last : str
        The file without which the others count for nothing. The one that is there is deleted first, so that whatever
        stops the upload, what is at the URL is whole or is not there. Until it is whole, there is a file `UNFINISHED`.
    """
    with reaching(url, OutputError, "write"):
        system, path = file_system(url)
        if source.is_file():
            _make_parent(system, path)
            system.put_file(str(source), path)
            return
        if last:
            system.pipe_file(f"{path}/{UNFINISHED}", b"")
        if last and system.exists(f"{path}/{last}"):
            system.rm_file(f"{path}/{last}")
        names = sorted(str(each.relative_to(source)) for each in source.rglob("*") if each.is_file())
        for name in sorted(names, key=lambda name: name == last):
            _make_parent(system, f"{path}/{name}")
            system.put_file(str(source / name), f"{path}/{name}")
        system.invalidate_cache()
        for old in system.find(path):
            if str(old)[len(path) + 1 :] not in names:
                system.rm_file(old)


def is_object_store(system: Any) -> bool:
    """Return whether a file system has no folders; making one there could make a bucket of a misspelt name."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    return bool(protocols & {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})


def reason_of(problem: Exception) -> str:
    """Return what went wrong on a file system, and what to do about it."""
    text = str(getattr(problem, "strerror", None) or problem or type(problem).__name__).rstrip(".")
    if isinstance(problem, ImportError):
        return f"{text}. For s3://: pip install 'recscale-dask[s3]'"
    if type(problem).__name__ in _CREDENTIALS:
        return (
            f"there are no credentials for it ({text}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, here and on the workers."
        )
    if isinstance(problem, FileNotFoundError) and _no_bucket(problem):
        return "there is no such bucket. Look at its name, or create it first."
    if isinstance(problem, PermissionError):
        return f"that is not allowed ({text}). Look at the rights of these credentials to it."
    return f"{text}. Look at the address and the rights to it."


def _make_parent(system: Any, path: str) -> None:
    if not is_object_store(system):
        system.makedirs(path.rpartition("/")[0], exist_ok=True)


def _copies() -> Path:
    """Return the folder of this process for copies; those that killed processes left are deleted."""
    with _lock:
        process = os.getpid()
        if process not in _folders:
            for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
                _delete_unless_held(left)
            _folders[process] = Path(tempfile.mkdtemp(prefix=_PREFIX))
            _held(_folders[process])  # until the process ends, however it does
            Finalize(None, _delete, (process,), exitpriority=0)
        return _folders[process]


def _delete_unless_held(folder: Path) -> None:
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime < _YOUNG:
            return
        file = _held(folder)
        if file is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(file)


def _held(folder: Path) -> int | None:
    """Return the open lock of a folder, which nobody else has; None if a process that lives has it."""
    try:
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _delete(process: int) -> None:
    if process == os.getpid():  # and no child that was forked
        shutil.rmtree(_folders[process], ignore_errors=True)


def _no_bucket(problem: Exception) -> bool:
    return "bucket" in str(problem).lower() and "not exist" in str(problem)
