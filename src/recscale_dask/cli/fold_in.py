"""`recscale fold-in`: recommendations for users that were not fitted."""

from __future__ import annotations

import time as clock
from typing import Annotated, Any

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import print_json
from recscale_dask.outputs import check_folder


def fold_in(
    model: options.Model,
    source: Annotated[str, typer.Argument(metavar="INTERACTIONS", help="Of the new users: a file, folder or glob.")],
    out: Annotated[
        str, typer.Option("--out", metavar="RECS.parquet", help="File, or URL, of recommendations to write.")
    ],
    k: Annotated[int, typer.Option("--k", help="Items per user.")] = 10,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Warn of items that the model does not know, and go on.")
    ] = False,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also items of their interactions.")] = False,
    save: Annotated[
        str | None, typer.Option("--save", metavar="MODEL", help="Also save a model of the new users.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Loss from which on a refit is advised; by default 0.25.")
    ] = None,
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
    """Recommend to users that the model was not fitted to, without a refit, and say whether one is due.

    The interactions are read as the training data were if the file has the same suffix, unless options say how.
    """
    from recscale_dask.scoring.write import check_recommendations

    check_recommendations(out, overwrite=overwrite)
    if save is not None:
        from recscale_dask.io.model_store import MODEL

        check_folder(MODEL, save, overwrite=overwrite)
    start = clock.perf_counter()
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.scoring.drift import THRESHOLD

        loaded = load_model(model)
        reading = options.Input(user, item, value, time, format).or_as_in_training(loaded, source)
        data = reading.read(source)
        where: dict[str, Any] = {"executor": opened, "progress": progress}
        folded = loaded.fold_in(data, unknown="skip" if skip_unknown else "raise", **where)
        drift = None
        if "energy" in folded.training:  # not of solvers whose scores come from more than factors
            drift = folded.drift(threshold=THRESHOLD if threshold is None else threshold)
        rows = folded.recommend_file(out, k=k, exclude_seen=not include_seen, overwrite=overwrite, **where)
    if save is not None:
        folded.save(save, overwrite=overwrite)
    seconds = round(clock.perf_counter() - start, 3)
    found = folded.provenance["folded_in"]
    if as_json:
        print_json(
            {
                "out": out,
                "rows": rows,
                "users": found["users"],
                "k": k,
                "unknown_items": found["unknown_items"],
                "skipped_interactions": found["skipped_interactions"],
                "drift": drift
                and {
                    "explained": drift.explained,
                    "standard_error": drift.standard_error,
                    "expected": drift.expected,
                    "loss": drift.loss,
                    "threshold": drift.threshold,
                    "refit_advised": drift.refit_advised,
                },
                "seconds": seconds,
            }
        )
        return
    typer.echo(f"{out}: {rows:,} recommendations for {found['users']:,} new users, in {seconds:.1f} s.")
    typer.echo("Whether a refit is due is not to be had of this solver." if drift is None else str(drift))
