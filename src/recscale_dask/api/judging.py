"""Judging: `evaluate` and `compare` models on held-out data, by names of metrics."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.factor_model import FactorModel, as_model
from recscale_dask.api.observing import labelled, observing
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.reading import read_interactions
from recscale_dask.api.session import scoring_request, session_of_parts
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, DoubtfulDataWarning, OptionError, RecscaleError, UnknownNameError
from recscale_dask.evaluation.bootstrap import LEVEL, REPLICATES
from recscale_dask.evaluation.compare import Comparison
from recscale_dask.evaluation.compare import compare as compare_evaluations
from recscale_dask.evaluation.evaluate import Evaluation
from recscale_dask.evaluation.evaluate import evaluate as evaluate_factors
from recscale_dask.evaluation.held_out import warn_of_strangers
from recscale_dask.evaluation.judge import needs_training
from recscale_dask.evaluation.metric import MetricRequest, RatingMetric, Training
from recscale_dask.evaluation.trial import parse_metric
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer

DEFAULT_METRICS = ("recall@20", "ndcg@20")


def evaluate(
    model: FactorModel | str | os.PathLike[str],
    test: Any,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    fold_in: Any = None,
    executor: ExecutorLike | None = None,
    progress: bool | Observer | None = None,
) -> Evaluation:
    """Return how well a model finds held-out interactions.

    Every unseen item is ranked, and users with test items are averaged.

    Parameters
    ----------
    model : FactorModel, or the path of one
        Fitted on other interactions.
    test : Interactions, or anything that `read_interactions` takes
        Held-out rows.
    metrics : sequence of str
        Metrics of lists, with the length of the list: ``"recall@20"``, ``precision``, ``ndcg``, ``map``, ``mrr``,
        ``hit_rate``, ``novelty``, ``coverage``, ``gini``; and rating metrics: ``"rmse"``, ``"mae"``.
    fold_in : Interactions, or anything that `FactorModel.fold_in` takes, optional
        Other interactions of the users of `test`, who were not in the fit: strong generalisation. They are folded in,
        and their items are not recommended; items that the model does not know are skipped and counted.
    executor, progress
        See `factorize`.

    Raises
    ------
    DataError
        If no user of the test set is in the model, or all of its pairs are in the training data, where they would
        only count as misses; more than one in a hundred is told as a `SeenTestWarning`.
    UnknownNameError, OptionError
        If there is no such metric, or it lacks its ``@k``.

    Warns
    -----
    SeenTestWarning
        If more than one in a hundred of the pairs are in the training data.
    UnknownIdWarning
        If most of the users of the test set are not in the model.
    DoubtfulDataWarning
        If ``rmse`` or ``mae`` are asked of a model whose scores are no values: one with a weighting, or of a solver
        that only ranks.
    """
    parsed = parsed_metrics(metrics)
    model = as_model(model)
    rows = _interactions(test)
    with session_of_parts(executor, scoring_request(model, rows.n_users), progress) as opened:
        return _evaluated(model, rows, parsed, fold_in, opened, progress)


def compare(
    models: Mapping[str, FactorModel | str | os.PathLike[str]],
    test: Any,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    fold_in: Any = None,
    baseline: str | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
    executor: ExecutorLike | None = None,
    progress: bool | Observer | None = None,
) -> Comparison:
    """Return several models on one test set, with bootstrap intervals and differences over the same users.

    Parameters
    ----------
    models : mapping of str to FactorModel, or to the path of one
        Fitted on the same data. Users that one of them does not know are left out for all.
    test, metrics, fold_in, executor, progress
        See `evaluate`.
    baseline : str, optional
        Hold every model against this one; by default against the best of each metric.
    level : float
        Of the intervals.
    replicates : int
        Samples of the bootstrap.
    seed : int
        Of the samples.

    Raises
    ------
    DataError
        If no user of the test set is in all models, or all of its pairs are in the training data of one.
    OptionError
        If there are no models, `baseline` is none of them, or another option is none.

    Warns
    -----
    SeenTestWarning, UnknownIdWarning, DoubtfulDataWarning
        As `evaluate`.
    """
    if not isinstance(models, Mapping):
        raise OptionError(f"models are compared by name; got a {type(models).__name__}. Give {{name: model, ...}}.")
    if not models:
        raise OptionError("there are no models to compare. Give them as {name: model, ...}.")
    parsed = parsed_metrics(metrics)
    loaded = {name: as_model(model, f"models[{name!r}]") for name, model in models.items()}
    rows = _interactions(test)
    everyone = int(np.count_nonzero(np.bincount(rows.user_codes)))
    if fold_in is None:
        rows = _known_to_all(loaded, rows)
    requests = [scoring_request(model, rows.n_users) for model in loaded.values()]
    most_work = max(requests, key=lambda each: each.n_stored * each.rank)
    found = {}
    with session_of_parts(executor, most_work, progress) as opened:
        for name, model in loaded.items():
            found[name] = _evaluated(model, rows, parsed, fold_in, opened, progress, name)
    n_left_out = everyone - next(iter(found.values())).n_users
    return compare_evaluations(
        found, parsed, baseline=baseline, level=level, replicates=replicates, seed=seed, n_left_out=n_left_out
    )


def parsed_metrics(metrics: Sequence[str]) -> tuple[MetricRequest, ...]:
    """Return metrics by their names, each once.

    Raises
    ------
    OptionError, UnknownNameError, PluginError
        If there are none, one cannot be had, or what offers it is broken.
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    if strange := [name for name in names if not isinstance(name, str)]:
        raise OptionError(f"metrics are names, such as 'recall@20'; got {strange[0]!r}")
    if joined := [name for name in names if "," in name]:
        raise OptionError(f"metrics are a list, such as {joined[0].split(',')}; got {joined[0]!r}")
    if not names:
        raise OptionError(f"there are no metrics to evaluate. Name some, such as {', '.join(DEFAULT_METRICS)}.")
    found: list[MetricRequest] = []
    problems: dict[str, RecscaleError] = {}
    for name in names:
        try:
            found.append(parse_metric(name, lambda base: plugin_manager().resolve("metrics", base)))
        except (OptionError, UnknownNameError) as problem:
            problems[name] = problem
    if problems:
        first = next(iter(problems.values()))
        if len(problems) == 1:
            raise first
        wrong = ", ".join(map(repr, problems))
        raise type(first)(f"{len(problems)} of the metrics cannot be had: {wrong}. Of the first: {first}")
    return tuple(found)


def doubt_of_values(model: FactorModel, metrics: Sequence[MetricRequest]) -> str | None:
    """Return why errors of the scores of a model mean little, if they are asked for and do."""
    of_values = [each.name for each in metrics if isinstance(each.metric, RatingMetric)]
    if not of_values:
        return None
    solver, weighting = model.provenance.get("solver", ""), model.provenance.get("options", {}).get("weighting")
    try:
        predicts = plugin_manager().resolve("solvers", solver).predicts_values
    except RecscaleError:  # of a plugin that is not here: nothing is known of it
        return None
    if predicts and weighting is None:
        return None
    made = f"with weighting={weighting!r}" if predicts else f"by the solver {solver!r}"
    return (
        f"{', '.join(of_values)}: scores are compared with the values of the test set, and those of a model that was "
        f"fitted {made} are on another scale. Judge it by metrics of lists, such as {DEFAULT_METRICS[0]}, or predict "
        "ratings with als-explicit."
    )


def _interactions(test: Any) -> Interactions:
    return test if isinstance(test, Interactions) else read_interactions(test)


def _evaluated(
    model: FactorModel,
    test: Interactions,
    metrics: tuple[MetricRequest, ...],
    fold_in: Any,
    executor: Executor,
    progress: bool | Observer | None,
    name: str | None = None,
) -> Evaluation:
    if (doubt := doubt_of_values(model, metrics)) is not None:
        warnings.warn(doubt if name is None else f"{name}: {doubt}", DoubtfulDataWarning, stacklevel=3)
    training = None
    if fold_in is not None:
        training = Training.of(model) if needs_training(metrics) else None
        model = model.fold_in(fold_in, unknown="ignore", executor=executor, progress=progress)
    with observing(progress) as observer:
        if name is not None:
            observer = labelled(observer, name)
        return evaluate_factors(model, test, metrics, executor, training=training, observer=observer)


def _known_to_all(models: Mapping[str, FactorModel], test: Interactions) -> Interactions:
    known = np.ones(test.n_users, bool)
    for model in models.values():
        known &= model.users.codes(test.users.ids, missing="ignore") >= 0
    rows = test.take(known[test.user_codes])
    if len(test) and not len(rows):
        raise DataError("no user of the test set is in all of the models. Fit them on the same data.")
    occurring = np.bincount(test.user_codes, minlength=test.n_users) > 0
    warn_of_strangers(int(np.count_nonzero(occurring & ~known)), int(np.count_nonzero(occurring)))
    return rows
