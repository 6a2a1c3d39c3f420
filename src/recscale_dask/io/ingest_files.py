"""What an ingest keeps on disk while it is at work: flat columns of numbers, in a folder that goes with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import OutputError
from recscale_dask.remote import is_url
from recscale_dask.temporary import TemporaryFolder


@contextmanager
def working_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder that is deleted in the end: beside `target`, on the same disk; of a URL, a temporary one.

    What ingests that were killed left there is deleted first.
    """
    parent = None if is_url(target) else Path(target).absolute().parent
    with ExitStack() as stack:
        with refusing_to_write(target):
            temporary = stack.enter_context(TemporaryFolder(parent))
        yield temporary.path


@contextmanager
def refusing_to_write(target: str | os.PathLike[str]) -> Iterator[None]:
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
