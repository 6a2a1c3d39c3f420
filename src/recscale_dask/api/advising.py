"""The rank advisor: one certified SVD at the largest rank, judged at every smaller one and with filters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.factor_model import FactorModel
from recscale_dask.api.fitting import factorize
from recscale_dask.api.judging import evaluate, parsed_metrics
from recscale_dask.api.session import session_of_parts
from recscale_dask.api.validation import held_out, some_users
from recscale_dask.checks import whole_number
from recscale_dask.errors import OptionError
from recscale_dask.evaluation.held_out import check_users
from recscale_dask.evaluation.metric import CatalogueMetric
from recscale_dask.evaluation.model_report import standard_error
from recscale_dask.evaluation.rank_advice import RankAdvice, RankPoint, check_ranks, ladder
from recscale_dask.execution.events import Observer
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.solvers.prefix import prefix
from recscale_dask.solvers.spectral_filter import SpectralFilter

_RANK = 256
DEFAULT_FILTERS: Mapping[str, Sequence[float]] = {"ridge": (0.3,), "power": (0.5,)}


def advise_rank(
    data: Any,
    test: Any = None,
    *,
    rank: int | None = None,
    ranks: Sequence[int] | None = None,
    filters: Mapping[str, Sequence[float]] | None = None,
    metrics: Sequence[str] = ("ndcg@20", "recall@20"),
    n_users: int | None = 10_000,
    how: str = "random",
    fraction: float = 0.1,
    weighting: str | None = None,
    user_scaling: float = 0.0,
    item_scaling: float = 0.0,
    center: str | None = None,
    undo_scaling: bool = True,
    tol: float = 1e-3,
    seed: int = 0,
    memory_limit: int | str | None = None,
    executor: ExecutorLike | None = None,
    progress: bool | Observer | None = None,
) -> RankAdvice:
    """Return held-out metrics of an SVD at each rank and with each filter, and which to choose.

    One fit, at the largest rank, gives all of them: singular vectors do not depend on how many are wanted, and
    filters only weigh them. Each candidate then costs one top-k pass over the test users.

    Parameters
    ----------
    data : Interactions, or what `factorize` takes
        To fit on. Without `test`, a part is held out; it is split in memory.
    test : Interactions, or anything that `read_interactions` takes, optional
        Held-out rows. Choose by a part of the training data, not by the rows that are to judge the final model.
    rank : int, optional
        The largest; by default 256, or what the matrix has.
    ranks : sequence of int, optional
        Those to judge; by default 8, 12, 16, 24, 32, 48, ..., `rank`.
    filters : mapping of str to sequence of float, optional
        Names of filters and their strengths, tried beside none; by default ``{"ridge": (0.3,), "power": (0.5,)}``;
        ``{}`` tries none.
    metrics : sequence of str
        Ranking metrics; the first one decides.
    n_users : int, optional
        Most test users to judge by, drawn with the seed; None is all of them.
    how : {"random", "temporal", "leave-one-out", "per-user-random", "per-user-temporal"}
        How to hold out: see `split`.
    fraction : float
        How much; not of ``leave-one-out``.
    weighting, user_scaling, item_scaling, center, undo_scaling, tol, seed, memory_limit, executor, progress
        See `factorize` and `recscale_dask.solvers.svd.SVDSolver`.

    Raises
    ------
    OptionError, DataError, UnknownNameError
        As `factorize`, `split` and `evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> groups = np.kron(np.eye(12), np.ones((20, 15))) * (rng.random((240, 180)) < 0.5)
    >>> advice = advise_rank(groups, rank=40, metrics=["recall@10"], filters={})
    >>> advice.suggestion.rank
    12
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names or not all("@" in name for name in names):
        raise OptionError(f"metrics must be ranking metrics with a length, such as 'ndcg@20'; got {names!r}")
    judges = parsed_metrics(names)
    if of_all := [each.name for each in judges if isinstance(each.metric, CatalogueMetric)]:
        raise OptionError(f"{of_all[0]} is not a mean over users, so it has no error to weigh ranks by")
    tried = _filters(DEFAULT_FILTERS if filters is None else filters)
    if n_users is not None:
        whole_number(n_users, "n_users")
    if rank is not None:
        whole_number(rank, "rank")
    known = held_out(data, test, how=how, fraction=fraction, seed=seed)
    check_users(known.matrix.users, known.test)
    if rank is None:
        rank = max(1, min(_RANK, *(side - 1 for side in known.matrix.shape)))
    wanted = check_ranks(ladder(rank) if ranks is None else ranks, rank)
    judged_by = some_users(known.test, n_users, seed)
    fitted: dict[str, Any] = {
        "solver": "svd",
        "weighting": weighting,
        "user_scaling": user_scaling,
        "item_scaling": item_scaling,
        "center": center,
        "undo_scaling": undo_scaling,
        "tol": tol,
        "seed": seed,
    }
    matrix = known.matrix
    request = ExecutorRequest(
        purpose="fit", n_users=matrix.shape[0], n_items=matrix.shape[1], n_stored=matrix.nnz, rank=rank
    )
    points = []
    with session_of_parts(executor, request, progress) as opened:
        start = time.perf_counter()
        largest = factorize(
            matrix, rank=max(wanted), memory_limit=memory_limit, executor=opened, progress=progress, **fitted
        )
        between = time.perf_counter()
        for spectral_filter in (SpectralFilter(), *tried):
            for size in wanted:
                model = FactorModel.of(prefix(largest, size, spectral_filter))
                found = evaluate(model, judged_by, metrics=names, executor=opened, progress=progress)
                errors = {name: standard_error(found.per_user[name]) for name in names}
                points.append(
                    RankPoint(
                        rank=size,
                        filter=spectral_filter.name,
                        filter_strength=spectral_filter.strength,
                        metrics=found.metrics,
                        standard_errors=errors,
                    )
                )
        end = time.perf_counter()
    return RankAdvice(
        points=tuple(points),
        metric=names[0],
        smaller_is_better=judges[0].smaller_is_better,
        n_users=found.n_users,
        fitted=fitted,
        seconds={"fit": between - start, "evaluate": end - between},
    )


def _filters(given: Any) -> list[SpectralFilter]:
    """Return each filter with each of its strengths, checked."""
    if not isinstance(given, Mapping):
        raise OptionError(f"filters are names with their strengths, such as {{'ridge': [0.3]}}; got {given!r}")
    tried = []
    for name, strengths in given.items():
        of_it = [] if isinstance(strengths, str) or not hasattr(strengths, "__iter__") else list(strengths)
        if not of_it:
            raise OptionError(f"filter {name!r} needs a list of strengths, such as [0.3]; got {strengths!r}")
        tried += [SpectralFilter(name, strength) for strength in of_it]
    for each in tried:
        each.check()
    return tried
