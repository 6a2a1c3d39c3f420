"""`recscale doctor`: what is installed, what is broken, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def doctor(as_json: options.Json = False) -> None:
    """Check this installation; exits with 1 if something that everybody needs is broken."""
    from recscale_dask.api.doctor import examine

    checks = examine()
    healthy = all(check.ok for check in checks if check.needed)
    if as_json:
        print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for check in checks:
            mark = "[green]ok" if check.ok else "[red]broken" if check.needed else "[yellow]look"
            table.add_row(mark, check.name, escape(check.found if check.ok else f"{check.found}. {check.fix}"))
        Console().print(table)
    if not healthy:
        typer.echo("error: recscale cannot work here until what is broken above is mended.", err=True)
        raise typer.Exit(1)
