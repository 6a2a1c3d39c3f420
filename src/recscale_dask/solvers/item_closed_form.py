"""New users of models with an item operator: their rows are scored as those of the training data are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.closed_form import ClosedForm, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.errors import ModelFormatError
from recscale_dask.item_operators.base import ItemOperator
from recscale_dask.linalg import kernels
from recscale_dask.model import Factors

PROJECTION = "projection"
"""Name of what `Factors.training` holds of user factors: what weighted rows are multiplied by."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemClosedForm(ClosedForm):
    """User factors that are a row times a matrix, and an operator that needs nothing but the row.

    Attributes
    ----------
    operator : ItemOperator
    item_factors : ndarray of float32, shape (n_items, rank)
    projection : ndarray of float32, shape (n_items, rank)
        A weighted row times it is the factors of its user.
    """

    operator: ItemOperator
    item_factors: NDArray[np.float32]
    projection: NDArray[np.float32]

    @classmethod
    def of(cls, model: Factors) -> Self:
        """Return that of a fitted model.

        Raises
        ------
        ModelFormatError
            If the model does not hold what that needs.
        """
        if model.item_operator is None or (model.rank and PROJECTION not in model.training):
            raise ModelFormatError("this model does not hold what new users need. Fit it again.")
        projection = model.training.get(PROJECTION, model.item_factors)  # without factors both are empty
        return cls(model.item_operator, np.ascontiguousarray(model.item_factors), np.ascontiguousarray(projection))

    def fold(self, block: Block) -> FoldedRows:
        """Return the factors of the users of a block; nothing is said of energy that is explained."""
        return FoldedRows(self.user_factors(block), np.zeros(block.n_rows), np.zeros(block.n_rows))

    def user_factors(self, block: Block) -> NDArray[np.float32]:
        """Return the factors of the users of a block, shape (n_rows, rank)."""
        weighted = self.operator.weigh(block)
        found = np.zeros((block.n_rows, self.projection.shape[1]))
        if found.size:
            values = weighted.values.astype(np.float64)
            kernels.product(weighted.indptr, weighted.indices, values, self.projection, found)
        return found.astype(np.float32)

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return what each stored value adds to the score of an item."""
        each = self.operator.column(item)[block.indices]
        each += self.projection[block.indices].astype(np.float64) @ self.item_factors[item].astype(np.float64)
        added: NDArray[np.float64] = self.operator.weigh(block).values * each
        return added


def user_factors(block: Block, *, closed_form: ItemClosedForm) -> NDArray[np.float32]:
    """Return the factors of the users of a block: a task for `map_blocks`."""
    return closed_form.user_factors(block)
