"""What this machine gives this process: cores, and a folder for files that all its processes map."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from recscale_dask.temporary import SHARED_MEMORY, TemporaryFolder


def cpu_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_exchange_folder(expected_bytes: int = 0) -> TemporaryFolder:
    """Make a temporary folder for arrays that processes of this machine share.

    In shared memory where that has room for eight times `expected_bytes` and at least 1 GiB;
    on disk otherwise. The caller closes it.
    """
    wanted = max(8 * expected_bytes, 1 << 30)
    parent = None
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        parent = SHARED_MEMORY if shutil.disk_usage(SHARED_MEMORY).free > wanted else None
    return TemporaryFolder(parent)


def in_shared_memory(folder: Path) -> bool:
    """Return whether a folder is in memory that only processes of this machine share."""
    return folder.parent == SHARED_MEMORY
