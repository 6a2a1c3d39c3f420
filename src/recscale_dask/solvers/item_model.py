"""What solvers of item operators share: checks, and the model that they return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.weighting import Transform
from recscale_dask.errors import OptionError
from recscale_dask.item_operators.base import ItemOperator
from recscale_dask.model import Certificate, Factors, SeenItems, stored_values
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.preparation import PreparedMatrix, check_preparation


def check_weighting_alone(problem: Problem, instead: str) -> None:
    """Raise an OptionError if there is no such weighting, or if the problem asks for a scaling.

    Parameters
    ----------
    problem : Problem
    instead : str
        What the solver has in its place, as a sentence.
    """
    check_preparation(problem.weighting, problem.user_scaling, problem.item_scaling)
    if problem.user_scaling or problem.item_scaling:
        raise OptionError(
            f"user_scaling and item_scaling are for solvers that undo them in their factors; got "
            f"{problem.user_scaling} and {problem.item_scaling}. {instead}"
        )


def item_model(
    problem: Problem,
    prepared: PreparedMatrix,
    operator: ItemOperator,
    *,
    factors: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    singular_values: NDArray[np.float64] | None = None,
    certificate: Certificate | None = None,
    provenance: Mapping[str, Any] | None = None,
    training: Mapping[str, NDArray[Any]] | None = None,
) -> Factors:
    """Return the model of an item operator, and of factors of users and items if there are any."""
    matrix = problem.matrix
    n_users, n_items = matrix.shape
    seen = SeenItems.of(matrix.sources, stored=matrix.is_stored)
    # Binary weights do not depend on the values.
    values = np.ones(1, np.float32) if problem.weighting == "binary" else stored_values(matrix.sources, seen)
    users, items = factors or (np.zeros((n_users, 0), np.float32), np.zeros((n_items, 0), np.float32))
    return Factors(
        users,
        items,
        np.zeros(0) if singular_values is None else singular_values,
        matrix.users,
        matrix.items,
        seen,
        certificate,
        {"data_fingerprint": prepared.summary.digest.hex(), **(provenance or {})},
        {"values": values if len(values) else np.ones(1, np.float32), **(training or {})},
        operator,
    )


def weighting_of(problem: Problem, prepared: PreparedMatrix) -> Transform:
    """Return the weighting of a problem without its scaling."""
    return Transform(problem.weighting, prepared.summary)
