"""New users of an SVD in closed form, and how much of rows its factors explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.closed_form import ClosedForm, Energy, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import COUNTING, Summary, Transform, kept_summary, power_scale, row_sums
from recscale_dask.errors import ModelFormatError
from recscale_dask.linalg import kernels
from recscale_dask.model import Factors
from recscale_dask.solvers.products import image
from recscale_dask.solvers.spectral_filter import SpectralFilter

_SLAB_ROWS = 4096


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

    def along(self, block: Block) -> NDArray[np.float64]:
        """Return the r of each row of a weighted and scaled block, shape (n_rows,)."""
        return row_sums(block) / block.n_columns if self.own_mean else np.ones(block.n_rows)


@dataclass(frozen=True, slots=True, eq=False)
class FittedRows:
    """What a fit makes of some rows of its training data.

    Attributes
    ----------
    user_factors : ndarray of float32, shape (n_rows, rank), or (n_rows, rank + 1) if centred
    energy : ndarray of float64, shape (3,)
        Theirs; see `fitted_energy`.
    lengths : ndarray of int64, shape (n_rows,)
        Stored values of each.
    """

    user_factors: NDArray[np.float32]
    energy: NDArray[np.float64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SVDClosedForm(ClosedForm):
    """``Du^a A V / sqrt(s)`` of new rows, ``A`` being weighted, scaled and centred as the training rows were.

    In a fit ``A V = U s``, so a user with a row of the training data gets the factors that the fit gave.
    ``V / sqrt(s)`` is ``Di^-b`` times the item factors over s, so that no other matrix of that size is kept. With
    a filter, both factors have been multiplied by the root of its gains; where the scaling is not undone, the
    item factors are not scaled, and A has the scaling of users alone.

    Attributes
    ----------
    weigh : Transform
        The weighting alone.
    scale : Transform
        The scaling alone.
    item_factors : ndarray of float32, shape (n_items, rank), or (n_items, rank + 1) if centred
    singular_values : ndarray of float64, shape (rank,)
    center : FoldedCenter or None
    gains : ndarray of float64, shape (rank,), or None
        Of the filter of the singular values; None is 1.
    undo_scaling : bool
        Whether scores undo the scaling of items.
    """

    weigh: Transform
    scale: Transform
    item_factors: NDArray[np.float32]
    singular_values: NDArray[np.float64]
    center: FoldedCenter | None = None
    gains: NDArray[np.float64] | None = None
    undo_scaling: bool = True

    @classmethod
    def of(cls, model: Factors, center: str | None, spectral_filter: SpectralFilter, *, undo_scaling: bool) -> Self:
        """Return the closed form of a fitted model, centred and filtered as its solver was.

        Raises
        ------
        ModelFormatError
            If the model does not hold what that needs.
        """
        options = model.provenance.get("options")
        if options is None:
            raise ModelFormatError("this model does not say how it was fitted; make it with factorize.")
        summary = Summary(np.zeros(0, np.int64), 0.0, 0, b"")
        if options.get("weighting") in COUNTING:
            n_users, total = _kept(model, "users_and_sum")
            summary = Summary(_kept(model, "item_counts"), float(total), int(n_users), b"")
        item_scale = _kept(model, "item_scale") if options.get("item_scaling") else None
        folded = None
        if center is not None:
            folded = FoldedCenter(center == "users", _kept(model, "center_columns"), _kept(model, "center_factors"))
        return cls(
            Transform(options.get("weighting"), summary),
            Transform(None, summary, options.get("user_scaling", 0.0), item_scale),
            np.ascontiguousarray(model.item_factors),
            model.singular_values,
            folded,
            spectral_filter.gains(np.asarray(model.singular_values)),
            undo_scaling,
        )

    def kept(self) -> dict[str, NDArray[Any]]:
        """Return what a model has to hold for `of`."""
        arrays = kept_summary(self.weigh)
        if self.scale.item_scale is not None:
            arrays["item_scale"] = self.scale.item_scale
        if self.center is not None:
            arrays |= {"center_columns": self.center.columns, "center_factors": self.center.factors}
        return arrays

    def fold(self, block: Block) -> FoldedRows:
        """Return the factors and energies of a block of rows."""
        weighted = self.weigh(block)
        scaled, undo = self._scaled(weighted)
        rank = len(self.singular_values)
        inner = self._inner(scaled, self._item_scale(block) if self._undoes else 1.0)
        if self.center is not None:
            inner[:, rank] = 0.0
            inner += np.outer(self.center.along(scaled), self.center.factors)
        explained = np.square(inner[:, :rank]) @ self.singular_values
        rows = inner * undo[:, None] if self._undoes else self._inner(weighted, 1.0)
        return FoldedRows(self._filtered(rows), self._energies(scaled), explained)

    def fitted(self, block: Block, over_root: NDArray[np.float64]) -> FittedRows:
        """Return the factors of a block of the training data.

        Parameters
        ----------
        block : Block
            Values as they were before weighting.
        over_root : ndarray of float64, tiles of shape (n_items, rank)
            ``V / sqrt(s)``, in more digits than the item factors have.
        """
        weighted = self.weigh(block)
        scaled, undo = self._scaled(weighted)
        rank = len(self.singular_values)
        inner = image(scaled, basis=over_root)[:, :rank]
        if self.center is not None:
            means = np.outer(self.center.along(scaled), self.center.factors)
            inner = np.column_stack([inner, np.zeros(len(inner))]) + means
        energy = _energy(inner[:, :rank], self.singular_values, self._energies(scaled))
        rows = inner * undo[:, None] if self._undoes else image(weighted, basis=over_root)[:, :rank]
        return FittedRows(self._filtered(rows), energy, np.diff(block.indptr))

    def contributions(self, block: Block, item: int) -> NDArray[np.float64]:
        """Return what each stored value adds to the score of an item."""
        weighted = self.weigh(block)
        rank = len(self.singular_values)
        wanted = self.item_factors[item].astype(np.float64)
        each = self.item_factors[block.indices, :rank].astype(np.float64) @ (self._inverse() * wanted[:rank])
        if not self._undoes:
            of_rows: NDArray[np.float64] = weighted.values * each
            return of_rows
        scaled, undo = self._scaled(weighted)
        each *= self._item_scale(block)
        if self.center is not None and self.center.own_mean:
            factors = self.center.factors.copy()
            factors[:rank] *= self._root_gains()
            each += float(factors @ wanted) / block.n_columns
        added: NDArray[np.float64] = scaled.values * each * np.repeat(undo, np.diff(block.indptr))
        return added

    @property
    def _undoes(self) -> bool:
        """Whether rows are scored as they are fitted, and the scaling of items undone; so too if there is none."""
        return self.undo_scaling or self.scale.item_scale is None

    def _scaled(self, weighted: Block) -> tuple[Block, NDArray[np.float64]]:
        """Return a weighted block as it would have been fitted, and what the factors of each row are multiplied by."""
        undo = np.ones(weighted.n_rows)
        if self.scale.user_scaling:
            undo = power_scale(row_sums(weighted), -self.scale.user_scaling, "user")
        return self.scale(weighted), undo

    def _inner(self, rows: Block, item_scale: Any) -> NDArray[np.float64]:
        """Return ``rows V / sqrt(s)`` from the item factors, which each value meets times `item_scale`."""
        rank = len(self.singular_values)
        values = np.asarray(rows.values * item_scale, np.float64)
        inner = np.zeros((rows.n_rows, self.item_factors.shape[1]))
        kernels.product(rows.indptr, rows.indices, values, self.item_factors, inner)
        roots = self._root_gains()
        inner[:, :rank] *= np.divide(self._inverse(), roots, out=np.zeros_like(roots), where=roots > 0)
        return inner

    def _filtered(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return rows of factors times the root of the gains."""
        rows[:, : len(self.singular_values)] *= self._root_gains()
        return rows.astype(np.float32)

    def _root_gains(self) -> NDArray[np.float64]:
        return np.ones_like(self.singular_values) if self.gains is None else np.sqrt(self.gains)

    def _energies(self, scaled: Block) -> NDArray[np.float64]:
        energies = np.zeros(scaled.n_rows)
        filled = np.diff(scaled.indptr) > 0
        if filled.any():  # faster than `row_sums`
            with np.errstate(over="ignore"):
                squares = np.square(scaled.values, dtype=np.float64)
                energies[filled] = np.add.reduceat(squares, scaled.indptr[:-1][filled])
        if self.center is None:
            return energies
        along, columns = self.center.along(scaled), self.center.columns
        overlap = row_sums(scaled.with_values(scaled.values * columns[scaled.indices]))
        return np.maximum(energies - 2 * along * overlap + along**2 * (columns @ columns), 0.0)

    def _item_scale(self, block: Block) -> Any:
        """Return the scale of the item of each stored value, in float64."""
        scale = self.scale.item_scale
        return np.float64(1.0) if scale is None else scale[block.indices]

    def _inverse(self) -> NDArray[np.float64]:
        inverse = np.zeros_like(self.singular_values)
        np.divide(1.0, self.singular_values, out=inverse, where=self.singular_values > 0)
        return inverse


def fitted_rows(block: Block, *, closed_form: SVDClosedForm, over_root: NDArray[np.float64]) -> FittedRows:
    """Return the factors of the users of a block: a task for `map_blocks`."""
    return closed_form.fitted(block, over_root)


def fitted_energy(parts: NDArray[np.float64], values: NDArray[np.float64]) -> Energy:
    """Return the energy of all training rows from the sum of `FittedRows.energy`, given the singular values."""
    total, explained, left_out = parts
    total = max(total, explained)
    size = _largest(values) ** 2
    return Energy(size * total, size * explained, size * min(left_out, explained))


def _largest(values: NDArray[np.float64]) -> float:
    return float(values[0]) if len(values) and values[0] > 0 else 1.0


def _energy(
    users: NDArray[np.float64], values: NDArray[np.float64], totals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the energy of some training rows, relative to the largest singular value squared.

    Without a row a, A'A is ``V S^2 V' + ... - a a'``. In the space of V and of what V leaves of a, r in size, that
    is a matrix known but for one entry, which is taken as the smallest one possible: that which the
    other rows must have along r for the whole to be positive semidefinite. Then V of the others
    leaves ``r^2 / ((1 - h)^2 + r^2 q)`` of a, with the leverage ``h = |u|^2`` and ``q = |u / s|^2``. (Without
    the last term, r / (1 - h) is the residual of a left-out row in a linear regression.)

    Parameters
    ----------
    users : ndarray of shape (n_rows, rank)
        ``U sqrt(s)``.
    values : ndarray of shape (rank,)
        Singular values s.
    totals : ndarray of shape (n_rows,)
        Squared lengths of the rows of A.

    Returns
    -------
    ndarray of shape (3,)
        Total, explained, and explained if each row had been left out.
    """
    positive = values > 0
    largest = _largest(values)
    s = values[positive] / largest
    explained = left_out = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # energies of very large values are infinite
        totals = totals / largest / largest
        for start in range(0, len(users), _SLAB_ROWS):
            slab = slice(start, start + _SLAB_ROWS)
            squares = np.square(users[slab, positive]) / largest
            inside, leverage, q = squares @ s, squares @ (1 / s), squares @ s**-3
            rest = np.maximum(totals[slab] - inside, 0.0)
            room = np.square(np.maximum(1 - leverage, 0.0)) + rest * q
            outside = np.divide(rest, room, out=np.zeros_like(rest), where=room > 0)
            explained += float(inside.sum())
            left_out += float(np.maximum(totals[slab] - outside, 0.0).sum())
        return np.array([float(totals.sum()), explained, left_out])


def _kept(model: Factors, name: str) -> NDArray[Any]:
    if name not in model.training:
        raise ModelFormatError(
            f"this model does not hold the {name.replace('_', ' ')} of its training data, which new users need with "
            "its weighting, scaling or centring: it was saved by an earlier version of recscale_dask. Fit it again."
        )
    return model.training[name]
