"""A folder on this machine or in an object store, whose files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recscale_dask.errors import OutputError
from recscale_dask.remote import UNFINISHED, is_object_store, put_whole, reaching, reason_of


@dataclass(frozen=True, slots=True)
class Folder:
    """A path on an fsspec file system; picklable, so that workers write to it themselves.

    Readers see a whole file or none: on a disk it is written under another name and renamed, and an object store
    shows nothing of a file before it is there.
    """

    system: Any
    path: str

    @classmethod
    def at(cls, place: str | os.PathLike[str]) -> Folder:
        """Return the folder at a path or fsspec URL; nothing is touched.

        Raises
        ------
        OutputError
            If nothing here writes to such a URL.
        """
        with reaching(place, OutputError, "write"):
            return cls(*fsspec.core.url_to_fs(os.fspath(place)))

    @property
    def local(self) -> bool:
        """Whether it is on a disk of this machine."""
        return isinstance(self.system, LocalFileSystem)

    def __str__(self) -> str:
        return self.path if self.local else str(self.system.unstrip_protocol(self.path))

    def make(self) -> None:
        """Make the folder; on a disk, the one that it is in must be there.

        Raises
        ------
        OutputError
            If it cannot be made.
        """
        parent = Path(self.path).parent
        if self.local and not parent.is_dir():
            raise OutputError(f"cannot write {self}: there is no folder {parent}. Create it first.")
        if not is_object_store(self.system):
            with self.writing():
                self.system.makedirs(self.path, exist_ok=True)

    def names(self) -> set[str]:
        """Return the names of the finished files; empty if there is no folder."""
        return {name for name in self._all_names() if not _is_unfinished(name)}

    def clean(self) -> None:
        """Delete what killed runs left unfinished."""
        for name in filter(_is_unfinished, self._all_names()):
            with self.writing(), suppress(FileNotFoundError):
                self.system.rm_file(self._inside(name))

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return bytes(self.system.cat_file(self._inside(name)))

    def open(self, name: str) -> Any:
        """Return a file, open for reading."""
        return self.system.open(self._inside(name), "rb")

    def write(self, name: str, content: Any) -> None:
        """Write a file: whole, or not at all.

        Raises
        ------
        OSError
            If it cannot be written; there is no trace of it then.
        """
        try:
            put_whole(self.system, self._inside(name), lambda target: self.system.pipe_file(target, bytes(content)))
        except OSError:
            raise
        except Exception as problem:
            raise OSError(reason_of(problem)) from problem  # what botocore and its like raises

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the error of a file system into an `OutputError`."""
        if not self.local:
            with reaching(self, OutputError, "write"):
                yield
            return
        try:
            yield
        except OSError as error:
            raise self.failed(str(error.strerror or error)) from error

    def failed(self, reason: str) -> OutputError:
        """Return the error of a write that the file system refused."""
        return OutputError(
            f"cannot write {self}: {reason}. What is finished there is whole: make room or mend the permissions, "
            "and run the same again, which goes on from there."
        )

    def _inside(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def _all_names(self) -> list[str]:
        self.system.invalidate_cache(self.path)
        with self.writing(), suppress(FileNotFoundError, NotADirectoryError):
            if self.system.isfile(self.path):
                raise OutputError(f"cannot write {self}: it is a file. Choose another path.")
            return [str(each).rstrip("/").rpartition("/")[2] for each in self.system.ls(self.path, detail=False)]
        return []


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(UNFINISHED)
