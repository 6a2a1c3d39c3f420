"""`recscale explain`: what a score comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def explain(
    model: options.Model,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whose score.")],
    item: Annotated[str, typer.Option("--item", metavar="ID", help="Of what.")],
    k: Annotated[int, typer.Option("--k", help="How many of the user's items to list.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Show which of a user's own items the score of an item comes from, and how much of it."""
    from recscale_dask.api.factor_model import load_model

    found = load_model(model).explain(user, item, k)
    if not as_json:
        typer.echo(str(found))
        return
    print_json(
        {
            "user": user,
            "item": item,
            "score": found.score,
            "contributions": found.contributions.to_pylist(),
            "others": found.others,
            "remainder": found.remainder,
        }
    )
