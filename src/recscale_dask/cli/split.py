"""`recscale split`: a training set and a held-out set."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import check_file
from recscale_dask.remote import is_url


class How(StrEnum):
    """The ways to split."""

    random = "random"
    temporal = "temporal"
    leave_one_out = "leave-one-out"
    leave_k_out = "leave-k-out"
    per_user_random = "per-user-random"
    per_user_temporal = "per-user-temporal"
    held_out_users = "held-out-users"


class By(StrEnum):
    """Which rows of a user are held out."""

    time = "time"
    random = "random"


def split(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A data file, folder, glob or URL.")],
    out_train: Annotated[str, typer.Option("--out-train", metavar="FILE", help=".csv, .tsv, .parquet or .arrow.")],
    out_test: Annotated[str, typer.Option("--out-test", metavar="FILE", help="The held-out rows.")],
    how: Annotated[
        How, typer.Option("--how", help="Random rows, the latest, the last or a share of each user, or users whole.")
    ] = How.random,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Share of rows to hold out; by default 0.2.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", help="Rows of each user that leave-k-out holds out.")] = None,
    by: Annotated[
        By | None,
        typer.Option("--by", help="Rows of a user that leave-k-out and held-out-users test on."),
    ] = None,
    users: Annotated[
        str | None, typer.Option("--users", help="How many users, or which share, held-out-users holds out: 1000, 0.1.")
    ] = None,
    out_fold_in: Annotated[
        str | None,
        typer.Option("--out-fold-in", metavar="FILE", help="Rows of held-out users that are not tested on."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is random.")] = 0,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Split interactions into a training file and a test file, with their original ids.

    With held-out-users, the rows of these users that are not tested on are a third file, for `evaluate --fold-in`.
    """
    if how is How.held_out_users and out_fold_in is None:
        raise typer.BadParameter(
            "held-out-users makes a third file, of the rows of those users that are not tested on: name it with "
            "--out-fold-in FILE",
            param_hint="--how",
        )
    if out_fold_in is not None and how is not How.held_out_users:
        raise typer.BadParameter("only --how held-out-users makes such a file", param_hint="--out-fold-in")
    n_users = None if users is None else _number(users)
    outs = {"train": out_train, **({} if out_fold_in is None else {"fold_in": out_fold_in}), "test": out_test}
    if len({path if is_url(path) else os.path.abspath(path) for path in outs.values()}) < len(outs):
        raise typer.BadParameter("the files must differ", param_hint="--out-test")
    for path in outs.values():
        check_file(path, overwrite=overwrite)
    from recscale_dask.evaluation.split import split as split_interactions
    from recscale_dask.io.interactions import write_interactions

    interactions = options.Input(user, item, value, time, format).read(source)
    parts = split_interactions(
        interactions,
        how.value,
        fraction=fraction,
        k=k,
        by=None if by is None else by.value,
        users=n_users,
        seed=seed,
    )
    written = dict(zip(outs, parts, strict=True))
    for name, rows in written.items():
        write_interactions(rows, outs[name], overwrite=overwrite)
    if as_json:
        print_json({name: {"out": outs[name], "rows": len(rows)} for name, rows in written.items()})
        return
    uses = {"train": "to fit on", "fold_in": "to fold in", "test": "to judge by"}
    typer.echo(" ".join(f"{outs[name]}: {len(rows):,} rows {uses[name]}." for name, rows in written.items()))


def _number(text: str) -> int | float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number such as 1000 or 0.1; got {text!r}", param_hint="--users") from None
