"""Files behind a path, folder, glob or URL, here or on another file system."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Found
from recscale_dask.manifest import MANIFEST, noun_of
from recscale_dask.remote import reaching

_INSTEAD = {
    "store": "Open it with UserItemMatrix.open, or give it to what takes a store, such as `recscale fit`.",
    "model": "Give the data that it was fitted to, or new ones; a model is for `recscale recommend` and `evaluate`.",
}  # what to do where a folder of ours is given in the place of data files


@dataclass(frozen=True)
class File:
    """One file that is there: an Arrow file system and a path on it."""

    filesystem: Any
    path: str

    def open(self) -> Any:
        """Return a stream of its bytes, decompressed as the suffix says."""
        return self.filesystem.open_input_stream(self.path, compression="detect")

    def unmapped(self) -> File:
        """Return the file for reading once from start to end, without pages of it that stay in memory."""
        from pyarrow.fs import LocalFileSystem

        local = isinstance(self.filesystem, LocalFileSystem)
        return replace(self, filesystem=LocalFileSystem(use_mmap=False)) if local else self


def locate(source: Any) -> list[File]:
    """Return the files of a path, folder, glob or fsspec URL, or of a list of these (or of files), in order of name.

    Files in folders whose names start with a dot or an underscore are left out (``_SUCCESS``, ``.crc``).

    Raises
    ------
    DataError
        If nothing is there (with close matches), or the URL's kind is not known here.
    """
    sources = source if isinstance(source, list | tuple) else [source]
    files = [file for each in sources for file in ([each] if isinstance(each, File) else _expand(os.fspath(each)))]
    if not files:
        raise DataError("an empty list of files holds no interactions; name at least one.")
    return files


def find_in(file: File, columns: Columns, names: Sequence[str]) -> Found:
    """Return where the asked columns are among the names in a file; an error names the file."""
    try:
        return columns.find(names)
    except DataError as problem:
        raise DataError(f"{file.path}: {problem}") from problem


def _expand(place: str) -> list[File]:
    import fsspec

    if not place:
        raise DataError("an empty path holds no interactions; name a file.")
    with reaching(place, DataError):
        system, path = fsspec.core.url_to_fs(place)
        if system.exists(path):
            paths = _contents(system, path)
        else:
            matches = sorted(system.glob(path)) if re.search(r"[*?\[]", path) else []
            paths = [found for match in matches for found in _contents(system, match)]
    if not paths and system.isdir(path):
        raise DataError(f"the folder {place!r} has no files in it (names that begin with a dot or '_' do not count).")
    if not paths:
        raise DataError(f"there is no file at {place!r}{_similar(system, path)}")
    from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

    local = isinstance(system, fsspec.get_filesystem_class("file"))
    arrow_system = LocalFileSystem(use_mmap=True) if local else PyFileSystem(FSSpecHandler(system))
    return [File(arrow_system, each) for each in paths]


def _contents(system: Any, path: str) -> list[str]:
    if not system.isdir(path):
        return [path]
    try:
        noun = noun_of(system.cat_file(f"{path.rstrip('/')}/{MANIFEST}"))
    except OSError:
        noun = None
    if noun is not None:
        raise DataError(f"{path} is a {noun}, and no data. {_INSTEAD.get(noun, 'Give the data files.')}")
    entries = system.find(path, detail=True)
    # Sockets and pipes are no files; reading them would wait for ever.
    inside = {each: each[len(path.rstrip("/")) + 1 :] for each, found in entries.items() if found["type"] == "file"}
    return sorted(each for each, name in inside.items() if not re.search(r"(^|/)[._]", name))


def _similar(system: Any, path: str) -> str:
    folder, _, name = path.rpartition("/")
    try:
        names = [each.rpartition("/")[2] for each in system.ls(folder, detail=False)]
    except (OSError, NotImplementedError):
        return f", nor a folder {folder!r}."
    close = difflib.get_close_matches(name, names)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
