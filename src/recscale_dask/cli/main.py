"""The command `recscale`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from recscale_dask import __version__
from recscale_dask.cli import (
    advise,
    append,
    compact,
    demo,
    doctor,
    evaluate,
    executors,
    explain,
    fit,
    fold_in,
    ingest,
    plan,
    recommend,
    report,
    similar,
    split,
    tune,
)
from recscale_dask.cli.failures import PlainCommand
from recscale_dask.cli.signals import run_until_sigterm

app = typer.Typer(
    name="recscale",
    help="Matrix-factorization recommenders at any scale: the same answer on every executor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recscale {__version__}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Take the options that go before every command; `PlainCommand` and `_version` act on them."""


for _command in (
    demo.demo,
    ingest.ingest,
    fit.fit,
    plan.plan,
    advise.advise,
    tune.tune,
    append.append,
    compact.compact,
    recommend.recommend,
    fold_in.fold_in,
    explain.explain,
    evaluate.evaluate,
    report.report,
    split.split,
    similar.similar,
    executors.executors,
    doctor.doctor,
):
    app.command(cls=PlainCommand)(_command)


def run() -> None:
    """Run the command line: the console entry point."""
    # What matters of a cluster our errors say. Its scheduler also tells of workers that an interrupt has ended with us.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    run_until_sigterm(app)
