"""Files and folders of results, at a path or an fsspec URL, that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recscale_dask.atomic import check_output, written_beside
from recscale_dask.errors import OutputError
from recscale_dask.manifest import MANIFEST, FolderKind
from recscale_dask.remote import UNFINISHED, exists, is_url, upload


def check_folder(kind: FolderKind, place: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a folder of a kind cannot be written there, before any work is done.

    Something must not be in the way, unless it is a folder of the same kind and may be overwritten.
    """
    if is_url(place):
        url = os.fspath(place).rstrip("/")
        there = exists(url) and not exists(f"{url}/{UNFINISHED}")
    else:
        there = Path(place).exists()
    if there and overwrite and not kind.is_at(place):
        raise OutputError(f"{place} exists and is not a {kind.noun}, so it is not overwritten. Choose another path.")
    _check(place, there, overwrite)


def check_file(place: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a file cannot be written there, before any work is done."""
    _check(place, is_url(place) and exists(os.fspath(place)), overwrite)
    if not is_url(place) and Path(place).is_dir():
        raise OutputError(f"{place} is a folder, and --overwrite replaces files only. Choose another path.")


@contextmanager
def written_folder(kind: FolderKind, place: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yield a folder of this machine, which is not there yet, to write to; what is in it appears at `place` in the end.

    On a disk it is beside `place`, and renamed. To a URL its files are copied, the manifest last.

    Raises
    ------
    OutputError
        If there is something at `place`, or it cannot be written.
    """
    check_folder(kind, place, overwrite=overwrite)
    if not is_url(place):
        with written_beside(place, overwrite=overwrite) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="recscale-upload-") as temporary:
        folder = Path(temporary, kind.noun)
        yield folder
        upload(folder, os.fspath(place), last=MANIFEST)


@contextmanager
def written_file(place: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yield a path of this machine to write a file to, which appears at `place` in the end; see `written_folder`."""
    check_file(place, overwrite=overwrite)
    if not is_url(place):
        with written_beside(place, overwrite=overwrite) as beside:
            yield beside
        return
    with tempfile.TemporaryDirectory(prefix="recscale-upload-") as temporary:
        beside = Path(temporary, "file")
        yield beside
        upload(beside, os.fspath(place))


def _check(place: str | os.PathLike[str], there: bool, overwrite: bool) -> None:
    if not is_url(place):
        check_output(Path(place), overwrite=overwrite)
    elif there and not overwrite:
        raise OutputError(
            f"{place} exists already. Choose another path, delete it, or pass overwrite=True (--overwrite)."
        )
