"""What a model keeps of the weighting of its training data, for the rows of new users."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.weighting import COUNTING, Summary, Transform
from recscale_dask.errors import ModelFormatError
from recscale_dask.model import Factors


def kept_weighting(weigh: Transform) -> dict[str, NDArray[Any]]:
    """Return what a model has to hold for `weighting_of`."""
    if weigh.weighting not in COUNTING:
        return {}
    summary = weigh.summary
    return {"item_counts": summary.counts, "users_and_sum": np.array([summary.n_rows, summary.total])}


def weighting_of(model: Factors) -> Transform:
    """Return the weighting of a fitted model.

    Raises
    ------
    ModelFormatError
        If the model does not hold what that needs.
    """
    options = model.provenance.get("options")
    if options is None:
        raise ModelFormatError("this model does not say how it was fitted; make it with factorize.")
    weighting = options.get("weighting")
    summary = Summary(np.zeros(0, np.int64), 0.0, 0, b"")
    if weighting in COUNTING:
        n_users, total = kept(model, "users_and_sum")
        summary = Summary(kept(model, "item_counts"), float(total), int(n_users), b"")
    return Transform(weighting, summary)


def kept(model: Factors, name: str) -> NDArray[Any]:
    """Return what a model holds of its training data.

    Raises
    ------
    ModelFormatError
        If it does not.
    """
    if name not in model.training:
        raise ModelFormatError(
            f"this model does not hold the {name.replace('_', ' ')} of its training data, which new users need with "
            "its weighting, scaling or centring: it was saved by an earlier version of recscale_dask. Fit it again."
        )
    return model.training[name]
