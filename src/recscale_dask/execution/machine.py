"""What this machine gives this process: cores, and a folder for files that all its processes map."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")


def cpu_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_exchange_folder(expected_bytes: int = 0) -> Path:
    """Make a temporary folder for arrays that processes of this machine share.

    In shared memory where that has room for eight times `expected_bytes` and at least 1 GiB;
    on disk otherwise. The caller deletes it.
    """
    wanted = max(8 * expected_bytes, 1 << 30)
    parent = None
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        parent = _SHARED_MEMORY if shutil.disk_usage(_SHARED_MEMORY).free > wanted else None
    return Path(tempfile.mkdtemp(prefix=f"recscale-{os.getpid()}-", dir=parent))


def in_shared_memory(folder: Path) -> bool:
    """Return whether a folder is in memory that only processes of this machine share."""
    return folder.parent == _SHARED_MEMORY
