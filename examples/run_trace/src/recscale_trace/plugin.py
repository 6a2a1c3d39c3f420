"""The hooks: runs and steps as spans, one JSON object a line, in the file that RECSCALE_TRACE names."""

import json
import os
import threading
import time
from typing import Any

from recscale_dask.hooks.specs import hookimpl

_running = threading.local()  # each thread has calls of its own


@hookimpl
def recscale_executor_chosen(event: Any) -> None:
    """Write which executor was chosen, and why."""
    now = time.time()
    _write("executor chosen", now, now, executor=event.executor, reason=event.reason)


@hookimpl
def recscale_run_started(event: Any) -> None:
    """Remember when a run began."""
    _running.executor, _running.start, _running.busy = event.executor, time.time(), 0.0


@hookimpl
def recscale_block_done(event: Any) -> None:
    """Add up how long the workers were busy."""
    _running.busy += event.seconds


@hookimpl
def recscale_run_finished(event: Any) -> None:
    """Write the run."""
    attributes = {"executor": _running.executor, "blocks": event.n_blocks, "busy_seconds": round(_running.busy, 6)}
    _write(event.label, _running.start, time.time(), event.error, **attributes)


@hookimpl
def recscale_solver_step(event: Any) -> None:
    """Write how far a solver is."""
    now = time.time()
    state = {"passes": event.passes, "converged": event.converged, "wanted": event.wanted, "residual": event.residual}
    _write(f"{event.solver} step", now, now, **state)


def _write(name: str, start: float, end: float, error: str | None = None, **attributes: Any) -> None:
    path = os.environ.get("RECSCALE_TRACE")
    if path:
        span = {"name": name, "start": start, "end": end, "attributes": attributes, "error": error}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(span) + "\n")
