"""`recscale compact`: a store in one piece again."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import on_a_disk


def compact(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store that `recscale append` added to.")],
    as_json: options.Json = False,
) -> None:
    """Rewrite a store with all that was appended to it, so that it is read as fast as one that was made at once."""
    on_a_disk(store, "a store that changes")
    from recscale_dask.data.matrix import UserItemMatrix

    matrix = UserItemMatrix.open(store).compact()
    n_users, n_items = matrix.shape
    if as_json:
        blocks = matrix.n_blocks
        print_json(
            {"store": store, "n_users": n_users, "n_items": n_items, "n_interactions": matrix.nnz, "blocks": blocks}
        )
    else:
        typer.echo(
            f"{store}: {n_users:,} users x {n_items:,} items with {matrix.nnz:,} values, in {matrix.n_blocks} blocks."
        )
