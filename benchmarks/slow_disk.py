"""A disk on which files grow slowly, for `recommend_faults.py`; a module, so that workers can import it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class SlowDisk(LocalFileSystem):
    """This machine's disk, but that a file grows piece by piece."""

    protocol = "slow"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("slow://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode=mode, **options)
        return SlowFile(file) if "w" in mode else file


class SlowFile(AbstractContextManager[Any]):
    """A file that takes `PIECES` writes for each."""

    PIECES = 10

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, content: Any) -> None:
        """Write a piece, see it on the disk, wait, and go on."""
        content = memoryview(content)
        step = -(-len(content) // self.PIECES)
        for start in range(0, len(content), step):
            self._file.write(content[start : start + step])
            self._file.flush()
            time.sleep(0.05 / self.PIECES)

    def __exit__(self, *_: object) -> None:
        self._file.close()
