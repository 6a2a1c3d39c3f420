"""Reports: one self-contained HTML page of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.factor_model import FactorModel, as_model
from recscale_dask.api.judging import DEFAULT_METRICS, evaluate, parsed_metrics
from recscale_dask.api.observing import observing
from recscale_dask.api.reading import read_interactions
from recscale_dask.api.session import scoring_request, session_of_parts
from recscale_dask.checks import whole_number
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import OptionError
from recscale_dask.evaluation.model_report import Coverage, Quality, model_page
from recscale_dask.evaluation.pages import check_page, write_page
from recscale_dask.execution.events import Observer
from recscale_dask.scoring.recommend import recommend_batches
from recscale_dask.scoring.request import request


def report(
    model: FactorModel | str | os.PathLike[str],
    path: str | os.PathLike[str],
    test: Any = None,
    *,
    metrics: Sequence[str] | None = None,
    k: int = 10,
    n_users: int | None = 10_000,
    seed: int = 0,
    overwrite: bool = False,
    executor: ExecutorLike | None = None,
    progress: bool | Observer | None = None,
) -> None:
    """Write a page about a model: how it was fitted, its spectrum with error bars, its quality and coverage.

    Parameters
    ----------
    model : FactorModel, or the path of one
    path : path
        An HTML file, which needs no other and loads nothing. It appears whole or not at all.
    test : Interactions, or anything that `read_interactions` takes, optional
        Held-out rows to judge by.
    metrics : sequence of str, optional
        What to judge by on `test`; by default those of `evaluate`, which see.
    k : int
        Length of the lists whose coverage is shown.
    n_users : int, optional
        Most users whose lists these are, drawn with the seed; None is all of them.
    seed : int
        Of that.
    overwrite : bool
        Replace a file that is there.
    executor, progress
        See `factorize`.

    Raises
    ------
    OutputError
        If the file exists (and `overwrite` is false), cannot be written, or ends in neither .html nor .htm.
    OptionError, UnknownNameError
        If metrics are named without a test set, or cannot be had.
    """
    check_page(path, overwrite=overwrite)
    k = whole_number(k, "k")
    if metrics is not None and test is None:
        raise OptionError(
            "metrics= (--metrics) are of a test set, and there is none: give held-out rows with test= (--test)"
        )
    names = [each.name for each in parsed_metrics(DEFAULT_METRICS if metrics is None else metrics)]
    model = as_model(model)
    asked = None if test is None else test if isinstance(test, Interactions) else read_interactions(test)
    chosen = np.arange(len(model.users), dtype=np.int32)
    if n_users is not None and whole_number(n_users, "n_users") < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:n_users])
    wanted = request(model, model.users.take(chosen), k)
    n_scored = max(len(chosen), 0 if asked is None else asked.n_users)
    with session_of_parts(executor, scoring_request(model, n_scored), progress) as opened:
        counts = np.zeros(len(model.items), np.int64)
        with observing(progress) as observer:
            for best in recommend_batches(model, wanted, opened, observer=observer):
                counts += np.bincount(best.candidates, minlength=len(counts))
        coverage = Coverage(counts=counts, k=k, n_users=len(chosen))
        quality = None
        if asked is not None:
            found = evaluate(model, asked, metrics=names, executor=opened, progress=progress)
            quality = Quality.of(found)
    write_page(model_page(model, coverage, quality), path, overwrite=overwrite)
