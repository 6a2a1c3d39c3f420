"""Whether a worker sees the temporary files of the driver's machine."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signs:
    """Small files with one text."""

    paths: tuple[Path, ...]
    text: str

    def seen(self) -> bool:
        """Return whether this process reads all of them."""
        try:
            return all(path.read_text() == self.text for path in self.paths)
        except OSError:
            return False


@contextmanager
def signs_in(folder: Path) -> Iterator[Signs]:
    """Yield signs in a folder and in that for temporary files, which are deleted at the end.

    The folder may be in shared memory, and copies of remote models are in the other: services with temporary files of
    their own (systemd's PrivateTmp, containers) see the first without the second.
    """
    text = uuid.uuid4().hex
    with (
        tempfile.NamedTemporaryFile("w", prefix="recscale-sign-", dir=folder) as first,
        tempfile.NamedTemporaryFile("w", prefix="recscale-sign-") as second,
    ):
        for file in (first, second):
            file.write(text)
            file.flush()
        yield Signs((Path(first.name), Path(second.name)), text)
