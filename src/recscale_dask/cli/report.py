"""`recscale report`: one page about a model."""

from __future__ import annotations

from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.evaluation.pages import check_page


def report(
    model: options.Model,
    out: Annotated[str, typer.Option("--out", metavar="REPORT.html", help="The page: one file, or a URL.")],
    test: Annotated[str | None, typer.Option("--test", metavar="FILE", help="Held-out interactions.")] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Of the test set: names with commas, as for `recscale evaluate`.")
    ] = None,
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
    check_page(out, overwrite=overwrite)
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.api.judging import parsed_metrics
        from recscale_dask.api.reporting import report as write_report

        if metrics is not None:
            parsed_metrics(options.names(metrics))
        loaded = load_model(model)
        rows = None
        if test is not None:
            rows = options.Input(user, item, value, time, format).or_as_in_training(loaded, test).read(test)
        write_report(
            loaded,
            out,
            rows,
            metrics=None if metrics is None else options.names(metrics),
            k=k,
            overwrite=overwrite,
            executor=opened,
            progress=progress,
        )
    if as_json:
        print_json({"out": out})
    else:
        typer.echo(f"{out}: open it in a browser.")
