"""Dense row blocks: rows ``[start, stop)`` of a matrix of which most values are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block


@dataclass(frozen=True, slots=True, eq=False)
class DenseBlock:
    """Rows ``[start, start + n_rows)`` as an array; a recipe of itself.

    Attributes
    ----------
    index : int
        Number of the block in its matrix.
    start : int
        Number of its first row in the matrix.
    values : ndarray of float32 or float64, shape (n_rows, n_columns)
        C-contiguous and read-only, as blocks in mapped files are.
    """

    index: int
    start: int
    values: NDArray[Any]

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values).view()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def load(self) -> Self:
        """Return the block itself."""
        return self

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def stop(self) -> int:
        """Number of the first row behind the block."""
        return self.start + self.n_rows

    @property
    def n_columns(self) -> int:
        """Columns of the matrix."""
        return int(self.values.shape[1])


RowBlock: TypeAlias = Block | DenseBlock
"""What products are made of: the rows of a block are sparse or dense."""
