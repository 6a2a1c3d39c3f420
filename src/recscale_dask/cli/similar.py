"""`recscale similar`: neighbours of an item."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def similar(
    model: options.Model,
    item: Annotated[str, typer.Option("--item", metavar="ID", help="Whose neighbours.")],
    k: Annotated[int, typer.Option("--k", help="How many.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Show the items nearest to one: by the cosine of their factors.

    Of gf-cf, bspm, item-knn and ease: what a user who has this item alone gets, with its scores.
    """
    from recscale_dask.api.factor_model import load_model

    neighbours = load_model(model).similar_items(item, k).to_pylist()
    if as_json:
        print_json({"item": item, "similar": neighbours})
        return
    for each in neighbours:
        typer.echo(f"{each['rank']:>4}  {each['score']:6.3f}  {each['item']}")
