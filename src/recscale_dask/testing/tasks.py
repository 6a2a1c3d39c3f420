"""The tasks of the conformance kit, in a module that every worker can import.

Those that must remember something across workers are in `recscale_dask.testing.faults`; `LeaveMark` leaves the same
marks: empty files in a folder that all workers see.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
import uuid
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

PICKLES: Counter[str] = Counter()
"""How often each `CountedConstant` was pickled in this process."""

LOADS: Counter[str] = Counter()
"""How often each `CountedConstant` was unpickled in this process."""


# -- results -----------------------------------------------------------------------------------------


def echo(block: Any) -> Any:
    """Return the block."""
    return block


def echo_late_ones_first(block: int) -> int:
    """Return the block; of three neighbours, the first takes longest."""
    time.sleep(0.002 * (2 - block % 3))
    return block


def float32_partial(block: int) -> NDArray[np.float32]:
    """Return sums whose sizes differ so much that every order of adding them up shows."""
    rng = np.random.default_rng([7, block])
    return (rng.standard_normal(40) * 10.0 ** rng.integers(-4, 5, 40)).astype(np.float32)


def scaled(block: Any, factor: Any) -> Any:
    """Return ``block * factor``."""
    return block * factor


# -- constants ---------------------------------------------------------------------------------------


def fingerprint(array: NDArray[Any]) -> tuple[str, tuple[int, ...], int]:
    """Return dtype, shape and checksum of an array's values."""
    return array.dtype.str, array.shape, zlib.crc32(np.ascontiguousarray(array).data)


def fingerprint_of_constant(block: int, constant: NDArray[Any]) -> tuple[int, tuple[str, tuple[int, ...], int]]:
    """Return the block and the fingerprint of the constant."""
    return block, fingerprint(constant)


def try_to_edit(block: int, constant: NDArray[Any]) -> str:
    """Write into the constant if that is possible, and tell."""
    try:
        constant[0] = -1 - block
    except ValueError:
        return "refused"
    return "edited"


class CountedConstant:
    """A record with a big array that counts in each process how often it is pickled and unpickled."""

    def __init__(self, array: NDArray[Any], name: str | None = None) -> None:
        self.array = array
        self.name = name or uuid.uuid4().hex

    def __reduce__(self) -> Any:
        PICKLES[self.name] += 1
        return _load_counted, (self.array, self.name)


def _load_counted(array: NDArray[Any], name: str) -> CountedConstant:
    LOADS[name] += 1
    return CountedConstant(array, name)


def how_it_came(block: int, constant: CountedConstant) -> tuple[int, int, bool]:
    """Return this process, how often it loaded the constant, and whether its array is mapped, not copied."""
    return os.getpid(), LOADS[constant.name], _is_mapped(constant.array)


def _is_mapped(array: NDArray[Any]) -> bool:
    """Return whether an array is in memory that processes share: a mapped file, or an engine's object store."""
    address = array.__array_interface__["data"][0]
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return _is_view_of_map(array)
    for line in lines:
        span, permissions = line.split()[:2]
        first, last = (int(each, 16) for each in span.split("-"))
        if first <= address < last:
            return permissions[3] == "s"
    return False


def _is_view_of_map(array: Any) -> bool:
    while array is not None and not isinstance(array, mmap.mmap):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array is not None


# -- what goes wrong ---------------------------------------------------------------------------------


class UnpicklableError(Exception):
    """An error that no pickle can hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle this error")


@dataclass(frozen=True)
class FailOn:
    """Echo blocks, but raise on one of them."""

    bad: int
    error: type[Exception]

    def __call__(self, block: int) -> int:
        """Return the block, unless it is the bad one."""
        if block == self.bad:
            raise self.error("planted")
        return block


class Unportable:
    """A task, a block, a constant or a result that cannot be pickled."""

    def __call__(self, block: Any) -> Any:
        """Return the block: the task itself is in order."""
        return block

    def __reduce__(self) -> NoReturn:
        raise TypeError("planted: this cannot be pickled")


@dataclass(frozen=True)
class UnportableResultOn:
    """Echo blocks, but for one of them return what cannot be pickled."""

    bad: int

    def __call__(self, block: int) -> Any:
        """Return the block or an `Unportable`."""
        return Unportable() if block == self.bad else block


# -- marks on disk -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeaveMark:
    """Echo blocks after leaving a mark for each attempt."""

    folder: Path
    seconds: float = 0.0

    def __call__(self, block: int) -> int:
        """Leave a mark, wait, and return the block."""
        (self.folder / f"{block}-{uuid.uuid4().hex}").touch()
        time.sleep(self.seconds)
        return block
