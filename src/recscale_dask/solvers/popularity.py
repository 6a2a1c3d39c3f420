"""The baseline that every recommender has to beat: the most popular unseen items."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.weighting import summarize
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.model import Energy, Factors, FoldIn, SeenItems
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.fold_in import PopularityFoldIn


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularitySolver(Solver):
    """Scores an item by how many users have it: one factor, the same for all users; `rank` is ignored."""

    def check(self, problem: Problem) -> None:
        """Accept any problem."""

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return a factor of ones for users and of counts for items."""
        matrix = problem.matrix.loaded()
        with SerialExecutor() as here:
            summary = fold_blocks(here, summarize, matrix.sources, combine=operator.add)
        counts = summary.counts[:, None]
        size = float(np.linalg.norm(counts))
        found = PopularityFoldIn(_direction(counts[:, 0]))
        explained = sum(float(found.fold(source.load()).explained.sum()) for source in matrix.sources)
        return Factors(
            np.ones((matrix.shape[0], 1), np.float32),
            counts.astype(np.float32),
            np.array([np.sqrt(matrix.shape[0]) * size]),
            matrix.users,
            matrix.items,
            SeenItems.of(matrix.sources),
            None,
            {"data_fingerprint": summary.digest.hex()},
            {"energy": Energy(float(matrix.nnz), explained).numbers(), "values": np.ones(1, np.float32)},
        )

    def fold_in(self, model: Factors) -> FoldIn:
        """Return the closed form: a factor of one."""
        return PopularityFoldIn(_direction(model.item_factors[:, 0].astype(np.float64)))


def _direction(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return counts as a unit vector; zeros stay zeros."""
    direction: NDArray[np.float64] = counts / (np.linalg.norm(counts) or 1.0)
    return direction
