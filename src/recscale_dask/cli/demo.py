"""`recscale demo`: the main job from start to end, on generated data or on the user's file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recscale_dask.atomic import check_output, written_beside
from recscale_dask.cli import options
from recscale_dask.cli.output import Stopwatch, print_json
from recscale_dask.errors import OutputError
from recscale_dask.outputs import on_a_disk

if TYPE_CHECKING:
    import pyarrow as pa

    from recscale_dask.api.factor_model import FactorModel
    from recscale_dask.data.interactions import Interactions

_K = 10
_RANK = 32
_METRICS = (f"recall@{_K}", f"ndcg@{_K}")
_KIND = "recscale_dask demo"
_SUMMARY = "demo.json"
_PLANTED = "planted tastes"


def demo(
    data: Annotated[str | None, typer.Option("--data", metavar="PATH", help="Your file of interactions.")] = None,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Where the results go.")] = "recscale-demo",
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Do the main job from start to end: fit, recommend, judge against popularity, save.

    Without --data, on 6,000 made-up listeners with planted tastes, so that one can see whether they are found. A
    demo takes the place of one of made-up data, and only with --overwrite of one of your data.
    """
    folder = on_a_disk(out, "the folder of a demo")
    _check_folder(folder, overwrite=overwrite)
    if sys.stderr.isatty():
        _tell_of_compiling()
    watch, reading = Stopwatch(), options.Input(user, item, value, time, format)
    with options.opened_executor(executor, executor_options, told=False) as opened:
        from recscale_dask.api.fitting import factorize
        from recscale_dask.cli.demo_data import held_out, planted

        with watch.timed("read" if data else "generate"):
            interactions, tastes = (reading.read(data), None) if data else planted()
            how, train, test = held_out(interactions)
        rank = min(_RANK, min(train.n_users, train.n_items) - 1)
        with watch.timed("fit"):
            model = factorize(train, rank=rank, weighting="binary", user_scaling=0.5, item_scaling=0.5, executor=opened)
        with watch.timed("recommend"):
            recommendations = model.recommend(k=_K, executor=opened)
        with watch.timed("evaluate"):
            judged, n_judged = _judged(model, recommendations, test, opened)
        with watch.timed("baseline"):
            popularity = factorize(train, solver="popularity")
            popular = popularity.recommend(k=_K)
            baseline, _ = _judged(popularity, popular, test, None)
    if tastes is not None:
        judged = {"own_taste": tastes.share(recommendations), **judged}
        baseline = {"own_taste": tastes.share(popular), **baseline}
    summary = {
        "kind": _KIND,
        "data": data or _PLANTED,
        "n_users": interactions.n_users,
        "n_items": interactions.n_items,
        "n_interactions": len(interactions),
        "held_out": {"how": how, "rows": len(test), "users": n_judged},
        "rank": model.rank,
        "executor": model.provenance["executor"],
        "passes": model.certificate and model.certificate.passes,
        "max_residual": model.certificate and model.certificate.max_residual,
        "converged": model.certificate and model.certificate.converged,
        "svd": judged,
        "popularity": baseline,
        "seconds": watch.seconds,
        "out": out,
    }
    _save(folder, model, recommendations, train, test, summary)
    if as_json:
        print_json(summary)
        return
    from recscale_dask.cli.demo_report import print_report

    print_report(summary, model, recommendations, tastes)


def _tell_of_compiling() -> None:
    from recscale_dask.api.doctor import numba_cache

    if not any(numba_cache().glob("*.nbi")):
        typer.echo("note: this first run compiles what it needs, which takes up to a minute.", err=True)


def _check_folder(out: Path, *, overwrite: bool) -> None:
    """Raise an OutputError unless `out` is free, or the folder of an earlier demo that may be replaced."""
    check_output(out, overwrite=True)
    if not out.exists():
        return
    try:
        found = json.loads((out / _SUMMARY).read_text(encoding="utf-8"))
        ours, data = found["kind"] == _KIND, found["data"]
    except (OSError, ValueError, LookupError, TypeError):
        ours, data = False, None
    if not ours:
        raise OutputError(f"{out} exists and is not the folder of a demo. Choose another one with --out.")
    if data != _PLANTED and not overwrite:  # what was made up is made again in seconds
        raise OutputError(f"{out} holds the demo of {data}. Replace it with --overwrite, or choose another --out.")


def _judged(
    model: FactorModel, recommendations: pa.Table, test: Interactions, executor: Any
) -> tuple[dict[str, float], int]:
    from recscale_dask.api.judging import evaluate

    found = evaluate(model, test, metrics=_METRICS, executor=executor)
    coverage = len(recommendations["item"].unique()) / len(model.items)
    return {**found.metrics, "coverage": coverage}, found.n_users


def _save(
    out: Path,
    model: FactorModel,
    recommendations: pa.Table,
    train: Interactions,
    test: Interactions,
    summary: dict[str, Any],
) -> None:
    import pyarrow.parquet as pq

    from recscale_dask.io.interactions import write_interactions

    with written_beside(out, overwrite=True) as folder:
        folder.mkdir()
        model.save(folder / "model")
        pq.write_table(recommendations, folder / "recommendations.parquet")
        write_interactions(train, folder / "train.parquet")
        write_interactions(test, folder / "test.parquet")
        (folder / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
