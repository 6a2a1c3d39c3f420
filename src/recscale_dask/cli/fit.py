"""`recscale fit`: interactions in, a model out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import Stopwatch, interrupted, peak_rss_bytes, print_json
from recscale_dask.outputs import check_folder, on_a_disk

if TYPE_CHECKING:
    from recscale_dask.api.factor_model import FactorModel


def fit(
    source: options.Source,
    out: Annotated[str, typer.Option("--out", metavar="MODEL", help="Folder, or URL, to write the model to.")],
    solver: options.SolverName = "svd",
    rank: options.Rank = 64,
    weighting: options.Weighting = None,
    user_scaling: options.UserScaling = 0.0,
    item_scaling: options.ItemScaling = 0.0,
    tol: options.Tol = 1e-3,
    seed: options.Seed = 0,
    warm_start: Annotated[
        str | None, typer.Option("--warm-start", metavar="MODEL", help="An earlier model to start from.")
    ] = None,
    settings: options.Settings = None,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    memory_limit: options.MemoryLimit = None,
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    duplicates: options.DuplicatesOfSolver = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="DIR", help="Keep the state after each pass in this folder.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --checkpoint, if any.")] = False,
    overwrite: options.Overwrite = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Fit a model to interactions and save it."""
    named: dict[str, Any] = {
        "solver": solver,
        "rank": rank,
        "weighting": weighting,
        "user_scaling": user_scaling,
        "item_scaling": item_scaling,
        "tol": tol,
        "seed": seed,
        "memory_limit": memory_limit,
    }
    solver_options = options.solver_settings(settings, named)
    if resume and checkpoint is None:
        raise typer.BadParameter("name the folder of the fit that was stopped with --checkpoint", param_hint="--resume")
    if checkpoint is not None:
        on_a_disk(checkpoint, "checkpoints")
    from recscale_dask.io.model_store import MODEL

    check_folder(MODEL, out, overwrite=overwrite)
    watch = Stopwatch()
    reading = options.Input(user, item, value, time, format)
    with interrupted(_advice(checkpoint)), options.opened_executor(executor, executor_options, told=False) as opened:
        from recscale_dask.api.factor_model import load_model
        from recscale_dask.api.fitting import clear_checkpoints, factorize
        from recscale_dask.solvers.checkpoint import has_states

        if resume and checkpoint is not None and not has_states(checkpoint):
            typer.echo(f"note: there is no state in {checkpoint} yet; the fit begins at the start.", err=True)
        named["warm_start"] = warm_start and load_model(warm_start)
        with watch.timed("read"):
            matrix = reading.matrix(source, solver, duplicates)
        with watch.timed("fit"):
            model = factorize(
                matrix,
                **named,
                executor=opened,
                checkpoint=checkpoint,
                resume=resume,
                progress=progress,
                **solver_options,
            )
    # So that `evaluate` reads a test file of the same kind in the same way.
    how_read = {"suffix": Path(source).suffix, **asdict(reading)}
    model = replace(model, provenance={**model.provenance, "input": how_read})
    with interrupted(_advice(checkpoint)), watch.timed("save"):
        model.save(out, overwrite=overwrite)
    if checkpoint is not None:
        clear_checkpoints(checkpoint)
    if as_json:
        print_json(_answer(model, out, watch))
    else:
        typer.echo(_told(model, out, watch))


def _advice(checkpoint: str | None) -> str:
    if checkpoint is None:
        return "nothing was kept. With --checkpoint DIR a fit can be stopped and go on."
    return f"the state after the last pass is in {checkpoint}. Go on with the same command and --resume."


def _answer(model: FactorModel, out: str, watch: Stopwatch) -> dict[str, Any]:
    certificate = model.certificate
    return {
        "model": out,
        "solver": model.provenance["solver"],
        "rank": model.rank if model.rank_asked is None else model.rank_asked,
        "n_users": len(model.users),
        "n_items": len(model.items),
        "n_interactions": model.n_interactions,
        "executor": model.provenance["executor"],
        "executor_reason": model.provenance["executor_reason"],
        "passes": certificate and certificate.passes,
        "seconds": watch.seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "certificate": certificate
        and {
            "max_residual": certificate.max_residual,
            "tol": certificate.tol,
            "converged": certificate.converged,
        },
        "plan": model.provenance.get("plan"),
        "factors_sha256": model.factors_sha256(),
        **_sweeps(model),
    }


def _sweeps(model: FactorModel) -> dict[str, Any]:
    """Return how alternating least squares ended; nothing of other solvers."""
    found = {name: model.provenance[name] for name in ("sweeps", "converged", "objective") if name in model.provenance}
    return {**found, "objective": found["objective"][-1]} if found else {}


def _told(model: FactorModel, out: str, watch: Stopwatch) -> str:
    rank = "" if model.rank_asked is None else f", rank {model.rank_asked}"
    told = (
        f"{out}: {model.provenance['solver']}{rank}, of {len(model.users):,} users x "
        f"{len(model.items):,} items with {model.n_interactions:,} interactions, "
        f"in {watch.seconds['fit']:.1f} s on {model.provenance['executor']}, as {model.provenance['executor_reason']}."
    )
    certificate = model.certificate
    if sweeps := _sweeps(model):
        state = "converged" if sweeps["converged"] else "not converged"
        return f"{told}\n{sweeps['sweeps']} sweeps, {state}; objective {sweeps['objective']:.6g}."
    if certificate is None:
        return told
    state = "converged" if certificate.converged else "not converged"
    plan = model.provenance.get("plan")
    if plan is not None:
        method = plan["method"][0].upper() + plan["method"][1:]
        told += (
            f"\n{method} on the {plan['side']}, {plan['block_size']} vectors a pass in {plan['dtype']}; "
            f"expected {plan['passes']} passes."
        )
    return (
        f"{told}\nWorst residual {certificate.max_residual:.1e} (asked: {certificate.tol:.1e}), "
        f"{state} after {certificate.passes} passes."
    )
