"""The rows of blocks in blocks that are cut elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.types import Recipe


def recut(sources: Sequence[Recipe[Block]], bounds: NDArray[np.int64]) -> Iterator[Block]:
    """Yield the rows of a matrix in blocks that begin at other bounds, loading one of its blocks at a time.

    Parameters
    ----------
    sources : sequence of Recipe of Block
        In row order.
    bounds : ndarray of int64, shape (n_blocks + 1,)
        From 0 to the number of rows, ascending.
    """
    waiting = iter(sources)
    block = next(waiting).load()
    for index, (start, stop) in enumerate(pairwise(bounds.tolist())):
        parts = [_rows(block, start, min(stop, block.stop))]
        while block.stop < stop:
            block = next(waiting).load()
            parts.append(_rows(block, block.start, min(stop, block.stop)))
        yield _joined(index, start, parts)
        if block.stop == stop and stop < bounds[-1]:
            block = next(waiting).load()


def _rows(block: Block, start: int, stop: int) -> Block:
    """Return some rows of a block."""
    indptr = block.indptr[start - block.start : stop - block.start + 1]
    stored = slice(indptr[0], indptr[-1])
    return Block(block.index, start, indptr - indptr[0], block.indices[stored], block.values[stored], block.n_columns)


def _joined(index: int, start: int, parts: Sequence[Block]) -> Block:
    offsets = np.cumsum([0, *(part.indptr[-1] for part in parts)])
    indptr = [part.indptr[:-1] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    return Block(
        index,
        start,
        np.concatenate([*indptr, offsets[-1:]]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
        parts[0].n_columns,
    )
