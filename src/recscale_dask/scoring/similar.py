"""Neighbours of one item or user: by the cosine of their factors, or by what a model makes of one item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.blocks import Block
from recscale_dask.errors import OptionError
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.row_scores import RowScorer, best_in_rows
from recscale_dask.scoring.topk import TopK, TopKQuery, top_k
from recscale_dask.scoring.user_rows import UserRows


def nearest(factors: NDArray[np.float32], code: int, k: int) -> TopK:
    """Return the `k` rows of `factors` with the largest cosine to row `code`, without itself.

    A row of zeros has cosine 0 to everything; so has one of rounding alone, as an SVD gives an item that nobody has.
    """
    k = whole_number(k, "k")
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    norms[norms <= np.finfo(np.float32).eps * norms.max(initial=0.0)] = np.inf
    unit = (factors / norms[:, None]).astype(np.float32)
    itself = SeenItems(np.array([0, 1], np.int64), np.array([code], np.int32))
    with single_threaded_blas():
        return top_k(TopKQuery(unit[[code]], k, itself), candidates=unit)


def nearest_user(model: Factors, code: int, k: int) -> TopK:
    """Return the `k` users with the largest cosine of their factors to those of one.

    Raises
    ------
    OptionError
        If the model has no factors.
    """
    if not model.rank:
        raise OptionError(
            "this model has weights between items and no factors of users, so none are near to one another by them. "
            "Use a model with factors, such as solver='svd'."
        )
    return nearest(model.user_factors, code, k)


def nearest_by_score(model: Factors, closed_form: ClosedForm, code: int, k: int) -> TopK:
    """Return the `k` best items of a user who has one item only, which is left out, with an item operator."""
    n_items = len(model.items)
    item, indptr = np.array([code], np.int32), np.array([0, 1], np.int64)
    value = np.ones(1, np.float32)
    with single_threaded_blas():
        factors = closed_form.fold(Block(0, 0, indptr, item, value, n_items)).user_factors
        rows = UserRows(factors, SeenItems(indptr, item), value)
        query = TopKQuery(factors, whole_number(k, "k"), SeenItems(indptr, item))
        return best_in_rows(query, rows, None, scorer=RowScorer.of(model))
