"""Neighbours of one item or user by the cosine of their factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.model import SeenItems
from recscale_dask.scoring.topk import TopK, TopKQuery, top_k


def nearest(factors: NDArray[np.float32], code: int, k: int) -> TopK:
    """Return the `k` rows of `factors` with the largest cosine to row `code`, without itself.

    A row of zeros has cosine 0 to everything.
    """
    k = whole_number(k, "k")
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    unit = (factors / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)
    itself = SeenItems(np.array([0, 1], np.int64), np.array([code], np.int32))
    with single_threaded_blas():
        return top_k(TopKQuery(np.array([code], np.int32), unit[[code]], k, itself), candidates=unit)
