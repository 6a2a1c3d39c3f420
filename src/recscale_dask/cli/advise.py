"""`recscale advise`: which rank, and which filter, from one fit."""

from __future__ import annotations

from typing import Annotated, TypeVar

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.evaluation.pages import check_page

_Number = TypeVar("_Number", int, float)


def advise(
    source: options.Source,
    test: options.TestFile = None,
    rank: Annotated[int | None, typer.Option("--rank", help="The largest; by default 256, or what there is.")] = None,
    ranks: Annotated[
        str | None, typer.Option("--ranks", metavar="N,N", help="Those to judge; by default 8, 12, 16, 24, ...")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=X,X", help="Strengths of a filter to try; repeatable; 'none' for none."),
    ] = None,
    metrics: options.RankingMetrics = "ndcg@20,recall@20",
    n_users: options.TestUsers = 10_000,
    how: options.HowOption = options.HowToHoldOut.random,
    fraction: options.Fraction = 0.1,
    weighting: options.Weighting = None,
    user_scaling: options.UserScaling = 0.0,
    item_scaling: options.ItemScaling = 0.0,
    tol: options.Tol = 1e-3,
    seed: options.Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="center=items, undo_scaling=false; repeatable."),
    ] = None,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    memory_limit: options.MemoryLimit = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    report: options.ReportPage = None,
    overwrite: options.Overwrite = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Judge an SVD at every rank and with filters, from one fit at the largest, and suggest which to take."""
    fitted = options.key_values(settings, "--set")
    if strangers := fitted.keys() - {"center", "undo_scaling"}:
        raise typer.BadParameter(
            f"{', '.join(sorted(strangers))} cannot be set; center and undo_scaling can", param_hint="--set"
        )
    strengths = _strengths(filters)
    asked = None if ranks is None else [_number(each, "--ranks", int) for each in options.names(ranks)]
    if report is not None:
        check_page(report, overwrite=overwrite)
    reading = options.Input(user, item, value, time, format)
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.advising import advise_rank

        advice = advise_rank(
            reading.data(source),
            None if test is None else reading.read(test),
            rank=rank,
            ranks=asked,
            filters=strengths,
            metrics=options.names(metrics),
            n_users=n_users or None,
            how=how.value,
            fraction=fraction,
            weighting=weighting,
            user_scaling=user_scaling,
            item_scaling=item_scaling,
            tol=tol,
            seed=seed,
            memory_limit=memory_limit,
            executor=opened,
            progress=progress,
            **fitted,
        )
    if report is not None:
        advice.report(report, overwrite=overwrite)
    if as_json:
        print_json(advice.as_dict())
    else:
        typer.echo(str(advice))


def _strengths(filters: list[str] | None) -> dict[str, list[float]] | None:
    if not filters or filters == ["none"]:
        return {} if filters else None
    found = {}
    for each in filters:
        name, _, strengths = each.partition("=")
        found[name] = [_number(strength, "--filter", float) for strength in options.names(strengths)]
        if not name or not found[name]:
            raise typer.BadParameter(f"expected NAME=X,X, such as ridge=0.3; got {each!r}", param_hint="--filter")
    return found


def _number(text: str, option: str, kind: type[_Number]) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas; got {text!r}", param_hint=option) from None
