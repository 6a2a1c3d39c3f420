"""New users in closed form for solvers whose factors are a projection of the weighted and scaled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import COUNTING, Summary, Transform, power_scale, row_sums
from recscale_dask.errors import ModelFormatError
from recscale_dask.model import Factors, FoldedRows, FoldIn


@dataclass(frozen=True, slots=True, eq=False)
class FoldedCenter:
    """What centring does to a row a, which becomes ``a - r columns'``, and to the factors of its user.

    Attributes
    ----------
    own_mean : bool
        Whether r is the mean of the row (``center="users"``), or 1.
    columns : ndarray of float64, shape (n_items,)
    factors : ndarray of float64, shape (rank + 1,)
        What is added to the factors, times r; the last one is that of the means.
    """

    own_mean: bool
    columns: NDArray[np.float64]
    factors: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SVDFoldIn(FoldIn):
    """``Du^a A V / sqrt(s)`` of new rows, ``A`` being weighted, scaled and centred as the training rows were.

    In a fit ``A V = U s``, so that a user who is in the training data gets the factors that the fit gave.
    ``V / sqrt(s)`` is the scaled item factors divided by s, so nothing but these is stored.

    Attributes
    ----------
    weigh : Transform
        The weighting alone.
    scale : Transform
        The scaling alone.
    item_factors : ndarray of float32, shape (n_items, rank), or (n_items, rank + 1) if centred
    singular_values : ndarray of float64, shape (rank,)
    center : FoldedCenter or None
    """

    weigh: Transform
    scale: Transform
    item_factors: NDArray[np.float32]
    singular_values: NDArray[np.float64]
    center: FoldedCenter | None = None

    def fold(self, block: Block) -> FoldedRows:
        """Return the factors and energies of a block of rows."""
        scaled, unscale = self._scaled(block)
        values = scaled.values.astype(np.float64)
        total = self._row_sums(block, np.square(values))
        rows = self._with_values(block, values * self._item_scale(block))
        inner = (rows @ self.item_factors.astype(np.float64))[:, : len(self.singular_values)] * self._inverse()
        if self.center is not None:
            along = self._along_means(block, values)
            inner = np.column_stack([inner, np.zeros(len(along))]) + np.outer(along, self.center.factors)
            columns = self.center.columns
            overlap = self._row_sums(block, values * columns[block.indices])
            total = np.maximum(total - 2 * along * overlap + along**2 * (columns @ columns), 0.0)
        explained = np.square(inner[:, : len(self.singular_values)]) @ self.singular_values
        return FoldedRows((inner * unscale[:, None]).astype(np.float32), total, explained)

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return what each stored value adds to the score of an item."""
        scaled, unscale = self._scaled(block)
        values = scaled.values.astype(np.float64)
        theirs = self.item_factors[block.indices].astype(np.float64)
        wanted = self.item_factors[item].astype(np.float64)
        each = theirs[:, : len(self.singular_values)] @ (self._inverse() * wanted[: len(self.singular_values)])
        each *= self._item_scale(block)
        if self.center is not None and self.center.own_mean:
            each += float(self.center.factors @ wanted) / block.n_columns
        added: NDArray[np.float64] = values * each * np.repeat(unscale, np.diff(block.indptr))
        return added

    def _scaled(self, block: Block) -> tuple[Block, NDArray[np.float64]]:
        """Return a block as it would have been fitted, and what the factors of each row are multiplied by."""
        weighted = self.weigh(block)
        unscale = np.ones(block.n_rows)
        if self.scale.user_scaling:
            unscale = power_scale(row_sums(weighted), -self.scale.user_scaling, "user")
        return self.scale(weighted), unscale

    def _item_scale(self, block: Block) -> Any:
        return 1.0 if self.scale.item_scale is None else self.scale.item_scale[block.indices]

    def _inverse(self) -> NDArray[np.float64]:
        inverse = np.zeros_like(self.singular_values)
        np.divide(1.0, self.singular_values, out=inverse, where=self.singular_values > 0)
        return inverse

    def _along_means(self, block: Block, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the r of each row."""
        if self.center is not None and self.center.own_mean:
            return self._row_sums(block, values) / block.n_columns
        return np.ones(block.n_rows)

    @staticmethod
    def _row_sums(block: Block, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(block.row_numbers(), weights=values, minlength=block.n_rows)

    @staticmethod
    def _with_values(block: Block, values: NDArray[np.float64]) -> sp.csr_array:
        return block.with_values(values).to_scipy()


@dataclass(frozen=True, slots=True, eq=False)
class PopularityFoldIn(FoldIn):
    """The one factor that all users share.

    Attributes
    ----------
    direction : ndarray of float64, shape (n_items,)
        Popularity as a unit vector: rows of ones are explained as far as they lie along it.
    """

    direction: NDArray[np.float64]

    def fold(self, block: Block) -> FoldedRows:
        """Return a factor of one for each user."""
        rows = block.row_numbers()
        along = np.bincount(rows, weights=self.direction[block.indices], minlength=block.n_rows)
        total = np.diff(block.indptr).astype(np.float64)
        return FoldedRows(np.ones((block.n_rows, 1), np.float32), total, np.square(along))

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return zeros: what a user has does not matter."""
        return np.zeros(len(block.indices))


def kept(model: Factors, name: str) -> NDArray[Any]:
    """Return what a model keeps of its training data under a name.

    Raises
    ------
    ModelFormatError
        If it was saved by a version that kept nothing.
    """
    if name not in model.training:
        raise ModelFormatError(
            f"this model holds no {name.replace('_', ' ')} of its training data, which new users need: it was saved by "
            "an earlier version of recscale_dask. Fit it again."
        )
    return model.training[name]


def weighting_summary(model: Factors, weighting: str | None) -> Summary:
    """Return what a weighting knows of the training data."""
    if weighting not in COUNTING:
        return Summary(np.zeros(0, np.int64), 0.0, 0, b"")
    n_users, total = kept(model, "users_and_sum")
    return Summary(np.asarray(kept(model, "item_counts")), float(total), int(n_users), b"")


def solver_options(model: Factors) -> Mapping[str, Any]:
    """Return the options of `factorize` that a model was made with."""
    options: Mapping[str, Any] = model.provenance.get("options", {})
    return options
