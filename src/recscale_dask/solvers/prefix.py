"""What a fit of a lower rank, and with another filter, would have given: read from a certified SVD."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recscale_dask.model import Factors
from recscale_dask.solvers.spectral_filter import SpectralFilter


def prefix(model: Factors, rank: int, spectral_filter: SpectralFilter) -> Factors:
    """Return the factors of a lower rank of an SVD that was fitted without a filter.

    Singular vectors of a matrix do not depend on how many of them are wanted, and a filter multiplies
    them by numbers: no product with the matrix is needed.

    Parameters
    ----------
    model : Factors
        Of `SVDSolver`, with ``filter=None``. Means of centring, a last column, stay.
    rank : int
        At most that of the model.
    spectral_filter : SpectralFilter

    Returns
    -------
    Factors
        For scoring alone: it holds nothing of the training data, so nobody can be folded in.
    """
    roots = np.sqrt(spectral_filter.gains(np.asarray(model.singular_values)))[:rank].astype(np.float32)
    means = slice(len(model.singular_values), None)
    user_factors, item_factors = (
        np.ascontiguousarray(np.column_stack([factors[:, :rank] * roots, factors[:, means]]))
        for factors in (model.user_factors, model.item_factors)
    )
    return replace(
        model,
        user_factors=user_factors,
        item_factors=item_factors,
        singular_values=model.singular_values[:rank],
        certificate=None,
        training={},
    )
