"""Users of a model of alternating least squares in closed form: those of the fit, solved for last, and new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.closed_form import ClosedForm, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import Transform
from recscale_dask.solvers.als_kinds import Kind
from recscale_dask.solvers.als_rows import RowSystem, Solution


@dataclass(frozen=True, slots=True, eq=False)
class ALSClosedForm(ClosedForm):
    """The least of the objective for the row of each user, with the factors of items as they are.

    A user with a row of the training data gets the factors that the fit gave.

    Attributes
    ----------
    weigh : Transform
        The weighting of the training data.
    kind : Kind
    system : RowSystem
        What rows are solved against.
    without_items : ndarray of float32, shape (n_unknowns,)
        What users without items get.
    """

    weigh: Transform
    kind: Kind
    system: RowSystem
    without_items: NDArray[np.float32]

    def fold(self, block: Block) -> FoldedRows:
        """Return the factors of a block of rows; explained is what they take off the objective of rows of zeros."""
        found = self._solved(block)
        rows = with_default(found.rows, np.diff(block.indptr) == 0, self.without_items)
        total: NDArray[np.float64] = np.bincount(
            block.row_numbers(), weights=found.constants, minlength=block.n_rows
        ).astype(np.float64, copy=False)
        return FoldedRows(self.kind.user_factors(rows), total, np.clip(-found.fits, 0.0, total))

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return what each stored value adds to the score of an item (Hu, Koren and Volinsky, 2008, section 5).

        The score is ``y' A^-1 B'g``: a sum over the stored values. Where factors are not to be negative, A is that of
        the unknowns that are not 0.
        """
        system, n = self.system, len(self.without_items)
        entries = system.entries.of(self.weigh(block))
        own = system.factors[block.indices, :n].astype(np.float64) * entries.roots[:, None].astype(np.float64)
        penalty = np.full(n, system.penalty.of(block)[0], np.float64)
        if system.bias_penalty is not None:
            penalty[-1] = system.bias_penalty
        matrix = system.gram + np.diag(penalty) + own.T @ own
        used = np.ones(n, bool) if not self.kind.nonnegative else self._solved(block).rows[0] != 0
        direction = np.zeros(n)
        # Least squares, as without a penalty there are unknowns that the entries say nothing of.
        wanted = system.factors[item, :n].astype(np.float64)
        direction[used] = np.linalg.lstsq(matrix[np.ix_(used, used)], wanted[used])[0]
        added: NDArray[np.float64] = (own @ direction) * entries.targets
        return added

    def _solved(self, block: Block) -> Solution:
        nothing = np.zeros((0, len(self.without_items)), np.float32)
        return self.system.solve(self.weigh(block), nothing, self.kind.last_method)


def with_default(
    rows: NDArray[np.float32], empty: NDArray[np.bool_], without_items: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return rows with those of users without items replaced."""
    return np.where(empty[:, None], without_items, rows) if empty.any() else rows
