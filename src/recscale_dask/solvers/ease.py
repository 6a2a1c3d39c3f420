"""EASE: ridge regression of each item on all others, in closed form (Steck, WWW 2019); for small catalogues."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from recscale_dask.checks import is_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.errors import DataError, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.execution.run import map_blocks
from recscale_dask.item_operators.item_weights import DenseItemWeights
from recscale_dask.model import Factors
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers, model_bytes
from recscale_dask.solvers.item_closed_form import ItemClosedForm
from recscale_dask.solvers.item_gram import BothSides, panel_rows, panels
from recscale_dask.solvers.item_model import check_weighting_alone, item_model, weighting_of
from recscale_dask.solvers.preparation import prepare
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.space import Choice, Real, Space

_SLAB_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class EASESolver(Solver):
    """Ridge regression between items; the options of ``factorize(solver="ease")``. `rank`, `tol`, `seed` are ignored.

    The weights B, zero on the diagonal, minimise ``|R - R B|^2 + ridge |B|^2``. While they are fitted, they and
    the inverse that they come from take 12 bytes for each pair of items, and 4 in the model: 20,000 items are 4.8 GB.

    Parameters
    ----------
    ridge : float
        Penalty on the weights, above 0: larger ones keep to what many users have in common.
    """

    uses_rank: ClassVar[bool] = False
    space: ClassVar[Space] = MappingProxyType(
        {"ridge": Real(10.0, 10_000.0, log=True), "weighting": Choice(("binary", None))}
    )

    ridge: float = 500.0

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if an option cannot work."""
        check_weighting_alone(problem, "Use weighting, or leave them out.")
        if not is_number(self.ridge) or not 0 < self.ridge < np.inf:
            raise OptionError(f"ridge must be a positive number, such as 500; got {self.ridge!r}")

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return a model without factors, of a weight for each pair of items."""
        self.check(problem)
        problem = replace(problem, matrix=problem.matrix.ready())
        prepared = prepare(problem.matrix, problem.weighting, 0.0, 0.0, executor)
        sides = BothSides.of(prepared.matrix)
        gram = np.empty((sides.n_items, sides.n_items))
        parts = map_blocks(
            executor,
            gram_rows,
            panels(sides.n_items),
            {"sides": sides},
            total=-(-sides.n_items // panel_rows(sides.n_items)),
            label="item-item matrix",
            observer=observer,
        )
        for panel, rows in zip(panels(sides.n_items), parts, strict=True):
            gram[panel.start : panel.stop] = rows
        gram[np.diag_indices(sides.n_items)] += self.ridge
        with single_threaded_blas():  # the same bits with any number of cores
            weights = ridge_weights(gram)
        return item_model(problem, prepared, DenseItemWeights(weigh=weighting_of(problem, prepared), weights=weights))

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take: above all an inverse in float64 and weights for all pairs of items."""
        forecast = Solver.forecast(self, replace(problem, rank=0), workers, rates)
        (stage,) = forecast.stages
        matrix = MatrixBytes.of(problem.matrix)
        n = matrix.n_items
        panel = 8 * panel_rows(n) * n
        pairs = matrix.nnz * matrix.nnz / max(1, matrix.n_users)
        stage = replace(
            stage,
            seconds=stage.seconds + pairs / rates.pairs + 2 * n**3 / rates.dense[8],  # on one core of two
            moved_bytes=(3 * matrix.whole + 8 * n * n) * workers.capabilities.isolated,
            driver={
                **stage.driver,
                "matrix both ways": 3 * matrix.whole,
                "item-item matrix and its inverse": 8 * n * n,
                "weights": 4 * n * n,
                "panels": 2 * workers.parallelism * panel,
            },
            worker={"panel of the item-item matrix": panel},
        )
        saved = model_bytes(matrix, 0, plain_values=problem.weighting == "binary") + 4 * n * n
        return replace(forecast, stages=(stage,), model_bytes=saved)

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of new users: weights need nothing but their rows."""
        return ItemClosedForm.of(model)


def gram_rows(panel: range, *, sides: BothSides) -> NDArray[np.float64]:
    """Return some rows of the item-item matrix: a task for `map_blocks`."""
    return sides.gram_rows(panel)


def ridge_weights(gram: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``-P / diag(P)`` with a diagonal of zeros, P being the inverse of a positive definite matrix.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_items, n_items)
        Symmetric; overwritten.

    Raises
    ------
    DataError
        If it is not positive definite to working precision.
    """
    # In place, and of one triangle, which of the transpose in Fortran order is the lower one of ours.
    factor, failed = scipy.linalg.lapack.dpotrf(gram.T, lower=0, clean=0, overwrite_a=1)
    if not failed:
        inverse, failed = scipy.linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)
    if failed:
        raise DataError(
            "the item-item matrix of these values cannot be inverted in float64. Use a larger ridge, or "
            "weighting='binary'."
        )
    lower = inverse.T
    diagonal = np.diagonal(lower).copy()
    n = len(lower)
    weights = np.empty((n, n), np.float32)
    for first in range(0, n, _SLAB_ROWS):
        last = min(first + _SLAB_ROWS, n)
        weights[first:last, :last] = lower[first:last, :last] / -diagonal[:last]
        weights[first:last, last:] = lower[last:, first:last].T / -diagonal[last:]
        square = np.tril(lower[first:last, first:last])
        square += np.tril(square, -1).T
        weights[first:last, first:last] = square / -diagonal[first:last]
    weights[np.diag_indices(n)] = 0
    return weights
