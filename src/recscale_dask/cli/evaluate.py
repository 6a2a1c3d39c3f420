"""`recscale evaluate`: how well models find held-out interactions."""

from __future__ import annotations

import time as clock
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json

if TYPE_CHECKING:
    from recscale_dask.evaluation.compare import Comparison
    from recscale_dask.evaluation.evaluate import Evaluation


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders that `recscale fit --out` wrote.")],
    test: Annotated[str, typer.Option("--test", metavar="FILE", help="Held-out interactions.")],
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            help="Names with commas: recall, precision, ndcg, map, mrr, hit_rate, novelty, coverage, gini (all @k), "
            "rmse, mae.",
        ),
    ] = "recall@20,ndcg@20",
    fold_in: Annotated[
        str | None,
        typer.Option("--fold-in", metavar="FILE", help="Other interactions of test users that were not in the fit."),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Of the confidence intervals.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Of the samples of users that intervals are made of.")] = 0,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Judge a model on held-out interactions, or compare several; every unseen item is ranked.

    A test file with the suffix of the training file is read as that was, unless options say how.
    """
    start = clock.perf_counter()
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if len(set(models)) < len(models):
        raise typer.BadParameter("a model is there twice", param_hint="MODEL")
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api import judging
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.evaluation.evaluate import Evaluation

        judging.parsed_metrics(names)
        loaded = {model.rstrip("/"): load_model(model) for model in models}
        first = next(iter(loaded.values()))
        given = options.Input(user, item, value, time, format)
        rows = given.or_as_in_training(first, test).read(test)
        folded = None if fold_in is None else given.or_as_in_training(first, fold_in).read(fold_in)
        found: Evaluation | Comparison
        if len(loaded) == 1:
            found = judging.evaluate(first, rows, metrics=names, fold_in=folded, executor=opened, progress=progress)
        else:
            found = judging.compare(
                loaded, rows, metrics=names, fold_in=folded, level=level, seed=seed, executor=opened, progress=progress
            )
    seconds = round(clock.perf_counter() - start, 3)
    if as_json:
        answer = _of_one(found, level, seed) if isinstance(found, Evaluation) else _of_several(found)
        print_json({**answer, "seconds": seconds})
        return
    typer.echo(found.described(level=level, seed=seed) if isinstance(found, Evaluation) else str(found))
    typer.echo(f"In {seconds:.1f} s.")


def _of_one(found: Evaluation, level: float, seed: int) -> dict[str, Any]:
    intervals = found.intervals(level=level, seed=seed)
    return {
        "metrics": found.metrics,
        "n_users": found.n_users,
        "intervals": {name: list(ends) for name, ends in intervals.items()},
        "n_unknown_users": found.n_unknown_users,
        "n_unknown_items": found.n_unknown_items,
        "n_seen": found.n_seen,
        "n_skipped": found.n_skipped,
    }


def _of_several(compared: Comparison) -> dict[str, Any]:
    return {
        "models": {
            model: {metric: compared[model, metric].value for metric in compared.metrics} for model in compared.models
        },
        "comparison": compared.to_arrow().to_pylist(),
        "n_users": compared.n_users,
        "n_left_out": compared.n_left_out,
    }
