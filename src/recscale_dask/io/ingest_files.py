"""What an ingest keeps on disk while it is at work: flat columns of numbers, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import OutputError

_SUFFIX = ".ingesting"


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target`, on the same disk, that is deleted in the end.

    The caller holds the lock of the store, so what others left there, and half stores of theirs, is of dead processes:
    it is deleted first.
    """
    target = target.absolute()
    for left in _left_behind(target):
        shutil.rmtree(left, ignore_errors=True)
    folder = target.with_name(f".{target.name}.{os.getpid()}{_SUFFIX}")
    try:
        with refusing_to_write(target):
            folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def refusing_to_write(target: Path) -> Iterator[None]:
    """Make an OutputError of what a disk says that is full, say."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror or error}. An ingest needs room beside the store, about 20 bytes "
            "for each row; it is given back in the end."
        ) from error


def write_columns(path: Path, columns: Sequence[NDArray[Any]]) -> None:
    """Write arrays one behind the other."""
    with path.open("wb") as file:
        for column in columns:
            file.write(np.ascontiguousarray(column).data)


def read_columns(path: Path, dtypes: Sequence[np.dtype[Any]], n: int) -> list[NDArray[Any]]:
    """Return the arrays of length `n` in a file, and delete it."""
    with path.open("rb") as file:
        columns = [np.fromfile(file, dtype, n) for dtype in dtypes]
    path.unlink()
    return columns


def _left_behind(target: Path) -> Iterator[Path]:
    if not target.parent.is_dir():
        return
    prefix = f".{target.name}."
    for each in target.parent.iterdir():
        owner, _, suffix = each.name.removeprefix(prefix).partition(".")
        if each.name.startswith(prefix) and owner.isdecimal() and suffix in ("ingesting", "writing"):
            yield each
