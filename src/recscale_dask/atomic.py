"""Files and folders that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recscale_dask.errors import OutputError
from recscale_dask.temporary import TemporaryFolder

_AT_FDCWD = -100  # names are as for any other call
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Raise an OutputError if `path` exists (unless it may be overwritten), or its folder does not or is read-only."""
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already. Choose another path, delete it, or pass overwrite=True (--overwrite)."
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {folder}. Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}: its folder {folder} may not be written to. Choose another, or see to its rights."
        )


@contextmanager
def written_beside(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path in a folder beside `path` to write a file or folder to; rename it when all went well.

    On an error what was written is deleted, and what was at `path` stays as it was. What a process that was killed has
    written is deleted by the next one that writes there.

    Raises
    ------
    OutputError
        If `path` exists and may not be overwritten, or cannot be written.
    """
    target = Path(path)
    check_output(target, overwrite=overwrite)
    try:
        with TemporaryFolder(target.absolute().parent) as temporary:
            beside = temporary.path / target.name
            yield beside
            if not target.is_dir():
                beside.replace(target)
            elif beside.is_dir():
                _replace_folder(beside, target.absolute())
            else:
                raise OutputError(f"cannot write {target}: it is a folder. Choose another path.")
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error


def _replace_folder(new: Path, target: Path) -> None:
    """Put a folder in the place of another one, at once where that can be done."""
    if _exchanged(new, target):
        return  # the old one is in the temporary folder now, and goes with it
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places; return whether the system and the disk can do that."""
    library = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):  # Linux
        return bool(library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0)
    if hasattr(library, "renamex_np"):  # macOS
        return bool(library.renamex_np(*names, _EXCHANGE) == 0)
    return False
