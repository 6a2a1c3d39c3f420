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
from recscale_dask.solvers.spectral_filter import SpectralFilter

_TILE = 32  # columns that a product computes in any case: see `recscale_dask.linalg.kernels.tile_width`
_FEWEST = 8  # random directions
_FEWEST_GUARDS = 16

WARM_STEPS = 3
"""Steps before the first look at a search that starts from given vectors.

They may be within the tolerance at once, although the matrix has gained larger values in directions that they do
not have: what an earlier model cannot know. So many steps from random directions show those, even such that are a tenth
larger than the smallest wanted value and have nothing to do with the rest (`tests/solvers/test_warm_start.py`).
"""


GUARDS = "guards"
"""Name in `recscale_dask.model.Factors.training` of the vectors behind the wanted ones."""


@dataclass(frozen=True, slots=True, eq=False)
class StartVectors:
    """What a search starts from.

    Attributes
    ----------
    right : ndarray of shape (n_columns, m)
        Right singular vectors of nearly the same matrix; zero in rows that it does not have.
    guards : ndarray of float32, shape (min(n_rows, n_columns), g), or None
        Rough ones of the side that is iterated, behind those: where the spectrum is flat, vectors
        change places with them.
    """

    right: NDArray[Any]
    guards: NDArray[np.float32] | None = None


def start_vectors(model: Factors, prepared: PreparedMatrix) -> StartVectors:
    """Return the vectors of an earlier model in the columns of a matrix, which is weighted and scaled."""
    matrix = prepared.matrix
    # The scaling is undone with the sums of today, which are near those of the model; lengths do not matter.
    options = model.provenance["options"]
    gains = SpectralFilter(options.get("filter"), options.get("filter_strength")).gains(model.singular_values)
    rank = int(np.count_nonzero(gains))
    right = _matched(model.item_factors[:, :rank], model.items, matrix.items)
    right /= np.sqrt(model.singular_values[:rank] * gains[:rank]).astype(np.float32)
    if prepared.item_scale is not None and options.get("undo_scaling", True):
        right *= prepared.item_scale[:, None].astype(np.float32)
    guards = model.training.get(GUARDS)
    if guards is not None:
        wide = len(model.users) < len(model.items)
        if wide != (matrix.shape[0] < matrix.shape[1]):
            guards = None  # of the side that is the longer one now
        else:
            guards = _matched(guards, *((model.users, matrix.users) if wide else (model.items, matrix.items)))
    return StartVectors(right, guards)


def guard_count(rank: int) -> int:
    """Return how many vectors behind the wanted ones are kept: a quarter at least, and what makes whole tiles."""
    least = rank + max(_FEWEST_GUARDS, rank // 4) + _FEWEST
    return -(-least // _TILE) * _TILE - rank - _FEWEST


def _matched(rows: NDArray[np.float32], known: Vocabulary, ids: Vocabulary) -> NDArray[np.float32]:
    """Return the row of each id; zeros for ids that are not known."""
    codes = known.codes(ids.ids, missing="ignore")
    matched = np.zeros((len(ids), rows.shape[1]), np.float32)
    matched[codes >= 0] = rows[codes[codes >= 0]]
    return matched


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


def with_random_directions(
    start: NDArray[Any], guards: NDArray[np.float32] | None, rng: np.random.Generator, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return start vectors, guards and random directions, as many as cost nothing more but `_FEWEST` at least.

    Half of the length of each direction is in rows where every start vector is zero, if there are such: what is
    new there shows soonest so.
    """
    given: list[NDArray[Any]] = [start] if guards is None else [start, guards]
    n, known = len(start), sum(each.shape[1] for each in given)
    directions = rng.standard_normal((n, -(-(known + _FEWEST) // _TILE) * _TILE - known))
    new = ~start.any(axis=1)
    if 0 < np.count_nonzero(new) < n:
        for rows in (new, ~new):
            directions[rows] /= np.linalg.norm(directions[rows], axis=0)
    return np.concatenate([*given, directions], axis=1, dtype=dtype)
