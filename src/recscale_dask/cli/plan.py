"""`recscale plan`: what a fit would take, and whether that is there."""

from __future__ import annotations

from typing import Any

from recscale_dask.cli import options
from recscale_dask.cli.output import print_plan


def plan(
    source: options.Source,
    solver: options.SolverName = "svd",
    rank: options.Rank = 64,
    weighting: options.Weighting = None,
    user_scaling: options.UserScaling = 0.0,
    item_scaling: options.ItemScaling = 0.0,
    tol: options.Tol = 1e-3,
    seed: options.Seed = 0,
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
    as_json: options.Json = False,
) -> None:
    """Tell what a fit with these options would take; exit code 1 if it does not fit."""
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
    reading = options.Input(user, item, value, time, format)
    with options.opened_executor(executor, executor_options, told=False) as opened:
        from recscale_dask.api import fitting

        forecast = fitting.plan(reading.matrix(source, solver, duplicates), **named, executor=opened, **solver_options)
    print_plan(forecast, as_json=as_json)
