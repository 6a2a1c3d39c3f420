"""What runs on a worker, and how values travel: one job, a tree of sums, records in mapped files."""

from __future__ import annotations

import pickle
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import cloudpickle
import numpy as np
from threadpoolctl import ThreadpoolController

from recscale_dask.errors import error_text
from recscale_dask.execution.contract import Job, Outcome
from recscale_dask.tree import fold_tree
from recscale_dask.types import Combine, Task

_ALIGNMENT = 64  # a cache line, so that kernels read mapped arrays as fast as allocated ones


# -- threads ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 -- scipy brings a BLAS of its own: load it before looking for libraries

    return ThreadpoolController()


def _free_control() -> None:
    """Let any thread set limits: newer versions of threadpoolctl silently ignore all but the first to do so."""
    for library in _controller().lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


class _SingleThreadedBlas:
    """Counts its users, because BLAS limits belong to the process: the last one out restores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                _free_control()
                self._limit = _controller().limit(limits=1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    _free_control()
                    self._limit.restore_original_limits()
                    _free_control()


single_threaded_blas = _SingleThreadedBlas()
"""Context manager: one BLAS thread in this process, so that products have the same bits everywhere.

Parallel work comes from blocks; BLAS threads on top of them cost LensKit a factor of 150 (its issue 257).
"""


# -- one job ---------------------------------------------------------------------------------------


def load(value: Any) -> Any:
    """Return what a recipe makes, and any other value as it is."""
    loader = getattr(value, "load", None)  # a tenth of the time of isinstance with the protocol
    return loader() if callable(loader) else value


def read_only(value: Any) -> Any:
    """Return a view of an array that a task cannot write into; other values as they are."""
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value = value.view()
        value.flags.writeable = False
    return value


def run_job(task: Task, job: Job, constants: Mapping[str, Any]) -> Outcome:
    """Run one job in this process and return its outcome; never raises for an error of the task.

    Parameters
    ----------
    task : callable
        ``task(payload, **constants)``.
    job : Job
        Its payload is loaded first if it is a recipe; an array reaches the task read-only.
    constants : mapping
        Names to values or recipes; arrays reach the task read-only.
    """
    start = time.perf_counter()
    try:
        with single_threaded_blas():
            ready = {name: read_only(load(value)) for name, value in constants.items()}
            value = task(read_only(load(job.payload)), **ready)
    except Exception as error:
        return Outcome(
            job.index,
            error=error_text(error),
            traceback=traceback.format_exc(),
            seconds=time.perf_counter() - start,
        )
    return Outcome(job.index, value, seconds=time.perf_counter() - start)


# -- sums in a tree fixed by block number ------------------------------------------------------------


def add(left: Any, right: Any) -> Any:
    """Add two results, arrays or tuples of arrays; writes into the first where it may.

    Not into an array of another dtype: whether a result may be written into depends on how it
    travelled, and must not change the sum.
    """
    if isinstance(left, tuple):
        return tuple(add(a, b) for a, b in zip(left, right, strict=True))
    like = (getattr(right, "dtype", None), getattr(right, "shape", None))
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is for the caller to see
        if isinstance(left, np.ndarray) and left.ndim and left.flags.writeable and like == (left.dtype, left.shape):
            return np.add(left, right, out=left)
        return left + right


@dataclass(frozen=True, slots=True)
class Partial:
    """The sum of some blocks and how many they are, so that the core can count them."""

    count: int
    value: Any


@dataclass(frozen=True, slots=True)
class CombinePartials:
    """Combine two partial sums and their counts."""

    combine: Combine

    def __call__(self, left: Partial, right: Partial) -> Partial:
        """Return the partial sum of both."""
        return Partial(left.count + right.count, self.combine(left.value, right.value))


@dataclass(frozen=True, slots=True)
class FoldTask:
    """Run a task on a run of neighbouring blocks and add their results up in the tree."""

    task: Task
    combine: Combine

    def __call__(self, payloads: Sequence[Any], **constants: Any) -> Partial:
        """Return the partial sum over `payloads`, loading one at a time."""
        results = (self.task(read_only(load(payload)), **constants) for payload in payloads)
        return Partial(len(payloads), fold_tree(results, self.combine))


def task_name(task: Task) -> str:
    """Return what an engine's pages may call a task: that of the function itself, also in a sum."""
    if isinstance(task, FoldTask):
        task = task.task
    return getattr(task, "__name__", type(task).__name__)


# -- how tasks and values travel -----------------------------------------------------------------------


def dump_bytes(value: Any) -> bytes:
    """Pickle anything, functions of the caller's script too, for another process."""
    return bytes(cloudpickle.dumps(value, protocol=5))


def write_value(value: Any, file: BinaryIO) -> None:
    """Write a value at a place in a file that is a multiple of 64, so that `read_value` needs no copy of its arrays."""
    buffers: list[pickle.PickleBuffer] = []
    head = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    index = pickle.dumps((head, [raw.nbytes for raw in raws]))
    file.write(len(index).to_bytes(8, "little"))
    file.write(index)
    for raw in raws:
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        file.write(raw)


def read_value(data: Any, offset: int = 0) -> Any:
    """Return the value that `write_value` wrote at an offset; its arrays are views of `data`, an array of bytes."""
    start = offset + 8
    offset = start + int.from_bytes(data[offset:start], "little")
    head, sizes = pickle.loads(data[start:offset])
    buffers = []
    for size in sizes:
        offset += -offset % _ALIGNMENT
        buffers.append(data[offset : offset + size])
        offset += size
    return pickle.loads(head, buffers=buffers)
