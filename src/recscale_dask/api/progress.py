"""A progress bar on stderr, fed by the events of runs and solvers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from recscale_dask.execution.events import BlockDone, Event, IngestStep, Observer, RunFinished, RunStarted, SolverStep


def _share(event: SolverStep) -> float:
    """Return how far a solver is, on the scale on which residuals fall."""
    if event.residual <= event.goal:
        return 1.0
    return max(0.0, math.log(event.residual) / math.log(event.goal)) if event.goal < 1 else 0.0


class _Stage:
    """One stage of an ingest, and how fast it is."""

    def __init__(self, name: str, task: TaskID) -> None:
        self.name, self.task = name, task
        self._start = time.monotonic()

    def rate(self, rows: int) -> str:
        """Return the rows so far, and how many a second."""
        seconds = time.monotonic() - self._start
        return f"{rows:,} rows" + (f", {rows / seconds:,.0f} a second" if seconds > 1 else "")


@contextmanager
def progress_bar() -> Iterator[Observer]:
    """Yield an observer that draws: a bar of falling residuals while fitting, of blocks otherwise."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        fit: TaskID | None = None
        stage: _Stage | None = None
        run: TaskID | None = None

        def observe(event: Event) -> None:
            nonlocal fit, run, stage
            if isinstance(event, SolverStep):
                if fit is None:
                    fit = progress.add_task(event.solver, total=event.wanted, note="")
                note = f"pass {event.passes}, residual {event.residual:.1e} of {event.goal:.1e}"
                progress.update(fit, completed=event.wanted * _share(event), note=note)
            elif isinstance(event, IngestStep):
                if stage is None or stage.name != event.stage:
                    stage = _Stage(event.stage, progress.add_task(event.stage, total=event.total, note=""))
                progress.update(stage.task, completed=event.rows, total=event.total, note=stage.rate(event.rows))
            elif isinstance(event, RunStarted):
                run = progress.add_task(event.label, total=event.n_blocks, note=event.executor)
            elif isinstance(event, BlockDone) and run is not None:
                progress.advance(run)
            elif isinstance(event, RunFinished) and run is not None:
                progress.remove_task(run)
                run = None

        yield observe
