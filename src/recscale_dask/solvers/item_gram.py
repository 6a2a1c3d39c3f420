"""The item-item matrix A'A in panels of rows, computed on an executor: what neighbourhood models are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.linalg.item_gram import add_gram_rows

_PANEL_BYTES = 1 << 25
_PANEL_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class BothSides:
    """A matrix in memory, by users and by items; a constant of every panel.

    Attributes
    ----------
    by_user, by_item : Block
        The matrix and its transpose.
    """

    by_user: Block
    by_item: Block

    @classmethod
    def of(cls, matrix: UserItemMatrix) -> Self:
        """Return those of a matrix."""
        rows = matrix.to_scipy()
        columns = rows.T.tocsr()
        n_users, n_items = matrix.shape
        return cls(
            Block(0, 0, rows.indptr.astype(np.int64), rows.indices.astype(np.int32, copy=False), rows.data, n_items),
            Block(
                0,
                0,
                columns.indptr.astype(np.int64),
                columns.indices.astype(np.int32, copy=False),
                columns.data,
                n_users,
            ),
        )

    @property
    def n_items(self) -> int:
        """Order of the item-item matrix."""
        return self.by_user.n_columns

    def gram_rows(self, panel: range) -> NDArray[np.float64]:
        """Return rows of A'A, shape (len(panel), n_items)."""
        rows = np.zeros((len(panel), self.n_items))
        items, users = self.by_item, self.by_user
        add_gram_rows(
            panel.start, items.indptr, items.indices, items.values, users.indptr, users.indices, users.values, rows
        )
        return rows


def panel_rows(n_items: int) -> int:
    """Return how many rows a panel has; a function of the number of items alone."""
    return max(1, min(_PANEL_ROWS, _PANEL_BYTES // (8 * max(1, n_items))))


def panels(n_items: int) -> Iterator[range]:
    """Yield the item codes of each panel, in order."""
    height = panel_rows(n_items)
    for first in range(0, n_items, height):
        yield range(first, min(first + height, n_items))
