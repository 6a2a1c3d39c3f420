"""Progress on stderr, a bar or lines: observers with the hooks that any plugin may have."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from recscale_dask.execution.events import BlockDone, IngestStep, RunFinished, RunStarted, SolverStep

_FIRST, _EACH = 5.0, 30.0  # seconds to the first line, and between lines


def _share(event: SolverStep) -> float:
    """Return how far a solver is, on the scale on which residuals fall."""
    if event.residual <= event.goal:
        return 1.0
    return max(0.0, math.log(event.residual) / math.log(event.goal)) if event.goal < 1 else 0.0


def _note(event: SolverStep) -> str:
    """Return where a fit is; its goal is below `tol`, so that the certificate holds too."""
    return f"pass {event.passes}, residual {event.residual:.1e}, stops at {event.goal:.1e}"


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
        self._progress.update(self._fit, completed=event.wanted * _share(event), note=_note(event))

    def recscale_ingest_step(self, event: IngestStep) -> None:
        """Draw the rows of each stage."""
        if self._stage is None or self._stage.name != event.stage:
            self._stage = _Stage(event.stage, self._progress.add_task(event.stage, total=event.total, note=""))
        note = self._stage.rate(event.rows)
        self._progress.update(self._stage.task, completed=event.rows, total=event.total, note=note)

    def recscale_run_started(self, event: RunStarted) -> None:
        """Begin a bar of blocks."""
        self._run = self._progress.add_task(event.label, total=event.n_blocks, note=f"blocks on {event.executor}")

    def recscale_block_done(self, event: BlockDone) -> None:
        """Draw one more block."""
        if self._run is not None:
            self._progress.advance(self._run)

    def recscale_run_finished(self, event: RunFinished) -> None:
        """Take the bar of blocks away."""
        if self._run is not None:
            self._progress.remove_task(self._run)
            self._run = None


class ProgressLines:
    """Hooks that print a line after 5 seconds and then every 30, for logs.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start = clock, clock()
        self._next = self._start + _FIRST
        self._run, self._done, self._blocks = "", 0, ""

    def recscale_solver_step(self, event: SolverStep) -> None:
        """Tell how far residuals have fallen."""
        self._tell(f"{event.solver}: {_note(event)}")

    def recscale_ingest_step(self, event: IngestStep) -> None:
        """Tell how many rows are through a stage."""
        of = "" if event.total is None else f" of {event.total:,}"
        self._tell(f"{event.stage}: {event.rows:,}{of} rows")

    def recscale_run_started(self, event: RunStarted) -> None:
        """Take the name of a run, to tell of its blocks."""
        self._run, self._done = event.label, 0
        self._blocks = "" if event.n_blocks is None else f" of {event.n_blocks:,}"

    def recscale_block_done(self, event: BlockDone) -> None:
        """Tell how many blocks of a run are done."""
        self._done += 1
        self._tell(f"{self._run}: {self._done:,}{self._blocks} blocks")

    def _tell(self, text: str) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + _EACH
            sys.stderr.write(f"{now - self._start:5.0f} s  {text}\n")
            sys.stderr.flush()


@contextmanager
def shown_progress() -> Iterator[ProgressBar | ProgressLines]:
    """Yield lines on stderr, or if it is a terminal (or a notebook) a bar, which goes away in the end."""
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield ProgressLines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield ProgressBar(progress)
