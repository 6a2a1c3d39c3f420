"""Row blocks of any Dask array: recount its chunks, cut by stored values, load piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block, balanced_bounds
from recscale_dask.data.sparse import clean_csr
from recscale_dask.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class DaskBlock:
    """A block that is computed from a piece of a Dask graph when it is loaded."""

    delayed: Any

    def load(self) -> Block:
        """Compute the block with the scheduler that Dask has at that place."""
        (block,) = dask.compute(self.delayed)
        return block  # type: ignore[no-any-return]

    def __dask_tokenize__(self) -> str:
        return str(self.delayed.key)


def load_together(sources: Sequence[DaskBlock]) -> tuple[Block, ...]:
    """Compute blocks at once, so that a chunk which several of them need is computed once."""
    return tuple(dask.compute(*[source.delayed for source in sources]))


def blocks_of(
    array: Any,
) -> tuple[tuple[DaskBlock, ...], NDArray[np.int64], tuple[int, int], int, np.dtype[Any]]:
    """Return blocks, row bounds, shape, number of stored values and dtype of a two-dimensional Dask array."""
    if array.ndim != 2:
        raise DataError(f"a matrix has two dimensions; got a Dask array of shape {array.shape}")
    pieces = array.to_delayed()
    # Where chunks begin, for errors; of unknown sizes (nan) it is not known.
    starts, columns = ([0, *np.nan_to_num(np.cumsum(sizes)).astype(int).tolist()] for sizes in array.chunks)
    chunks = [dask.delayed(_row_chunk)(list(row), first, columns) for row, first in zip(pieces, starts, strict=False)]
    counts = dask.compute(*[dask.delayed(_describe)(chunk) for chunk in chunks])
    widths = {width for _, width, _ in counts}
    if len(widths) != 1:
        raise DataError(f"chunks of one Dask array differ in width: {sorted(widths)}")
    dtype = np.result_type(*[dtype for _, _, dtype in counts])
    lengths = np.concatenate([lengths for lengths, _, _ in counts])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    chunk_starts = np.cumsum([0] + [len(lengths) for lengths, _, _ in counts])
    bounds = balanced_bounds(indptr, max(widths))
    sources = []
    for index, (start, stop) in enumerate(pairwise(bounds)):
        first = int(np.searchsorted(chunk_starts, start, side="right")) - 1
        last = max(first + 1, int(np.searchsorted(chunk_starts, stop, side="left")))
        offset = int(chunk_starts[first])
        build = dask.delayed(_build_block)(chunks[first:last], index, int(start), int(stop), offset, dtype)
        # Only what this block needs of the graph: each block travels on its own.
        sources.append(DaskBlock(*dask.optimize(build)))
    return tuple(sources), bounds, (len(lengths), widths.pop()), int(indptr[-1]), dtype


def _row_chunk(pieces: list[Any], first_row: int, columns: list[int]) -> sp.csr_array:
    """Put the chunks of one chunk row side by side."""
    clean = [
        clean_csr(piece, first_row=first_row, first_column=first_column)
        for piece, first_column in zip(pieces, columns, strict=False)
    ]
    return clean[0] if len(clean) == 1 else clean_csr(sp.hstack(clean, format="csr"))


def _describe(rows: sp.csr_array) -> tuple[NDArray[np.int64], int, np.dtype[Any]]:
    return np.diff(rows.indptr), rows.shape[1], rows.dtype


def _build_block(
    chunks: list[sp.csr_array], index: int, start: int, stop: int, offset: int, dtype: np.dtype[Any]
) -> Block:
    stacked = chunks[0] if len(chunks) == 1 else sp.vstack(chunks, format="csr")
    rows = stacked[start - offset : stop - offset]
    return Block(
        index,
        start,
        rows.indptr.astype(np.int64),
        rows.indices.astype(np.int32),
        rows.data.astype(dtype),
        rows.shape[1],
    )
