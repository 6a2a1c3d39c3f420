"""How one task travels to the workers of a Dask cluster, and its outcomes back.

Tasks travel as bytes and big constants as scattered futures beside them, so that task graphs stay
small.
"""

from __future__ import annotations

import pickle
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import cloudpickle
from distributed import CancelledError, Future, KilledWorker

from recscale_dask.errors import RecscaleError
from recscale_dask.execution.contract import Broadcast, Job, Outcome, unportable
from recscale_dask.execution.dask_link import DaskBroadcast, Link
from recscale_dask.execution.deposit import WORTH_MAPPING
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.packing import pack, unpack
from recscale_dask.execution.portable import run_job, task_name
from recscale_dask.execution.sealed import Sealed
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.types import Task

_RESULT_TIMEOUT = 600.0  # seconds for a finished result to arrive; its worker counts as dead after that
_BIG = 1 << 18  # bytes above this are scattered: a graph holds a task and a job, and stays below 1 MB


class Call:
    """One task with its constants, on its way to the workers."""

    def __init__(self, link: Link, task: Task, constants: Mapping[str, Broadcast], exchange: Exchange | None) -> None:
        self._exchange = exchange
        self._blanks: dict[str, FileRecipe] = {}  # for large results, by the key of a future
        self.wake = threading.Event()
        self._link = link
        self._name = f"recscale-{task_name(task)}-{uuid.uuid4().hex}"
        self._count = 0
        self._futures: weakref.WeakSet[Future] = weakref.WeakSet()
        self._error: Exception | None = None
        self._constants: list[DaskBroadcast] = []
        try:
            data, self._constants = pack((task, dict(constants)), DaskBroadcast)
            self._work = self._place(data)
        except Exception as error:
            self._error = error

    def spread(self, n_jobs: int) -> None:
        """Copy the constants to as many workers as there are jobs, if they are data on workers.

        Dask would rather have all jobs wait for the worker that has the constants.
        """
        if n_jobs > 1 and self._constants:
            try:
                self._link.copy([constant.future for constant in self._constants], n_jobs)
            except RecscaleError:
                raise
            except Exception:
                return  # one that does not load on a worker is told of with the first job

    def submit(self, job: Job) -> Future | Outcome:
        """Return the future of a job, or the outcome that says why it cannot be sent."""
        if self._error is not None:
            return unportable(job.index, self._error)
        try:
            data, handles = pack(job, DaskBroadcast)
            # Futures are asked for at each job, so that what was lost with a worker is sent again.
            places = [self._work, self._place(data), *self._constants, *handles]
            held = [place.future if isinstance(place, DaskBroadcast) else place for place in places]
        except RecscaleError:
            raise
        except Exception as error:  # it cannot be pickled here, or does not load where it was sent
            return unportable(job.index, error)
        return self.send(_run, job.index, len(self._constants), *held)

    def _place(self, data: bytes) -> bytes | DaskBroadcast:
        return DaskBroadcast(self._link, data) if len(data) > _BIG else data

    def send(self, function: Any, *arguments: Any) -> Future:
        """Return the future of a function on a worker, which gets a blank first; its end sets `wake`."""
        self._count += 1
        key = f"{self._name}-{self._count}"
        blank = None if self._exchange is None else self._exchange.blank()
        if blank is not None:
            self._blanks[key] = blank
        future = self._link.client.submit(function, blank, *arguments, key=key, pure=False)
        future.add_done_callback(lambda _: self.wake.set())
        self._futures.add(future)
        return future

    def answer(self, future: Future, index: int) -> Outcome:
        """Return the outcome of a future that ended; one that is in its blank is not asked for."""
        blank = self._blanks.pop(future.key, None)
        if blank is None or self._exchange is None:
            return _outcome(future, index)
        give_back = partial(self._exchange.give_back, blank.path)
        if future.status == "finished":
            with suppress(OSError):  # the disk was full, or two workers ran the job at once
                return _opened(_seal_in(blank.written, give_back), index)
        try:
            return _outcome(future, index)
        finally:
            give_back()

    def release(self) -> None:
        """Give up what is still to come: Dask drops tasks whose result nobody wants."""
        for future in list(self._futures):
            future.release()
        for blank in self._blanks.values():
            if self._exchange is not None:
                self._exchange.give_back(blank.path)


def _outcome(future: Future, index: int) -> Outcome:
    """Return the outcome of a future that ended, from the worker that has it."""
    reason: object = future.status
    if future.status == "finished":
        try:
            return _opened(future.result(timeout=_RESULT_TIMEOUT), index)
        except (OSError, CancelledError, KilledWorker) as error:
            reason = error
    elif future.status == "error":
        reason = future.exception()
        if not isinstance(reason, KilledWorker):
            return Outcome(index, error=f"{type(reason).__name__}: {reason}")
    return Outcome(index, error=f"a Dask worker died, or data on it was lost ({reason})", lost=True)


def check_pickles(value: Any) -> None:
    """Raise an error for a value that cannot be pickled, without copying its arrays.

    Dask logs that at length, and tries for ever when one worker wants such a value from another.
    """
    cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)


# -- outcomes on their way ---------------------------------------------------------------------------


def _seal_in(file: FileRecipe, done: Callable[[], object] | None = None) -> Sealed:
    """Return the seal that `_sealed` left in a file."""
    found = file.load(done)
    sealed: Sealed = pickle.loads(found) if isinstance(found, bytes) else found
    return sealed


def _sealed(outcome: Outcome, blank: FileRecipe | None) -> Sealed | FileRecipe:
    """Return an outcome as it travels: in the blank if there is one, from which the driver takes it at once.

    A small one is there as bytes, so that what is kept of it does not hold on to the file. Sealed, for Dask would ask
    for ever for what does not load where it is wanted.
    """
    try:
        sealed = Sealed.of(outcome)
    except Exception as error:
        sealed = Sealed.of(unportable(outcome.index, error, "the result cannot be pickled"))
    if blank is not None:
        with suppress(OSError):  # a full disk: it goes the other way
            file = blank.write(sealed if sealed.nbytes >= WORTH_MAPPING else pickle.dumps(sealed, protocol=5))
            if file is not None:
                return file
    return sealed


def _opened(travelled: Sealed | FileRecipe, index: int) -> Outcome:
    """Return the outcome, or one that says that it does not load here."""
    try:
        sealed = _seal_in(travelled) if isinstance(travelled, FileRecipe) else travelled
    except FileNotFoundError as error:
        return Outcome(index, error=f"a result was lost ({error})", lost=True)
    try:
        outcome: Outcome = sealed.open()
    except Exception as error:
        return unportable(index, error)
    return outcome


# -- on the workers ------------------------------------------------------------------------------------


def _run(
    blank: FileRecipe | None, index: int, n_constants: int, work: bytes, job: bytes, *held: Any
) -> Sealed | FileRecipe:
    """Run one job; `held` are the values of the constants, then of the broadcasts in the job."""
    try:
        task, constants = unpack(work, held[:n_constants])
        loaded = unpack(job, held[n_constants:])
    except Exception as error:
        return _sealed(unportable(index, error), blank)
    return _sealed(run_job(task, loaded, constants), blank)


def combine_outcomes(
    blank: FileRecipe | None, work: bytes, left: Sealed | FileRecipe, right: Sealed | FileRecipe
) -> Sealed | FileRecipe:
    """Combine two outcomes; the first error is that of the whole."""
    outcomes = [_opened(each, 0) for each in (left, right)]
    for outcome in outcomes:
        if outcome.error is not None:
            return _sealed(outcome, blank)
    combine = unpack(work, ())
    total = run_job(lambda pair: combine(*pair), Job(0, tuple(each.value for each in outcomes)), {})
    return _sealed(replace(total, seconds=total.seconds + sum(each.seconds for each in outcomes)), blank)
