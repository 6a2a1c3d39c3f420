"""The baseline that every recommender has to beat: the most popular unseen items."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from recscale_dask.data.weighting import summarize
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.model import Factors
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.preparation import seen_items


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
        return Factors(
            np.ones((matrix.shape[0], 1), np.float32),
            counts.astype(np.float32),
            np.array([np.sqrt(matrix.shape[0]) * np.linalg.norm(counts)]),
            matrix.users,
            matrix.items,
            seen_items(matrix),
            None,
            {"data_fingerprint": summary.digest.hex()},
        )
