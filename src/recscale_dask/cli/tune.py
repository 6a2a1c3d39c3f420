"""`recscale tune`: try options on a held-out part, and fit the best."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import interrupted, print_json
from recscale_dask.evaluation.pages import check_page
from recscale_dask.outputs import check_folder, on_a_disk

if TYPE_CHECKING:
    from recscale_dask.evaluation.tuning import Trial


def tune(
    source: options.Source,
    out: Annotated[
        str | None, typer.Option("--out", metavar="MODEL", help="Folder, or URL, for the model of the best options.")
    ] = None,
    test: options.TestFile = None,
    solvers: Annotated[
        str, typer.Option("--solver", help="One or more with commas; of several one is chosen.")
    ] = "svd",
    trials: Annotated[int, typer.Option("--trials", help="How many in all, those in --storage among them.")] = 30,
    metrics: options.RankingMetrics = "ndcg@20,recall@20",
    n_users: options.TestUsers = 10_000,
    how: options.HowOption = options.HowToHoldOut.random,
    fraction: options.Fraction = 0.1,
    storage: Annotated[
        str | None, typer.Option("--storage", "--study", metavar="FILE", help="Keep the study here, and go on from it.")
    ] = None,
    report: options.ReportPage = None,
    seed: options.Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An argument of the fit that all trials have; repeatable."),
    ] = None,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    memory_limit: options.MemoryLimit = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    overwrite: options.Overwrite = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Try options of solvers on a held-out part of INPUT; tell the best, and fit it to all of INPUT (--out)."""
    if out is not None:
        from recscale_dask.io.model_store import MODEL

        check_folder(MODEL, out, overwrite=overwrite)
    if report is not None:
        check_page(report, overwrite=overwrite)
    if storage is not None:
        on_a_disk(storage, "a study")
    told = sys.stderr.isatty() if progress is None else progress
    reading = options.Input(user, item, value, time, format)
    if storage is None:
        advice = "nothing was kept. With --storage FILE a search can be stopped and go on."
    else:
        advice = f"the trials that ended are in {storage}. Go on with the same command."
    with interrupted(advice), options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.tuning import tune as tune_solvers

        found = tune_solvers(
            reading.data(source),
            None if test is None else reading.read(test),
            solver=options.names(solvers),
            trials=trials,
            metrics=options.names(metrics),
            fixed=options.key_values(settings, "--set"),
            n_users=n_users or None,
            how=how.value,
            fraction=fraction,
            storage=storage,
            seed=seed,
            refit=out is not None,
            memory_limit=memory_limit,
            executor=opened,
            progress=progress,
            on_trial=partial(_told, trials) if told else None,
        )
    if report is not None:
        found.report(report, overwrite=overwrite)
    if out is not None:
        found.model.save(out, overwrite=overwrite)
    if as_json:
        print_json(found.as_dict())
    else:
        typer.echo(str(found))
        if out is not None:
            typer.echo(f"{out}: a model with these options, fitted to all of {source}.")


def _told(trials: int, trial: Trial) -> None:
    typer.echo(f"[{trial.number + 1} of {trials}] {trial}", err=True)
