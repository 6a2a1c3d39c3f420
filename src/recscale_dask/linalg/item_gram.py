"""Rows of the item-item matrix A'A, a panel at a time: never the whole of it, and no row that is not asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.kernels import kernel


@kernel
def add_gram_rows(
    first: int,
    item_indptr: NDArray[np.int64],
    users: NDArray[np.int32],
    item_values: NDArray[Any],
    user_indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    user_values: NDArray[Any],
    out: NDArray[np.float64],
) -> None:
    """Add rows ``first``, ``first + 1``, ... of A'A to `out`, shape (n_rows, n_items); users in ascending order.

    Parameters
    ----------
    first : int
        Item code of the first row.
    item_indptr, users, item_values : ndarray
        The transpose of A as CSR.
    user_indptr, items, user_values : ndarray
        A as CSR.
    """
    for row in range(len(out)):
        sums = out[row]
        for p in range(item_indptr[first + row], item_indptr[first + row + 1]):
            user, value = users[p], np.float64(item_values[p])
            for q in range(user_indptr[user], user_indptr[user + 1]):
                sums[items[q]] += value * user_values[q]
