"""What runs on Ray's workers: one job, one sum of two partial results."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from typing import Any

import cloudpickle

from recscale_dask.execution.contract import Job, Outcome
from recscale_dask.execution.packing import unpack
from recscale_dask.execution.portable import run_job


def versions() -> str:
    """Return the version of recscale_dask here."""
    return importlib.metadata.version("recscale-dask")


def run(index: int, n_constants: int, work: bytes, job: bytes, *held: Any) -> Outcome:
    """Run one job; `held` are the values of the constants, then of the broadcasts in the job."""
    try:
        task, constants = unpack(work, held[:n_constants])
        loaded = unpack(job, held[n_constants:])
    except Exception as error:
        return Outcome(index, error=f"{type(error).__name__}: {error}", portable=False)
    return _checked(run_job(task, loaded, constants))


def combine(work: bytes, left: Outcome, right: Outcome) -> Outcome:
    """Combine two outcomes; the first error is that of the whole."""
    for outcome in (left, right):
        if outcome.error is not None:
            return outcome
    add = cloudpickle.loads(work)
    total = run_job(lambda pair: add(*pair), Job(left.index, (left.value, right.value)), {})
    return replace(_checked(total), seconds=total.seconds + left.seconds + right.seconds)


def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome, or one that says that its value cannot be pickled."""
    try:
        cloudpickle.dumps(outcome.value, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:
        reason = f"the result cannot be pickled: {type(error).__name__}: {error}"
        return Outcome(outcome.index, error=reason, portable=False)
    return outcome
