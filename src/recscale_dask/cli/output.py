"""What commands print, and where."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import typer

from recscale_dask.errors import MemoryLimitError, OutputError

if TYPE_CHECKING:
    from recscale_dask.api.job_plan import JobPlan
    from recscale_dask.api.planning import Plan


class Stopwatch:
    """Seconds of the parts of a command, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Take the time of a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - start, 3)


_STDOUT, _STDERR = 1, 2  # numbers that other processes take over

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)
"""Where results go while stdout is kept for them alone."""


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep stdout for `print_json`: what plugins, their engines and workers print goes to stderr."""
    with ExitStack() as undo:
        token = _results.set(undo.enter_context(_own_stdout()))
        undo.callback(_results.reset, token)
        undo.enter_context(redirect_stdout(sys.stderr))
        yield


@contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Yield stdout, and let processes that are started in here take over stderr in its place."""
    try:
        kept = os.dup(_STDOUT) if sys.stdout.fileno() == _STDOUT else None
    except (AttributeError, OSError, ValueError):
        kept = None
    if kept is None:  # a program has it replaced or closed
        yield sys.stdout
        return
    sys.stdout.flush()
    try:
        with suppress(OSError):  # there is no stderr
            os.dup2(_STDERR, _STDOUT)
        results = os.fdopen(os.dup(kept), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
        try:
            yield results
        finally:
            with suppress(OSError):  # was told when it was written
                results.close()
    finally:
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def only_results() -> bool:
    """Return whether stdout is kept for `print_json`, so that nobody reads notes."""
    return _results.get() is not None


@contextmanager
def interrupted(advice: str) -> Iterator[None]:
    """Say at Ctrl-C what was kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {advice}") from None


def print_json(answer: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; ids that JSON does not know, such as UUIDs, as text."""
    typer.echo(json.dumps(answer, default=str), file=_results.get())


def print_plan(plan: Plan | JobPlan, *, as_json: bool) -> None:
    """Print a plan; raise a MemoryLimitError if memory is too small for it, and an OutputError if only the disk is."""
    if as_json:
        print_json(plan.as_dict())
    else:
        typer.echo(str(plan))
    if not plan.fits:
        raise (MemoryLimitError if plan.most_bytes > plan.memory_limit else OutputError)(plan.verdict)


def peak_rss_bytes() -> int:
    """Return the largest memory of this process so far, or of one of its finished children if that is larger."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return unit * max(resource.getrusage(usage).ru_maxrss for usage in usages)
