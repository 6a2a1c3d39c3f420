"""`recscale doctor`: what is installed, what is broken, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def doctor(
    measure: Annotated[
        bool, typer.Option("--measure", help="Also open each executor and measure it, for two seconds and its start.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check this installation; exits with 1 if something that everybody needs is broken.

    With --measure each executor that works here is opened, sends a constant of 32 MiB to its workers and multiplies
    sparse matrices for a second.
    """
    from rich.console import Console

    from recscale_dask.api import doctor

    checks = doctor.examine()
    if measure:
        with Console(stderr=True).status("Measuring each executor, for some seconds each"):
            checks += doctor.measure()
    healthy = all(check.ok for check in checks if check.needed)
    if as_json:
        print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(overflow="fold")
        for check in checks:
            mark = "[green]ok" if check.ok else "[red]broken" if check.needed else "[yellow]look"
            found = check.found if check.ok else f"{check.found.removesuffix('.')}. {check.fix}"
            table.add_row(mark, check.name, escape(found))
        Console().print(table)
        if not measure:
            typer.echo("How fast each executor is here: recscale doctor --measure")
    if not healthy:
        typer.echo("error: recscale cannot work here until what is broken above is mended.", err=True)
        raise typer.Exit(1)
