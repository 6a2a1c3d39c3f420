"""Rows of two matrices of one shape put together, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block

_KINDS = {"sum": 0, "max": 1, "last": 2}


def merged(block: Block, more: Block, duplicates: str) -> Block:
    """Return a block with the rows of another one of the same rows added to its own.

    Parameters
    ----------
    block, more : Block
    duplicates : {"sum", "max", "last"}
        What becomes of a pair that is in both: the sum of the values, in their dtype; the larger one; that of `more`.
    """
    indptr, indices, values = _merge(
        block.indptr, block.indices, block.values, more.indptr, more.indices, more.values, _KINDS[duplicates]
    )
    return Block(block.index, block.start, indptr, indices, values, block.n_columns)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _merge(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    more_indptr: NDArray[np.int64],
    more_indices: NDArray[np.int32],
    more_values: NDArray[Any],
    kind: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    n_rows = len(indptr) - 1
    out_indptr = np.zeros(n_rows + 1, np.int64)
    out_indices = np.empty(len(indices) + len(more_indices), np.int32)
    out_values = np.empty(len(out_indices), values.dtype)
    end = 0
    for row in range(n_rows):
        i, last = indptr[row], indptr[row + 1]
        j, more_last = more_indptr[row], more_indptr[row + 1]
        while i < last and j < more_last:
            column, other = indices[i], more_indices[j]
            if column <= other:
                value = values[i]
                i += 1
                if column == other:
                    if kind == 0:
                        value += more_values[j]
                    elif kind == 2 or more_values[j] > value:
                        value = more_values[j]
                    j += 1
            else:
                column, value = other, more_values[j]
                j += 1
            out_indices[end], out_values[end] = column, value
            end += 1
        # What is left of either is copied whole: of most rows that is all.
        count = last - i
        out_indices[end : end + count], out_values[end : end + count] = indices[i:last], values[i:last]
        end += count
        count = more_last - j
        out_indices[end : end + count] = more_indices[j:more_last]
        out_values[end : end + count] = more_values[j:more_last]
        end += count
        out_indptr[row + 1] = end
    return out_indptr, out_indices[:end], out_values[:end]
