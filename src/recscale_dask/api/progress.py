"""A progress bar on stderr: an observer with the hooks that any plugin may have."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from recscale_dask.execution.events import BlockDone, IngestStep, RunFinished, RunStarted, SolverStep


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


class ProgressBar:
    """Hooks that draw: a bar of falling residuals while fitting, of rows while ingesting, of blocks otherwise."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fit: TaskID | None = None
        self._stage: _Stage | None = None
        self._run: TaskID | None = None

    def recscale_solver_step(self, event: SolverStep) -> None:
        """Draw how far residuals have fallen."""
        if self._fit is None:
            self._fit = self._progress.add_task(event.solver, total=event.wanted, note="")
        note = f"pass {event.passes}, residual {event.residual:.1e} of {event.goal:.1e}"
        self._progress.update(self._fit, completed=event.wanted * _share(event), note=note)

    def recscale_ingest_step(self, event: IngestStep) -> None:
        """Draw the rows of each stage."""
        if self._stage is None or self._stage.name != event.stage:
            self._stage = _Stage(event.stage, self._progress.add_task(event.stage, total=event.total, note=""))
        note = self._stage.rate(event.rows)
        self._progress.update(self._stage.task, completed=event.rows, total=event.total, note=note)

    def recscale_run_started(self, event: RunStarted) -> None:
        """Begin a bar of blocks."""
        self._run = self._progress.add_task(event.label, total=event.n_blocks, note=event.executor)

    def recscale_block_done(self, event: BlockDone) -> None:
        """Draw one more block."""
        if self._run is not None:
            self._progress.advance(self._run)

    def recscale_run_finished(self, event: RunFinished) -> None:
        """Take the bar of blocks away."""
        if self._run is not None:
            self._progress.remove_task(self._run)
            self._run = None


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    """Yield a bar on stderr, which goes away in the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        yield ProgressBar(progress)
