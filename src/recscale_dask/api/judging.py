"""Judging: `evaluate` a model on held-out data, by names of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recscale_dask.api.factor_model import FactorModel
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.reading import read_interactions
from recscale_dask.api.session import session
from recscale_dask.data.interactions import Interactions
from recscale_dask.evaluation.evaluate import Evaluation, parse_metric
from recscale_dask.evaluation.evaluate import evaluate as evaluate_factors
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.hooks.specs import ExecutorRequest


def evaluate(
    model: FactorModel,
    test: Any,
    *,
    metrics: Sequence[str] = ("recall@20", "ndcg@20"),
    executor: str | Executor | None = None,
    progress: bool | Observer | None = None,
) -> Evaluation:
    """Return how well a model finds held-out interactions.

    Every unseen item is ranked, and users with test items are averaged.

    Parameters
    ----------
    model : FactorModel
        Fitted on other interactions.
    test : Interactions, or anything that `read_interactions` takes
        Held-out rows.
    metrics : sequence of str
        Ranking metrics with the length of the list (``"recall@20"``, ``precision``, ``ndcg``, ``map``), and
        rating metrics (``"rmse"``, ``"mae"``).
    executor, progress
        See `factorize`.

    Raises
    ------
    DataError
        If no user of the test set is in the model.
    UnknownNameError, OptionError
        If there is no such metric, or it lacks its ``@k``.
    """
    if isinstance(metrics, str):
        metrics = (metrics,)
    parsed = tuple(parse_metric(name, lambda base: plugin_manager().resolve("metrics", base)) for name in metrics)
    if not isinstance(test, Interactions):
        test = read_interactions(test)
    request = ExecutorRequest(
        purpose="score",
        n_users=test.n_users,
        n_items=len(model.items),
        n_stored=test.n_users * len(model.items) // 64,
        rank=model.rank,
    )
    with session(executor, request, progress) as (opened, observer):
        return evaluate_factors(model, test, parsed, opened, observer=observer)
