"""Anchor items: the most popular ones stand for tastes."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from recscale_dask.closed_form import ClosedForm, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.model import Factors, SeenItems
from recscale_dask.solvers.base import Problem, Solver, check_rank
from recscale_dask.solvers.space import Real, Space, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorSolver(Solver):
    """As many anchors as the rank; the options of ``factorize(solver="anchors")``.

    Parameters
    ----------
    shrinkage : float
        Added to what the shared users of an item and an anchor are divided by: rare items are not near by chance.
    """

    shrinkage: float = 10.0

    space: ClassVar[Space] = MappingProxyType({"rank": Whole(16, 512, log=True), "shrinkage": Real(0.0, 100.0)})

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if the rank or an option cannot work."""
        check_rank(problem.rank, problem.matrix.shape)
        if problem.weighting is not None or problem.user_scaling or problem.item_scaling:
            raise OptionError("anchors looks at who has which item, not at values: leave weighting and scaling out")
        if not 0 <= self.shrinkage < np.inf:
            raise OptionError(f"shrinkage must be 0 or a positive number, such as 10; got {self.shrinkage!r}")

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return who has which anchor, and how near each item is to each anchor."""
        self.check(problem)
        matrix = problem.matrix.ready()
        run: dict[str, Any] = {"observer": observer}
        summary = fold_blocks(executor, summarize, matrix.sources, combine=operator.add, label="popularity", **run)
        anchors = np.argsort(-summary.counts, kind="stable")[: problem.rank]
        constants = {"anchors": anchors}
        together = fold_blocks(executor, shared_users, matrix.sources, constants, label="shared users", **run)
        expected = np.outer(summary.counts, np.sqrt(summary.counts[anchors])) + self.shrinkage
        nearness = np.divide(together, expected, out=np.zeros_like(expected), where=expected > 0)
        rows = map_blocks(executor, anchors_of, matrix.sources, constants, label="user factors", **run)
        return Factors(
            np.concatenate(list(rows)),
            nearness.astype(np.float32),
            np.zeros(0),
            matrix.users,
            matrix.items,
            SeenItems.of(matrix.sources, stored=matrix.is_stored),
            provenance={"data_fingerprint": summary.digest.hex()},
            training={"anchors": anchors, "values": np.ones(1, np.float32)},
        )

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form: a new user has anchors as any other."""
        return AnchorClosedForm(np.asarray(model.training["anchors"]), np.ascontiguousarray(model.item_factors))


@dataclass(frozen=True, slots=True, eq=False)
class AnchorClosedForm(ClosedForm):
    """The anchors, and how near items are to them."""

    anchors: np.ndarray
    nearness: np.ndarray

    def fold(self, block: Block) -> FoldedRows:
        """Return which anchors each user of a block has."""
        rows = anchors_of(block, anchors=self.anchors)
        return FoldedRows(rows, np.diff(block.indptr).astype(float), rows.sum(axis=1, dtype=float))

    def contributions(self, block: Block, item: int) -> np.ndarray:
        """Return what each item of a user adds: its nearness if it is an anchor."""
        nearness = np.zeros(block.n_columns)
        nearness[self.anchors] = self.nearness[item]
        return nearness[block.indices]


def anchors_of(block: Block, *, anchors: np.ndarray) -> np.ndarray:
    """Return which anchors each user of a block has, shape (n_rows, n_anchors): a task for `map_blocks`."""
    return (block.to_scipy()[:, anchors] != 0).toarray().astype(np.float32)


def shared_users(block: Block, *, anchors: np.ndarray) -> np.ndarray:
    """Return how many users have each item and each anchor, shape (n_items, n_anchors): a task for `fold_blocks`."""
    rows = block.with_values(np.ones(len(block.values))).to_scipy()
    return np.asarray(rows.T @ anchors_of(block, anchors=anchors), dtype=np.float64)
