"""Files at fsspec URLs: read, copied to this machine once, written; what goes wrong there is said as a sentence."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from recscale_dask.errors import OptionError, OutputError, RecscaleError
from recscale_dask.temporary import TemporaryFolder

UNFINISHED = ".writing"
"""What names of files end in that are being written; with a dot before them, for which readers pass over them."""

_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError")  # of botocore
_lock = threading.Lock()
_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_folders: dict[int, TemporaryFolder] = {}  # of copies, by process: a forked one makes its own


def is_url(place: str | os.PathLike[str]) -> bool:
    """Return whether a place is an fsspec URL, such as ``s3://bucket/model``, and no path.

    Raises
    ------
    OptionError
        If it is neither.
    """
    if not isinstance(place, str | os.PathLike):
        raise OptionError(f"expected a path or URL, such as 'folder/name'; got {place!r}")
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


def read_text(folder: str, name: str, error: type[RecscaleError]) -> str | None:
    """Return the text of a file in a folder; None if it, or the folder, is not there. Errors name the folder."""
    with reaching(folder, error):
        system, path = file_system(f"{folder.rstrip('/')}/{name}")
        try:
            return bytes(system.cat_file(path)).decode()
        except (FileNotFoundError, NotADirectoryError) as problem:
            if _no_bucket(problem):
                raise
            return None


def local_copy(url: str, name: str, version: str, error: type[RecscaleError]) -> Path:
    """Return a copy of a file on this machine, which is made once in a process and goes with it.

    Parameters
    ----------
    url : str
        Of a folder.
    name : str
        Of a file in it, or in a folder of it.
    version : str
        Of what is in the file: that of another version, at the same URL, is another copy. Files of one folder with
        one version are in one folder here, too, under their names.
    error : type
        Raised if the file cannot be had.
    """
    folder = _copies() / hashlib.sha256(f"{url} {version}".encode()).hexdigest()[:32]
    target = folder / name
    with _lock:
        one_at_a_time = _locks[target]
    with one_at_a_time:
        if not target.exists():
            with reaching(f"{url}/{name}", error):
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = target.with_name(f".{target.name}{UNFINISHED}")
                system, path = file_system(url)
                system.get_file(f"{path}/{name}", str(beside))
                beside.rename(target)
    return target


def names_at(url: str) -> set[str]:
    """Return the names of what is in the folder at a URL that is to be written, or that of the file; or none."""
    with reaching(url, OutputError, "write"):
        system, path = file_system(url)
        system.invalidate_cache()
        try:
            return {str(each).rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)}
        except (FileNotFoundError, NotADirectoryError) as problem:
            if _no_bucket(problem):
                raise
            return set()


def upload_file(source: Path, url: str) -> None:
    """Write a file to a URL, where it appears whole or not at all."""
    with reaching(url, OutputError, "write"):
        system, path = file_system(url)
        _make_parent(system, path)
        put_whole(system, path, lambda target: system.put_file(str(source), target))


def upload_folder(source: Path, url: str, prefix: str, last: str) -> None:
    """Write what is in a folder to a URL, where it takes the place of what is there all at once.

    An object store has no rename, and changes one object at a time. So files get names that are new there, and the one
    that names them is written last: until then readers see what was there, and from then on what is new. Only then
    what was there is deleted, and with it whatever uploads that were stopped have left.

    Parameters
    ----------
    source : Path
        All of its files but `last` are in the folder `prefix`.
    url : str
    prefix : str
        Name, which is new there, and a slash.
    last : str
        Name of the file that names the others.

    Raises
    ------
    OutputError
        If it cannot be written; what was there is still there.
    """
    with reaching(url, OutputError, "write"):
        system, path = file_system(url)
        sizes = {str(each.relative_to(source)): each.stat().st_size for each in source.rglob("*") if each.is_file()}
        del sizes[last]
        try:
            for name in sorted(sizes):
                _make_parent(system, f"{path}/{name}")
                system.put_file(str(source / name), f"{path}/{name}")
            _check_sizes(system, path, prefix, sizes)
        except BaseException:
            with suppress(Exception):  # the next upload deletes what is left
                system.rm(f"{path}/{prefix}".rstrip("/"), recursive=True)
            raise
        # Whatever goes wrong from here on, the new files stay: the one that names them may have arrived.
        put_whole(system, f"{path}/{last}", lambda target: system.put_file(str(source / last), target))
        try:
            for name in names_at(url) - {last, prefix.rstrip("/")}:
                with suppress(FileNotFoundError):
                    system.rm(f"{path}/{name}", recursive=True)
        except Exception as problem:
            warnings.warn(
                f"{url} is written, but not all that it replaces could be deleted: {reason_of(problem)} The next time "
                "that it is written that is tried again.",
                stacklevel=2,
            )


def put_whole(system: Any, path: str, put: Callable[[str], object]) -> None:
    """Let `put` write a file at the path that it is given, so that at `path` readers see the whole file or none.

    In an object store that is `path` itself; elsewhere a name beside it, from which the file is moved.
    """
    if is_object_store(system):
        put(path)
        return
    folder, _, name = path.rpartition("/")
    beside = f"{folder}/.{name}.{uuid.uuid4().hex}{UNFINISHED}"
    try:
        put(beside)
        # fsspec's own for disks copies if it cannot rename.
        move = os.replace if "file" in _protocols(system) else system.mv
        move(beside, path)
    except BaseException:
        with suppress(Exception):
            system.rm_file(beside)
        raise


def is_object_store(system: Any) -> bool:
    """Return whether a file system has no folders; making one there could make a bucket of a misspelt name."""
    return bool(_protocols(system) & {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})


def reason_of(problem: Exception) -> str:
    """Return what went wrong on a file system, and what to do about it."""
    text = str(getattr(problem, "strerror", None) or problem or type(problem).__name__).rstrip(".")
    if text.startswith("Protocol not known"):
        return (
            f"no file system goes by {text.rpartition(' ')[2]}:// here. Known are s3, gs, az, hdfs, https, file and "
            "others of fsspec, with their packages."
        )
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


def _protocols(system: Any) -> set[str]:
    return {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)


def _check_sizes(system: Any, path: str, prefix: str, sizes: Mapping[str, int]) -> None:
    """Raise an OutputError unless files are there in their whole size."""
    system.invalidate_cache()
    entries = system.find(f"{path}/{prefix}", detail=True)
    found = {str(each)[len(path) + 1 :]: entry["size"] for each, entry in entries.items()}
    bad = [name for name, size in sizes.items() if found.get(name) != size]
    if bad:
        raise OutputError(
            f"cannot write {path}: {bad[0]} ({len(bad)} in all) was written, and is not there. Does somebody else "
            "write to it? Run this again when that is done."
        )


def _make_parent(system: Any, path: str) -> None:
    if not is_object_store(system):
        system.makedirs(path.rpartition("/")[0], exist_ok=True)


def _copies() -> Path:
    """Return the folder of this process for copies."""
    with _lock:
        process = os.getpid()
        if process not in _folders:
            _folders[process] = TemporaryFolder()
            Finalize(None, _folders[process].close, exitpriority=0)
        return _folders[process].path


def _no_bucket(problem: Exception) -> bool:
    return "bucket" in str(problem).lower() and "not exist" in str(problem)
