"""A temporary folder through which the processes of one machine share arrays without copying them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recscale_dask.execution.contract import Broadcast
from recscale_dask.execution.machine import in_shared_memory, make_exchange_folder
from recscale_dask.execution.shared_file import FileRecipe, forget, renew

_KEPT_FILES = 8  # at most, to be written again
_KEPT_BYTES = 8 << 20  # of each


class FileBroadcast(Broadcast):
    """A constant in a mapped file, which every process of the machine sees; travels as its recipe."""

    def __init__(self, recipe: FileRecipe, give_back: Callable[[Path], None]) -> None:
        self._recipe = recipe
        self._give_back: Callable[[Path], None] | None = give_back

    def load(self) -> Any:
        """Return the value, its arrays mapped."""
        return self._recipe.load()

    def release(self) -> None:
        """Give the file back."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back(self._recipe.path)

    def __reduce__(self) -> Any:
        return FileRecipe, (self._recipe.path, self._recipe.version)


class Exchange:
    """Makes and deletes the folder, and lends the files in it.

    A few small files in shared memory are kept when they are given back, and written again. May be called by
    several threads.

    Parameters
    ----------
    expected_bytes : int
        About how much it will hold; decides between shared memory and disk.
    """

    def __init__(self, expected_bytes: int = 0) -> None:
        self._temporary = make_exchange_folder(expected_bytes)
        self.folder: Path = self._temporary.path
        # On a disk of several machines, others would not notice that a file was written again.
        self._n_kept = _KEPT_FILES if in_shared_memory(self.folder) else 0
        # Without a lock: files are given back by finalizers, which run anywhere.
        self._free: deque[Path] = deque()
        self._numbers = itertools.count()

    def put(self, value: Any) -> FileBroadcast:
        """Write a value to a file of its own and return the handle that workers load."""
        return FileBroadcast(self._lend(value), self.give_back)

    def blank(self) -> FileRecipe | None:
        """Return a file to write a result into, to be given back; None if the disk is full."""
        try:
            return self._lend(None)
        except OSError:
            return None

    def give_back(self, path: Path) -> None:
        """Keep a file to write it again, or delete it."""
        with suppress(FileNotFoundError):
            if len(self._free) < self._n_kept and path.stat().st_size <= _KEPT_BYTES:
                self._free.append(path)
            else:
                path.unlink()

    def close(self) -> None:
        """Delete the folder with all that is in it."""
        self._n_kept = 0
        self._free.clear()
        forget(self.folder)
        self._temporary.close()

    def _lend(self, value: Any) -> FileRecipe:
        while True:
            try:
                path = self._free.pop()
            except IndexError:
                path = self.folder / f"shared-{next(self._numbers)}"
                path.touch()
            try:
                recipe = renew(path, value)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            if recipe is not None:
                return recipe
            path.unlink(missing_ok=True)  # a late worker still uses it
