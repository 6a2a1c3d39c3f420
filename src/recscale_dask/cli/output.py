"""What commands print, and where they may write."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from recscale_dask.atomic import check_output
from recscale_dask.errors import OutputError

if TYPE_CHECKING:
    from recscale_dask.api.job_plan import JobPlan
    from recscale_dask.api.planning import Plan

_MODEL_MANIFEST = "manifest.json"


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


def print_json(answer: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; ids that JSON does not know, such as UUIDs, as text."""
    typer.echo(json.dumps(answer, default=str))


def print_plan(plan: Plan | JobPlan, *, as_json: bool) -> None:
    """Print a plan; exit with 1 and one sentence if it does not fit."""
    if as_json:
        print_json(plan.as_dict())
    else:
        typer.echo(str(plan))
    if not plan.fits:
        typer.echo(f"error: {plan.verdict}", err=True)
        raise typer.Exit(1)


def peak_rss_bytes() -> int:
    """Return the largest memory of this process so far, or of one of its finished children if that is larger."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return unit * max(resource.getrusage(usage).ru_maxrss for usage in usages)


def check_file(path: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if a file cannot be written there, before any work is done."""
    check_output(path, overwrite=overwrite)
    if path.is_dir():
        raise OutputError(f"{path} is a folder, and --overwrite replaces files only. Choose another path.")


def check_model_folder(path: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if a model cannot be written there, before any work is done."""
    check_output(path, overwrite=overwrite)
    if path.exists() and not (path / _MODEL_MANIFEST).is_file():
        raise OutputError(f"{path} exists and is no model; --overwrite replaces models only. Choose another path.")
