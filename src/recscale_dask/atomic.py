"""Files and folders that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recscale_dask.errors import OutputError


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Raise an OutputError if `path` exists (unless it may be overwritten) or its folder does not."""
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already. Choose another path, delete it, or pass overwrite=True (--overwrite)."
        )
    if not path.absolute().parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.absolute().parent}. Create it first.")


@contextmanager
def written_beside(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; rename it when all went well.

    On an error what was written is deleted, and what was at `path` stays as it was.

    Raises
    ------
    OutputError
        If `path` exists and may not be overwritten, or cannot be written.
    """
    target = Path(path)
    check_output(target, overwrite=overwrite)
    beside = target.absolute().with_name(f".{target.name}.{os.getpid()}.writing")
    try:
        yield beside
        if target.is_dir():
            if not beside.is_dir():
                raise OutputError(f"cannot write {target}: it is a folder. Choose another path.")
            old = beside.with_suffix(".old")
            target.rename(old)
            try:
                beside.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            beside.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
