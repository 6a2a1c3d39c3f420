"""The log of runs: a plugin that writes their events to the logger ``recscale_dask``.

Nothing is shown unless the program asks for it: ``logging.basicConfig(level=logging.INFO)``.
"""

from __future__ import annotations

import logging

from recscale_dask.execution.events import ExecutorChosen, IngestStep, RunFinished, RunStarted, SolverStep
from recscale_dask.hooks.specs import hookimpl

_log = logging.getLogger("recscale_dask")
_log.addHandler(logging.NullHandler())  # or errors would be on stderr twice


@hookimpl
def recscale_executor_chosen(event: ExecutorChosen) -> None:
    """Log which executor was chosen, and why."""
    _log.info("executor %s, as %s", event.executor, event.reason)


@hookimpl
def recscale_run_started(event: RunStarted) -> None:
    """Log that a run begins."""
    _log.debug("%s: begins on %s, %s blocks", event.label, event.executor, event.n_blocks)


@hookimpl
def recscale_run_finished(event: RunFinished) -> None:
    """Log how a run ended."""
    if event.error is None:
        _log.debug("%s: %d blocks in %.3f s", event.label, event.n_blocks, event.seconds)
    else:
        _log.error("%s: %s, after %d blocks and %.3f s", event.label, event.error, event.n_blocks, event.seconds)


@hookimpl
def recscale_solver_step(event: SolverStep) -> None:
    """Log how far a solver is."""
    _log.info(
        "%s: pass %d, %d of %d converged, residual %.1e of %.1e",
        *(event.solver, event.passes, event.converged, event.wanted, event.residual, event.goal),
    )


@hookimpl
def recscale_ingest_step(event: IngestStep) -> None:
    """Log how far a stage of an ingest is."""
    _log.debug("ingest, %s: %d of %s rows", event.stage, event.rows, event.total)
