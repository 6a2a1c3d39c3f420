"""How much memory there is: for this process and its children, and as a limit that somebody gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recscale_dask.errors import OptionError

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_NAMES = {  # of files, by the controller as in `_OWN_GROUPS`: the limit, what is used, and what of that can be had back
    "": ("memory.max", "memory.current", "inactive_file"),  # version 2
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
}


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

    What the system calls available, or less where a control group (a container, a SLURM job) has a limit.
    """
    return min([_system_available(), *_left_in_groups()]) + _resident()


def _system_available() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _resident() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _left_in_groups() -> Iterator[int]:
    """Yield what is left to each control group that this process is in and that has a limit."""
    try:
        groups = [line.split(":", 2) for line in _OWN_GROUPS.read_text().splitlines()]
    except OSError:
        return
    for _, controller, path in groups:
        if controller in _NAMES:
            top = _CONTROL_GROUPS / controller
            group = top / path.lstrip("/")
            # Up to the top: limits hold for all groups below, and a container may see the top alone.
            for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
                with suppress(OSError, ValueError):  # there is none, or its limit is "max"
                    yield _left_in(folder, *_NAMES[controller])


def _left_in(group: Path, limit: str, used: str, reclaimable: str) -> int:
    most, now = (int((group / name).read_text()) for name in (limit, used))
    stat = (group / "memory.stat").read_text()
    files = [int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == reclaimable]
    return max(0, most - now + sum(files))
