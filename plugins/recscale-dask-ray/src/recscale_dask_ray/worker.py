"""What runs on Ray's workers: one job, one sum of two partial results."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cloudpickle

from recscale_dask.execution.contract import Job, Outcome, unportable
from recscale_dask.execution.deposit import deposited
from recscale_dask.execution.packing import unpack
from recscale_dask.execution.portable import run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask_ray.recall import is_given_up

_LOOK = 0.5  # seconds between two looks whether the run was given up


def run(
    call: str, index: int, n_constants: int, work: bytes, job: bytes, blank: FileRecipe | None, *held: Any
) -> Outcome:
    """Run one job; `held` are the values of the constants, then of the broadcasts in the job."""
    if is_given_up(call):
        return Outcome(index, error="the run was given up", lost=True)
    with _ending_with(call):
        try:
            task, constants = unpack(work, held[:n_constants])
            loaded = unpack(job, held[n_constants:])
        except Exception as error:
            return unportable(index, error)
        return _sendable(run_job(task, loaded, constants), blank)


def combine(work: bytes, left: Outcome, right: Outcome) -> Outcome:
    """Combine two outcomes; the first error is that of the whole."""
    for outcome in (left, right):
        if outcome.error is not None:
            return outcome
    add = cloudpickle.loads(work)
    total = run_job(lambda pair: add(*pair), Job(left.index, (left.value, right.value)), {})
    return replace(_sendable(total, None), seconds=total.seconds + left.seconds + right.seconds)


def _sendable(outcome: Outcome, blank: FileRecipe | None) -> Outcome:
    """Return the outcome, a large value in the blank if there is one; or one that says that it cannot be pickled."""
    try:
        outcome = deposited(outcome, blank)
        cloudpickle.dumps(outcome.value, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:
        return unportable(outcome.index, error, "the result cannot be pickled")
    return outcome


@contextmanager
def _ending_with(call: str) -> Iterator[None]:
    """End this process, from a thread, if the run is given up meanwhile; Ray starts another when one is needed.

    A task is in compiled code most of the time, which nothing interrupts.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK):
            if is_given_up(call):
                os._exit(1)

    threading.Thread(target=watch, name="recscale-recall", daemon=True).start()
    try:
        yield
    finally:
        done.set()
