"""Neighbourhoods of items by cosine: the model that everything is compared with (Sarwar et al., 2001)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number, whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.errors import OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import read_only
from recscale_dask.execution.run import map_blocks
from recscale_dask.item_operators.item_weights import SparseItemWeights
from recscale_dask.linalg.row_scores import select_best
from recscale_dask.model import Factors
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Forecast, MatrixBytes, Workers, model_bytes
from recscale_dask.solvers.item_closed_form import ItemClosedForm
from recscale_dask.solvers.item_gram import BothSides, panel_rows, panels
from recscale_dask.solvers.item_model import check_weighting_alone, item_model, weighting_of
from recscale_dask.solvers.preparation import prepare
from recscale_dask.solvers.rates import Rates
from recscale_dask.solvers.space import Choice, Real, Space, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKNNSolver(Solver):
    """Item neighbourhoods; the options of ``factorize(solver="item-knn")``. `rank`, `tol` and `seed` are ignored.

    The score of an item is the sum of its similarities to the items of a user that have it among their nearest
    (Deshpande and Karypis, 2004), each times the weighted value of that item.

    Parameters
    ----------
    neighbors : int
        Items kept for each item: the most similar ones.
    shrinkage : float
        Added to the product of the lengths of two items in their cosine, so that items that few users have are not
        similar by chance; 0 is the plain cosine.
    """

    uses_rank: ClassVar[bool] = False
    predicts_values: ClassVar[bool] = False
    space: ClassVar[Space] = MappingProxyType(
        {
            "neighbors": Whole(10, 500, log=True),
            "shrinkage": Real(0.0, 100.0),
            "weighting": Choice(("binary", "log", "bm25", "tfidf", None)),
        }
    )

    neighbors: int = 100
    shrinkage: float = 0.0

    def check(self, problem: Problem) -> None:
        """Raise an OptionError if an option cannot work."""
        check_weighting_alone(problem, "Cosines undo the lengths of items already: leave them out.")
        whole_number(self.neighbors, "neighbors")
        if not is_number(self.shrinkage) or not 0 <= self.shrinkage < np.inf:
            raise OptionError(f"shrinkage must be 0 or a positive number, such as 10; got {self.shrinkage!r}")

    def fit(self, problem: Problem, executor: Executor, observer: Observer = ignore) -> Factors:
        """Return a model without factors, of the weights of neighbours."""
        self.check(problem)
        problem = replace(problem, matrix=problem.matrix.ready())
        prepared = prepare(problem.matrix, problem.weighting, 0.0, 0.0, executor)
        sides = BothSides.of(prepared.matrix)
        nearest = Nearest(self.neighbors, float(self.shrinkage), lengths_of(sides))
        parts = list(
            map_blocks(
                executor,
                neighbours_of,
                panels(sides.n_items),
                {"sides": sides, "nearest": nearest},
                total=-(-sides.n_items // panel_rows(sides.n_items)),
                label="neighbours",
                observer=observer,
            )
        )
        counts = np.concatenate([part.counts for part in parts])
        operator = SparseItemWeights(
            weigh=weighting_of(problem, prepared),
            indptr=np.concatenate([[0], np.cumsum(counts)]),
            indices=np.concatenate([part.items for part in parts]),
            weights=np.concatenate([part.weights for part in parts]),
        )
        return item_model(problem, prepared, operator)

    def forecast(self, problem: Problem, workers: Workers, rates: Rates) -> Forecast:
        """Return what `fit` is going to take: the matrix both ways, and a panel of similarities on each worker."""
        forecast = Solver.forecast(self, replace(problem, rank=0), workers, rates)
        (stage,) = forecast.stages
        matrix = MatrixBytes.of(problem.matrix)
        kept = 8 * matrix.n_items * min(self.neighbors, matrix.n_items)
        panel = panel_rows(matrix.n_items) * matrix.n_items * 20
        pairs = matrix.nnz * matrix.nnz / max(1, matrix.n_users)  # at least: users differ in how much they have
        stage = replace(
            stage,
            seconds=stage.seconds + (pairs + matrix.n_items**2) / rates.pairs,
            moved_bytes=3 * matrix.whole * workers.capabilities.isolated,
            driver={**stage.driver, "matrix both ways": 3 * matrix.whole, "neighbours": 2 * kept},
            worker={"panel of similarities": panel},
        )
        plain = problem.weighting == "binary"
        return replace(forecast, stages=(stage,), model_bytes=model_bytes(matrix, 0, plain_values=plain) + kept)

    def closed_form(self, model: Factors) -> ClosedForm:
        """Return the closed form of new users: weights need nothing but their rows."""
        return ItemClosedForm.of(model)


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Which neighbours are kept.

    Attributes
    ----------
    count : int
    shrinkage : float
    lengths : ndarray of float64, shape (n_items,)
    """

    count: int
    shrinkage: float
    lengths: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The neighbours of some items, flat: item by item, in ascending order of their codes.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_items,)
    items : ndarray of int32, shape (counts.sum(),)
    weights : ndarray of float32, shape (counts.sum(),)
    """

    counts: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]


def lengths_of(sides: BothSides) -> NDArray[np.float64]:
    """Return the length of each column."""
    squares = np.square(sides.by_item.values, dtype=np.float64)
    lengths: NDArray[np.float64] = np.sqrt(
        np.bincount(sides.by_item.row_numbers(), weights=squares, minlength=sides.n_items)
    )
    return lengths


def neighbours_of(panel: range, *, sides: BothSides, nearest: Nearest) -> Neighbours:
    """Return the most similar items of each item of a panel, without itself and what is not similar at all."""
    n, k = len(panel), min(nearest.count, sides.n_items)
    over = np.outer(nearest.lengths[panel.start : panel.stop], nearest.lengths) + nearest.shrinkage
    products = sides.gram_rows(panel)
    similar = np.divide(products, over, out=np.zeros_like(products), where=over > 0).astype(np.float32)
    similar[np.arange(n), np.arange(panel.start, panel.stop)] = np.nan
    codes, weights = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    counts = np.zeros(n, np.int64)
    everything = read_only(np.zeros(0, np.int32)), read_only(np.zeros(0, np.int64))
    least = float(np.finfo(np.float32).tiny)
    select_best(similar, *everything, least, False, codes, weights, counts)
    codes[np.arange(k) >= counts[:, None]] = sides.n_items  # behind all others
    order = np.argsort(codes, axis=1)
    filled = np.arange(k) < counts[:, None]
    return Neighbours(
        counts, np.take_along_axis(codes, order, 1)[filled], np.take_along_axis(weights, order, 1)[filled]
    )
