"""`recscale report`: one page about a model."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import check_file


def report(
    model: options.Model,
    out: Annotated[str, typer.Option("--out", metavar="REPORT.html", help="The page: one file, or a URL.")],
    test: Annotated[str | None, typer.Option("--test", metavar="FILE", help="Held-out interactions.")] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas, as for `recscale evaluate`.")
    ] = "recall@20,ndcg@20",
    k: Annotated[int, typer.Option("--k", help="Length of the lists whose coverage is shown.")] = 10,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    overwrite: options.Overwrite = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Write a page about a model: spectrum with error bars, quality (with --test) and coverage."""
    check_file(out, overwrite=overwrite)
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.api.reporting import report as write_report

        loaded = load_model(model)
        rows = None
        if test is not None:
            rows = options.Input(user, item, value, time, format).or_as_in_training(loaded, test).read(test)
        write_report(
            loaded,
            out,
            rows,
            metrics=options.names(metrics),
            k=k,
            overwrite=overwrite,
            executor=opened,
            progress=progress,
        )
    if as_json:
        print_json({"out": out})
    else:
        typer.echo(f"{out}: open it in a browser.")
