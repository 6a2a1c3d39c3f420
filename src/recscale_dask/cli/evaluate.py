"""`recscale evaluate`: how well a model finds held-out interactions."""

from __future__ import annotations

import time as clock
from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json


def evaluate(
    model: options.Model,
    test: Annotated[str, typer.Option("--test", metavar="FILE", help="Held-out interactions.")],
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas: recall, precision, ndcg, map (@k), rmse, mae.")
    ] = "recall@20,ndcg@20",
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    as_json: options.Json = False,
) -> None:
    """Judge a model on held-out interactions; every unseen item is ranked.

    A test file with the suffix of the training file is read as that was, unless options say how.
    """
    start = clock.perf_counter()
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api import judging
        from recscale_dask.api.factor_model import load_model

        loaded = load_model(model)
        reading = options.Input(user, item, value, time, format).or_as_in_training(loaded, test)
        found = judging.evaluate(loaded, reading.read(test), metrics=names, executor=opened)
    seconds = round(clock.perf_counter() - start, 3)
    if as_json:
        print_json({"metrics": found.metrics, "n_users": found.n_users, "seconds": seconds})
        return
    for name in names:
        typer.echo(f"{name:<14} {found[name]:.4f}")
    typer.echo(f"Over {found.n_users:,} users, in {seconds:.1f} s.")
    if found.n_unknown_users:
        typer.echo(f"{found.n_unknown_users:,} users of the test set are not in the model and were left out.")
