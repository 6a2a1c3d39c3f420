"""Files and folders of results, at a path or an fsspec URL, that appear whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recscale_dask.atomic import check_output, written_beside
from recscale_dask.errors import OutputError
from recscale_dask.manifest import MANIFEST, FolderKind
from recscale_dask.remote import is_url, names_at, upload_file, upload_folder
from recscale_dask.temporary import TemporaryFolder

_FILES = re.compile(r"files-[0-9a-f]{32}")


class NewFolder(NamedTuple):
    """Where to write a folder that is going to appear.

    Attributes
    ----------
    path : Path
        Of the folder, which is not there yet. Its manifest goes there.
    prefix : str
        Of the names of all other files: empty, or a name and a slash. The manifest names the files with it.
    """

    path: Path
    prefix: str

    @property
    def files(self) -> Path:
        """Folder of the files."""
        return self.path / self.prefix


def check_folder(kind: FolderKind, place: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a folder of a kind cannot be written there, before any work is done.

    Something must not be in the way, unless it is a folder of the same kind and may be overwritten.
    """
    if is_url(place):
        # What uploads that were stopped have left counts for nothing, as no manifest names it.
        there = any(not _FILES.fullmatch(name) for name in names_at(os.fspath(place)))
    else:
        there = Path(place).exists()
    if there and overwrite and not kind.is_at(place):
        raise OutputError(f"{place} exists and is not a {kind.noun}, so it is not overwritten. Choose another path.")
    _check(place, there, overwrite)


def check_file(place: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a file cannot be written there, before any work is done."""
    _check(place, is_url(place) and bool(names_at(os.fspath(place))), overwrite)
    if not is_url(place) and Path(place).is_dir():
        raise OutputError(
            f"{place} is a folder, and overwrite=True (--overwrite) replaces files only. Choose another path."
        )


def check_suffix(place: str | os.PathLike[str], content: str, suffixes: tuple[str, ...]) -> None:
    """Raise an OutputError if a file has another suffix than those of what is going to be in it."""
    if Path(place).suffix.lower() not in suffixes:
        raise OutputError(f"{os.fspath(place)} would hold {content}: end its name in {' or '.join(suffixes)}.")


def on_a_disk(place: str | os.PathLike[str], what: str) -> Path:
    """Return the path of what can be on a disk alone, as it is changed in place; raise an OutputError of a URL."""
    if is_url(place):
        raise OutputError(f"{what} cannot be at {place}: that needs a disk. Name a path that this process sees.")
    return Path(place)


@contextmanager
def written_folder(kind: FolderKind, place: str | os.PathLike[str], *, overwrite: bool) -> Iterator[NewFolder]:
    """Yield a folder of this machine to write to; what is in it appears at `place` in the end.

    On a disk it is beside `place`, and renamed. To a URL its files are copied, under a prefix that is new there, the
    manifest last; see `recscale_dask.remote.upload_folder`.

    Raises
    ------
    OutputError
        If there is something at `place`, or it cannot be written.
    """
    check_folder(kind, place, overwrite=overwrite)
    if not is_url(place):
        with written_beside(place, overwrite=overwrite) as folder:
            yield NewFolder(folder, "")
        return
    with TemporaryFolder() as temporary:
        new = NewFolder(temporary.path / kind.noun, f"files-{uuid.uuid4().hex}/")
        yield new
        upload_folder(new.path, os.fspath(place), new.prefix, last=MANIFEST)


@contextmanager
def written_file(place: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yield a path of this machine to write a file to, which appears at `place` in the end; see `written_folder`."""
    check_file(place, overwrite=overwrite)
    if not is_url(place):
        with written_beside(place, overwrite=overwrite) as beside:
            yield beside
        return
    with TemporaryFolder() as temporary:
        beside = temporary.path / "file"
        yield beside
        upload_file(beside, os.fspath(place))


def _check(place: str | os.PathLike[str], there: bool, overwrite: bool) -> None:
    if not is_url(place):
        check_output(Path(place), overwrite=overwrite)
    elif there and not overwrite:
        raise OutputError(
            f"{place} exists already. Choose another path, delete it, or pass overwrite=True (--overwrite)."
        )
