"""A progress bar on stderr, fed by the events of runs and solvers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from recscale_dask.execution.events import BlockDone, Event, Observer, RunFinished, RunStarted, SolverStep


def _share(event: SolverStep) -> float:
    """Return how far a solver is, on the scale on which residuals fall."""
    if event.residual <= event.goal:
        return 1.0
    return max(0.0, math.log(event.residual) / math.log(event.goal)) if event.goal < 1 else 0.0


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
        run: TaskID | None = None

        def observe(event: Event) -> None:
            nonlocal fit, run
            if isinstance(event, SolverStep):
                if fit is None:
                    fit = progress.add_task(event.solver, total=event.wanted, note="")
                note = f"pass {event.passes}, residual {event.residual:.1e} of {event.goal:.1e}"
                progress.update(fit, completed=event.wanted * _share(event), note=note)
            elif isinstance(event, RunStarted):
                run = progress.add_task(event.label, total=event.n_blocks, note=event.executor)
            elif isinstance(event, BlockDone) and run is not None:
                progress.advance(run)
            elif isinstance(event, RunFinished) and run is not None:
                progress.remove_task(run)
                run = None

        yield observe
