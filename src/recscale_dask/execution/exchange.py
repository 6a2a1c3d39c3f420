"""A temporary folder through which the processes of one machine share arrays without copying them."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from recscale_dask.execution.contract import Broadcast
from recscale_dask.execution.machine import make_exchange_folder
from recscale_dask.execution.portable import FileRecipe, write_file


class FileBroadcast(FileRecipe, Broadcast):
    """A constant in a mapped file; every process of the machine sees the same pages."""

    __slots__ = ()

    def release(self) -> None:
        """Delete the file; pages live on while a process still maps them."""
        self.path.unlink(missing_ok=True)


class Exchange:
    """Makes and deletes the folder, and names the files in it.

    Parameters
    ----------
    expected_bytes : int
        About how much it will hold; decides between shared memory and disk.
    """

    def __init__(self, expected_bytes: int = 0) -> None:
        self.folder: Path = make_exchange_folder(expected_bytes)
        self._numbers = itertools.count()

    def put(self, value: Any) -> FileBroadcast:
        """Write a value to a file of its own and return the handle that workers load."""
        path = self.folder / f"constant-{next(self._numbers)}"
        write_file(value, path)
        return FileBroadcast(path)

    def close(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
