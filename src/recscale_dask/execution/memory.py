"""How much memory there is: for this process and its children, and as a limit that somebody gives."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recscale_dask.errors import OptionError

_CGROUPS = (  # version 2, then 1: the limit, what is used, and what of that can be had back
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def byte_count(limit: Any, name: str = "memory_limit") -> int:
    """Return a number of bytes, given as one or as text such as ``"2GiB"`` or ``"1.5 GB"``.

    Raises
    ------
    OptionError
        If it is neither, or not positive.
    """
    from dask.utils import parse_bytes

    count = 0
    if isinstance(limit, bool) or limit == "":
        limit = None
    if isinstance(limit, str | int | np.integer):
        with suppress(ValueError):
            count = int(parse_bytes(limit if isinstance(limit, str) else int(limit)))
    if count <= 0:
        raise OptionError(f"{name} is a number of bytes, or text such as '2GiB' or '500MB'; got {limit!r}")
    return count


def byte_text(count: int) -> str:
    """Return a number of bytes as one reads it, such as ``"1.50 GiB"``."""
    from dask.utils import format_bytes

    return str(format_bytes(count))


def usable_memory() -> int:
    """Return the bytes that this process and its children may have in all, with what they have by now.

    What the system calls available, or less where a control group (a container) has a limit.
    """
    available = _system_available()
    for names in _CGROUPS:
        left = _cgroup_left(*names)
        if left is not None:
            available = min(available, left)
    return available + _resident()


def _system_available() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _resident() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _cgroup_left(limit: str, used: str, reclaimable: str) -> int | None:
    """Return what is left to a control group as this process sees it; None if it has no limit."""
    root = Path("/sys/fs/cgroup")
    try:
        most = int((root / limit).read_text())
        now = int((root / used).read_text())
        stat = (root / limit).with_name("memory.stat").read_text()
    except (OSError, ValueError):  # there is none, or its limit is "max"
        return None
    files = [int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == reclaimable]
    return max(0, most - now + sum(files))
