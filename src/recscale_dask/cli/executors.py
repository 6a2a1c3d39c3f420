"""`recscale executors`: where the work can be done."""

from __future__ import annotations

from dataclasses import asdict

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def executors(as_json: options.Json = False) -> None:
    """List the executors that are installed, and whether they work here."""
    from recscale_dask.api.plugins import list_broken, list_executors

    listings = list_executors()
    broken = [each for each in list_broken() if each.kind in ("", "executors")]
    if as_json:
        reasons = [{"name": each.name, "reason": each.reason} for each in broken]
        print_json({"executors": [asdict(each) for each in listings], "broken": reasons})
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "works here", "what it is", "package", box=None)
    table.columns[1].overflow = "fold"  # names in a reason are its point
    for each in listings:
        works = "[green]yes" if each.available else f"[yellow]no: {escape(each.reason)}"
        table.add_row(f"[bold]{escape(each.name)}", works, escape(each.summary), each.package)
    for plugin in broken:
        table.add_row(f"[bold]{escape(plugin.name)}", f"[red]broken: {escape(plugin.reason)}", "", "")
    Console().print(table)
