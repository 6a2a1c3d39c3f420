"""`recscale split`: a training set and a held-out set."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import check_file


class How(StrEnum):
    """The ways to split."""

    random = "random"
    temporal = "temporal"
    leave_one_out = "leave-one-out"


def split(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A data file, folder, glob or URL.")],
    out_train: Annotated[Path, typer.Option("--out-train", metavar="FILE", help=".csv, .tsv, .parquet or .arrow.")],
    out_test: Annotated[Path, typer.Option("--out-test", metavar="FILE", help="The held-out rows.")],
    how: Annotated[How, typer.Option("--how", help="Random rows, the latest, or each user's last.")] = How.random,
    fraction: Annotated[float, typer.Option("--fraction", help="Share of rows to hold out.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Of what is random.")] = 0,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Split interactions into a training file and a test file, with their original ids."""
    if out_train.absolute() == out_test.absolute():
        raise typer.BadParameter("the two files must differ", param_hint="--out-test")
    for path in (out_train, out_test):
        check_file(path, overwrite=overwrite)
    from recscale_dask.evaluation.split import split as split_interactions
    from recscale_dask.io.interactions import write_interactions

    interactions = options.Input(user, item, value, time, format).read(source)
    train, test = split_interactions(interactions, how.value, fraction=fraction, seed=seed)
    write_interactions(train, out_train, overwrite=overwrite)
    write_interactions(test, out_test, overwrite=overwrite)
    if as_json:
        written = {"train": (out_train, train), "test": (out_test, test)}
        print_json({name: {"out": str(path), "rows": len(rows)} for name, (path, rows) in written.items()})
    else:
        typer.echo(f"{out_train}: {len(train):,} rows to fit on. {out_test}: {len(test):,} rows to judge by.")
