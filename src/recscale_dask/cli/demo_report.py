"""What the demo prints: how good it is, whom it recommends what, and what to type next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recscale_dask.api.factor_model import FactorModel
from recscale_dask.cli.demo_data import Tastes

_SAMPLES = 4
_SHOWN = 5
_PLAIN_WIDTH = 100  # of a line where there is no terminal


def print_report(
    summary: Mapping[str, Any], model: FactorModel, recommendations: pa.Table, tastes: Tastes | None
) -> None:
    """Print the results of a demo for people."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    held_out = summary["held_out"]
    console.print(
        f"\n[bold]{summary['n_users']:,} users x {summary['n_items']:,} items, "
        f"{summary['n_interactions']:,} interactions[/bold] ({escape(summary['data'])}); "
        f"{held_out['how']} held out to judge by ({held_out['rows']:,} rows, {held_out['users']:,} known users).\n"
    )
    console.print(_quality(summary))
    state = "[green]converged[/green]" if summary["converged"] else "[yellow]not converged[/yellow]"
    times = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in summary["seconds"].items())
    console.print(
        f"\nCertificate: every singular triplet is within {summary['max_residual']:.1e} of true, {state} after "
        f"{summary['passes']} passes.\nTimes on {summary['executor']}, as {model.provenance['executor_reason']}: "
        f"{times}.\n"
    )
    console.print(_samples(model, recommendations, tastes))
    console.print(f"\nAll of it is in [bold]{escape(summary['out'])}[/bold]. Next, type for example:\n")
    for command in _next_commands(summary, model):
        console.print(f"  [cyan]{escape(command)}", soft_wrap=True, highlight=False)
    if tastes is not None:
        console.print(f"\nOn your own data: [cyan]{escape(_program())} demo --data ratings.csv", highlight=False)


def _quality(summary: Mapping[str, Any]) -> Table:
    svd, popularity = summary["svd"], summary["popularity"]
    labels = {
        "own_taste": "recommendations of the user's own taste",
        "coverage": "items recommended to somebody",
    }
    table = Table("", f"SVD, rank {summary['rank']}", "popularity", "")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in svd:
        form = "{:.1%}" if name in labels else "{:.3f}"
        ratio = f"{svd[name] / popularity[name]:.1f} x" if popularity[name] else ""
        table.add_row(labels.get(name, name), f"[bold]{form.format(svd[name])}", form.format(popularity[name]), ratio)
    return table


def _samples(model: FactorModel, recommendations: pa.Table, tastes: Tastes | None) -> Table:
    """Return a table of some users: what they have, and what they are recommended."""
    table = Table("user", *(["taste"] if tastes else []), "has", "is recommended")
    for code in np.linspace(0, len(model.users) - 1, _SAMPLES + 2).astype(np.int32)[1:-1]:
        user = model.users.ids[code]
        mine = recommendations.filter(pc.equal(recommendations["user"], user))["item"].to_pylist()
        seen = model.seen.rows(np.array([code])).indices
        has = model.items.take(seen[:: max(1, len(seen) // _SHOWN)]).to_pylist()
        cells = [", ".join(_styled(user.as_py(), item, tastes) for item in items[:_SHOWN]) for items in (has, mine)]
        table.add_row(escape(str(user)), *([tastes.users[user.as_py()]] if tastes else []), *cells)
    return table


def _styled(user: Any, item: Any, tastes: Tastes | None) -> str:
    own = tastes is not None and tastes.users[user] == tastes.items[item]
    return f"[green]{escape(str(item))}[/green]" if own else escape(str(item))


def _program() -> str:
    """Return how the shell finds this command: by its name, or by its path in an environment that is not active."""
    started = Path(sys.argv[0])
    return shlex.quote(str(started)) if started.name == "recscale" and not shutil.which("recscale") else "recscale"


def _next_commands(summary: Mapping[str, Any], model: FactorModel) -> list[str]:
    folder = Path(summary["out"])
    saved, train, test = (shlex.quote(str(folder / name)) for name in ("model", "train.parquet", "test.parquet"))
    counts = np.bincount(model.seen.indices, minlength=len(model.items))
    typical = model.items.ids[int(np.argsort(-counts, kind="stable")[len(counts) // 5])]  # neither rare nor everybody's
    recscale = _program()
    return [
        f"{recscale} similar {saved} --item {shlex.quote(str(typical))}",
        f"{recscale} evaluate {saved} --test {test} --metrics recall@20,ndcg@20,map@20",
        f"{recscale} fit {train} --out my-model --rank 64 --executor processes",
    ]
