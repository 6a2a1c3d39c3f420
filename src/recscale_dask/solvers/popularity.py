"""The baseline that every recommender has to beat: the most popular unseen items."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recscale_dask.closed_form import ClosedForm, Energy, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import row_sums, summarize
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.model import Factors, SeenItems
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers
from recscale_dask.solvers.rates import Rates


@dataclass(frozen=True, slots=True, eq=False)
class PopularityClosedForm(ClosedForm):
    """The one factor that all users share.

    Attributes
    ----------
    counts : ndarray of float64, shape (n_items,)
        How many users have each item. A row of ones is explained as far as it lies along these.
    """

    counts: NDArray[np.float64]

    def fold(self, block: Block) -> FoldedRows:
        """Return a factor of one for each user."""
        lengths, along = self._products(block)
        explained = np.square(along) / (self.counts @ self.counts or 1.0)
        return FoldedRows(np.ones((block.n_rows, 1), np.float32), lengths, explained)

    def left_out(self, block: Block) -> NDArray[np.float64]:
        """Return what would be explained of each row if it were not among those that were counted."""
        lengths, along = self._products(block)
        others = self.counts @ self.counts - 2 * along + lengths  # squared length of the counts less the row
        return np.square(along - lengths) / np.where(others > 0, others, 1.0)

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return zeros: what a user has does not matter."""
        return np.zeros(len(block.indices))

    def _products(self, block: Block) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the product of each row of ones with itself and with the counts."""
        return np.diff(block.indptr).astype(np.float64), row_sums(block.with_values(self.counts[block.indices]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularitySolver(Solver):
    """Scores an item by how many users have it: one factor, the same for all users; `rank` is ignored.

    A user counts once, which is what ``weighting="binary"`` says too; other weightings and scalings are refused.
    """

    uses_rank: ClassVar[bool] = False
    predicts_values: ClassVar[bool] = False

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if the problem has a weighting or a scaling that would not be used."""
        if problem.weighting not in (None, "binary") or problem.user_scaling or problem.item_scaling:
            raise OptionError(
                "popularity counts each user of an item once, whatever the values are; got "
                f"weighting={problem.weighting!r}, user_scaling={problem.user_scaling!r} and "
                f"item_scaling={problem.item_scaling!r}. Leave them out."
            )

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return a factor of ones for users and of counts for items."""
        matrix = problem.matrix.ready()
        with SerialExecutor() as here:
            summary = fold_blocks(
                here, summarize, matrix.sources, combine=operator.add, label="popularity", observer=observer
            )
        counts = summary.counts.astype(np.float64)
        found = PopularityClosedForm(counts)
        energy = Energy(
            float(matrix.nnz),
            float(sum(found.fold(source.load()).explained.sum() for source in matrix.sources)),
            float(sum(found.left_out(source.load()).sum() for source in matrix.sources)),
        )
        return Factors(
            np.ones((matrix.shape[0], 1), np.float32),
            counts[:, None].astype(np.float32),
            np.array([np.sqrt(matrix.shape[0]) * np.linalg.norm(counts)]),
            matrix.users,
            matrix.items,
            SeenItems.of(matrix.sources, stored=matrix.is_stored),
            None,
            {"data_fingerprint": summary.digest.hex()},
            {"energy": energy.numbers(), "values": np.ones(1, np.float32)},
        )

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take: the matrix in memory, and one factor whatever the rank is."""
        forecast = Solver.forecast(self, replace(problem, rank=1), workers, rates)
        (stage,) = forecast.stages
        matrix = MatrixBytes.of(problem.matrix)
        driver = {**stage.driver, "matrix": matrix.whole, "seen items": 4 * matrix.nnz + 8 * matrix.n_users}
        return replace(forecast, stages=(replace(stage, driver=driver),))

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form: a factor of one."""
        return PopularityClosedForm(model.item_factors[:, 0].astype(np.float64))
