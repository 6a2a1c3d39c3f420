"""`recscale recommend`: a model in, the best items of every user out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import interrupted, print_json, print_plan
from recscale_dask.outputs import check_file


def recommend(
    model: options.Model,
    out: Annotated[
        str,
        typer.Option("--out", metavar="RECS.parquet", help="One Parquet file, or (without that suffix) a folder."),
    ],
    k: Annotated[int, typer.Option("--k", help="Items per user.")] = 10,
    users: Annotated[str | None, typer.Option("--users", metavar="FILE", help="Only these users.")] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also items of the training data.")] = False,
    allow: Annotated[
        str | None, typer.Option("--allow", metavar="FILE", help="Only these items, or pairs of user and item.")
    ] = None,
    deny: Annotated[
        str | None, typer.Option("--deny", metavar="FILE", help="Never these items, or pairs of user and item.")
    ] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="Only items with at least this score.")] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Warn of ids that the model does not know, and go on.")
    ] = False,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    overwrite: options.Overwrite = False,
    plan: options.PlanOnly = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Write the k best unseen items of every user to Parquet: user, item, rank, score.

    A folder (or a URL such as s3://bucket/recs) is written by the workers, file by file, and continued if the
    command was interrupted. Files of ids hold one a line, or are CSV, TSV, Parquet or Arrow; a file of users and
    items holds for each user apart, one of items first and then their titles and the like for all. With --plan nothing
    is written: memory, room on the disk and time that a folder would take are told, after some users were computed;
    exit code 1 if it does not fit.
    """
    one_file = Path(out).suffix.lower() in (".parquet", ".pq") and not out.endswith("/")
    if Path(out).suffix and not one_file and not out.endswith("/"):
        raise typer.BadParameter(
            f"{out} is neither a .parquet file nor a folder (a name without suffix)", param_hint="--out"
        )
    if one_file and plan:
        raise typer.BadParameter(
            "is for a folder of recommendations; give --out a name without suffix", param_hint="--plan"
        )
    if one_file:
        check_file(out, overwrite=overwrite)
    elif overwrite:
        raise typer.BadParameter(
            "a folder of recommendations is continued, never replaced; delete it first", param_hint="--overwrite"
        )
    start = time.perf_counter()
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.api.item_lists import user_list

        loaded = load_model(model)
        chosen = user_list(loaded, users)
        loading = time.perf_counter() - start
        wanted: dict[str, Any] = {
            "users": chosen,
            "k": k,
            "exclude_seen": not include_seen,
            "allow": allow,
            "deny": deny,
            "min_score": min_score,
            "unknown": "skip" if skip_unknown else "raise",
            "executor": opened,
        }
        if plan:
            forecast = loaded.plan_recommend(out, **wanted)
            print_plan(forecast.after("load", loading), as_json=as_json)
            return
        if one_file:
            rows = loaded.recommend_file(out, **wanted, progress=progress, overwrite=overwrite)
        else:
            with interrupted(f"the files in {out} that are whole were kept. Go on with the same command."):
                rows = loaded.recommend_to(out, **wanted, progress=progress)
    n_users = len(loaded.users)
    if chosen is not None:
        n_users = int((loaded.users.codes(chosen, missing="ignore") >= 0).sum())  # without those that were skipped
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json({"out": out, "rows": rows, "users": n_users, "k": k, "seconds": seconds})
    else:
        typer.echo(f"{out}: {rows:,} recommendations for {n_users:,} users, in {seconds:.1f} s.")
