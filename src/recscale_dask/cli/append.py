"""`recscale append`: new interactions into a store."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import on_a_disk


def append(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder that `recscale ingest --out` wrote.")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A data file, folder, glob or URL.")],
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    duplicates: Annotated[
        options.Duplicates, typer.Option("--duplicates", help="Repeated pairs, also of what is in the store.")
    ] = options.Duplicates.sum,
    as_json: options.Json = False,
) -> None:
    """Add interactions, new users and new items to a store, without rewriting what is there."""
    on_a_disk(store, "a store that changes")
    from recscale_dask.data.matrix import UserItemMatrix

    before = UserItemMatrix.open(store)
    interactions = options.Input(user, item, value, time, format).read(source)
    after = before.append(interactions, duplicates=duplicates.value)
    added = {
        "rows": len(interactions),
        "values": after.nnz - before.nnz,
        "users": after.shape[0] - before.shape[0],
        "items": after.shape[1] - before.shape[1],
    }
    if as_json:
        sizes = {"n_users": after.shape[0], "n_items": after.shape[1], "n_interactions": after.nnz}
        print_json({"store": store, **sizes, "added": added})
    else:
        new = ", ".join(f"{count:,} {what}" for what, count in added.items() if what != "rows")
        typer.echo(f"{store}: {added['rows']:,} rows appended; new are {new}. It holds {after.nnz:,} values now.")
