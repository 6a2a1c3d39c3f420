"""One long array of a matrix on disk, read from its blocks as far as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.types import Recipe


@dataclass(frozen=True, eq=False)
class BlockedArray:
    """The item codes or the values of all blocks, one after another: an array that is never all in memory.

    It has what of an array reading takes: ``len``, slices, arrays of places, `parts`, and ``numpy.asarray``, which does
    read all of it.

    Attributes
    ----------
    sources : sequence of Recipe of Block
    offsets : ndarray of int64, shape (n_blocks + 1,)
        Where the values of each block begin.
    field : str
        ``"indices"`` or ``"values"``.
    dtype : numpy.dtype
    """

    sources: Sequence[Recipe[Block]]
    offsets: NDArray[np.int64]
    field: str
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def shape(self) -> tuple[int]:
        """Shape of the array."""
        return (len(self),)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take."""
        return len(self) * self.dtype.itemsize

    def parts(self) -> Iterator[NDArray[Any]]:
        """Yield the array in pieces, one after another."""
        for number in range(len(self.sources)):
            yield self._part(number)

    def __getitem__(self, places: Any) -> NDArray[Any]:
        if isinstance(places, slice):
            first, last, step = places.indices(len(self))
            if step == 1:
                return self._range(first, last)
            places = np.arange(first, last, step)
        places = np.asarray(places)
        found = np.empty(places.shape, self.dtype)
        blocks = np.searchsorted(self.offsets, places, side="right") - 1
        for number in np.unique(blocks):
            here = blocks == number
            found[here] = self._part(number)[places[here] - self.offsets[number]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._range(0, len(self)).astype(self.dtype if dtype is None else dtype, copy=False)

    def _range(self, first: int, last: int) -> NDArray[Any]:
        found = np.empty(max(0, last - first), self.dtype)
        if last <= first:
            return found
        low = int(np.searchsorted(self.offsets, first, side="right")) - 1
        high = int(np.searchsorted(self.offsets, last, side="left"))
        for number in range(low, high):
            begin, end = max(first, int(self.offsets[number])), min(last, int(self.offsets[number + 1]))
            shift = int(self.offsets[number])
            found[begin - first : end - first] = self._part(number)[begin - shift : end - shift]
        return found

    def _part(self, number: int) -> NDArray[Any]:
        part: NDArray[Any] = getattr(self.sources[number].load(), self.field)
        return part


def parts_of(array: Any) -> Iterator[NDArray[Any]]:
    """Yield an array in the pieces in which it is at hand: one, or those of a `BlockedArray`."""
    if isinstance(array, BlockedArray):
        yield from array.parts()
    else:
        yield np.ascontiguousarray(array)
