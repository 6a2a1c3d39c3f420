"""The tasks of the conformance kit, in a module that every worker can import.

Those that must remember something across workers are in `recscale_dask.testing.faults`; `LeaveMark` leaves the same
marks: empty files in a folder that all workers see.
"""

from __future__ import annotations

import mmap
import os
import platform
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
from threadpoolctl import threadpool_info

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
    time.sleep(0.001 * (2 - block % 3))
    return block


def float32_partial(block: int) -> NDArray[np.float32]:
    """Return sums whose sizes differ so much that every order of adding them up shows."""
    rng = np.random.default_rng([7, block])
    return (rng.standard_normal(40) * 10.0 ** rng.integers(-4, 5, 40)).astype(np.float32)


def one_array(block: int) -> NDArray[Any]:
    """Return an array of random values, of a kind that the number of the block says."""
    return several_arrays(block)[block % 4]


def several_arrays(block: int) -> tuple[NDArray[Any], ...]:
    """Return arrays of both precisions and several shapes, whose values have all of their bits in use."""
    rng = np.random.default_rng([11, block])
    values = rng.standard_normal(50)
    large = rng.standard_normal(100_000)  # engines treat large results in another way than small ones
    return values, rng.standard_normal((7, 3)).astype(np.float32), rng.standard_normal((3, 7)).T, large


def in_a_tuple(block: int) -> tuple[int]:
    """Return the block in a tuple."""
    return (block,)


def joined(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Return one tuple after the other: a `combine` in which the order shows."""
    return left + right


def paired(left: Any, right: Any) -> Any:
    """Return both: a `combine` in which the tree shows."""
    return left, right


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


def try_to_edit_block(block: NDArray[Any]) -> str:
    """Write into the block if that is possible, and tell."""
    return try_to_edit(0, block)


def told_constants(block: int, weights: NDArray[Any], names: dict[str, Any]) -> tuple[int, Any, list[Any]]:
    """Return the block, the fingerprint of one constant, and what is in the other."""
    return block, fingerprint(weights), sorted(names.items())


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


# -- where they run ----------------------------------------------------------------------------------


def process_of(block: int) -> tuple[str, int]:
    """Return the machine and the process that run this."""
    return platform.node(), os.getpid()


def blas_threads(block: int) -> int:
    """Return the most threads that a BLAS of this process may use; 1 if none is known."""
    import scipy.linalg  # noqa: F401 -- which brings a BLAS of its own

    found = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    return max(found, default=1)


def own_memory(block: int) -> tuple[tuple[str, int], int]:
    """Return the machine and process that run this, and the bytes that it shares with no other; 0 if not known."""
    time.sleep(0.002)  # so that each worker gets some of the blocks
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    sizes = [1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return process_of(block), sum(sizes)


# -- what goes wrong ---------------------------------------------------------------------------------


class UnpicklableError(Exception):
    """An error that no pickle can hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle this error")


class UnreadableError(Exception):
    """The error of a block that cannot be read."""


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


class Unloadable(Unportable):
    """One that can be pickled, and fails where it is to be loaded, as a class does of a module that is not there."""

    def __reduce__(self) -> Any:
        return _fail_to_load, ()


class LargeUnloadable(Unloadable):
    """One that is so large that executors may put it into a file."""

    def __reduce__(self) -> Any:
        return _fail_to_load, (np.zeros(200_000),)


def _fail_to_load(*values: Any) -> NoReturn:
    raise ImportError("planted: this cannot be loaded")


@dataclass(frozen=True)
class UnportableResultOn:
    """Echo blocks, but for one of them return what cannot travel."""

    bad: int
    kind: type[Unportable] = Unportable

    def __call__(self, block: int) -> Any:
        """Return the block, or one of the kind."""
        return self.kind() if block == self.bad else block


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


@dataclass(frozen=True)
class Meet:
    """Tell of the constant once so many tasks have begun, or after a second: each of so many workers has one then."""

    folder: Path
    n_tasks: int

    def __call__(self, block: int, constant: NDArray[Any]) -> tuple[int, tuple[str, tuple[int, ...], int]]:
        """Return the block and the fingerprint of the constant."""
        (self.folder / f"{block}-here").touch()
        end = time.monotonic() + 1.0
        while len(list(self.folder.glob("*-here"))) < self.n_tasks and time.monotonic() < end:
            time.sleep(0.002)
        return fingerprint_of_constant(block, constant)
