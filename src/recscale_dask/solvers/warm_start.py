"""Starting a fit from an earlier model: its singular vectors, and random directions for what it cannot know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import OptionError
from recscale_dask.model import Factors
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.preparation import PreparedMatrix

_TILE = 32  # columns that a product computes in any case: see `recscale_dask.linalg.kernels.tile_width`
_FEWEST = 8  # random directions

WARM_STEPS = 3
"""Steps before the first look at a search that starts from given vectors.

They may be within the tolerance at once, although the matrix has gained larger values in directions that they do
not have: what an earlier model cannot know. So many steps from random directions show those, even such that are a tenth
larger than the smallest wanted value and have nothing to do with the rest (`tests/solvers/test_warm_start.py`).
"""


@dataclass(frozen=True, slots=True, eq=False)
class StartVectors:
    """Singular vectors of an earlier model in the rows and columns of a matrix; rows new to it are zero.

    Attributes
    ----------
    model : Factors
    prepared : PreparedMatrix
        The matrix, weighted and scaled.
    """

    model: Factors
    prepared: PreparedMatrix

    def right(self) -> NDArray[np.float64]:
        """Return the item vectors, shape (n_items, m)."""
        matrix, model = self.prepared.matrix, self.model
        return self._of(model.item_factors, model.items, matrix.items, self.prepared.item_unscale)

    def left(self) -> NDArray[np.float64]:
        """Return the user vectors, shape (n_users, m)."""
        matrix, model = self.prepared.matrix, self.model
        return self._of(model.user_factors, model.users, matrix.users, self.prepared.user_unscale)

    def _of(
        self, factors: NDArray[np.float32], known: Vocabulary, ids: Vocabulary, unscale: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        # The scaling is undone with the sums of today, which are near those of the model; lengths do not matter.
        codes = known.codes(ids.ids, missing="ignore")
        rank = int(np.count_nonzero(self.model.singular_values))
        vectors = np.zeros((len(ids), rank))
        vectors[codes >= 0] = factors[codes[codes >= 0], :rank]
        vectors /= np.sqrt(self.model.singular_values[:rank])
        if unscale is not None:
            np.divide(vectors, unscale[:, None], out=vectors, where=unscale[:, None] > 0)
        return vectors


def check_warm_start(model: Factors, problem: Problem, center: str | None) -> None:
    """Raise an OptionError unless a model is of the same kind as what an SVD of a problem will be.

    Rank, tolerance and seed may differ; whatever makes another matrix of the interactions may not.
    """
    solver, fitted = model.provenance.get("solver"), model.provenance.get("options")
    if solver != "svd" or fitted is None:
        raise OptionError(
            f"warm_start is a model of solver {solver!r}; an SVD starts from one of solver='svd'. Leave it out, or "
            "give another model."
        )
    asked: dict[str, Any] = {
        "weighting": problem.weighting,
        "user_scaling": problem.user_scaling,
        "item_scaling": problem.item_scaling,
        "center": center,
    }
    for name, value in asked.items():
        found = fitted.get(name)
        if (found or None) != (value or None):
            raise OptionError(
                f"warm_start was fitted with {name}={found!r}, and {name}={value!r} is asked for now: its vectors "
                f"are of another matrix. Use {name}={found!r}, or leave warm_start out."
            )
    if not (model.items.codes(problem.matrix.items.ids, missing="ignore") >= 0).any():
        raise OptionError("warm_start has none of the items of this matrix. Is it a model of other data?")


def with_random_directions(start: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return start vectors, and random ones behind them, as many as cost nothing more but `_FEWEST` at least.

    Half of the length of each is in rows where every start vector is zero, if there are such: what is
    new there shows soonest so.
    """
    n, given = start.shape
    count = -(-(given + _FEWEST) // _TILE) * _TILE - given
    directions = rng.standard_normal((n, count))
    new = ~start.any(axis=1)
    if 0 < np.count_nonzero(new) < n:
        for rows in (new, ~new):
            directions[rows] /= np.linalg.norm(directions[rows], axis=0)
    return np.concatenate([start, directions], axis=1)
