"""Polynomials of the normalised item-item operator: filters on the graph of users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import Transform
from recscale_dask.execution.portable import read_only
from recscale_dask.item_operators.base import ItemOperator, as_read
from recscale_dask.linalg import kernels, row_scores
from recscale_dask.linalg.row_scores import TILE


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GraphFilter(ItemOperator):
    """``S p(N'N) / S``: a polynomial p of the item-item operator of the normalised matrix N.

    It is applied to 32 users at a time, as two sparse products with N per power. N'N is never formed: on Gowalla it
    has 42 million values, and N has 0.8 million.

    Attributes
    ----------
    indptr, indices, values : ndarray
        N as CSR, shape (n_users, n_items), of the users that were fitted.
    coefficients : tuple of float
        Of p: of the constant, of N'N, of its square, ...
    length : int
        Number of items.
    item_scale : ndarray of float32, shape (n_items,), or None
        S: what the items of a row are multiplied by before, and divided by after; None is 1.
    """

    kind: ClassVar[str] = "graph filter"

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    coefficients: tuple[float, ...]
    length: int
    item_scale: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("values", np.float32)):
            object.__setattr__(self, name, as_read(getattr(self, name), dtype))
        if self.item_scale is not None:
            object.__setattr__(self, "item_scale", as_read(self.item_scale, np.float32))

    @property
    def n_items(self) -> int:
        """Length of the rows."""
        return self.length

    @property
    def products_per_score(self) -> float:
        """About how many multiplications a score takes."""
        return 2.0 * (len(self.coefficients) - 1) * len(self.indices) / max(1, self.n_items)

    @property
    def working_bytes(self) -> int:
        """Bytes of the tiles of a product."""
        return 3 * 4 * TILE * self.n_items

    def column(self, item: int) -> NDArray[np.float64]:
        """Return what one of each item adds to the score of one: p(N'N) is symmetric."""
        tiles = np.zeros((3, self.n_items, TILE), np.float32)
        tiles[0, item, 0] = 1
        found = self._filtered(tiles)[:, 0].astype(np.float64)
        if self.item_scale is not None and self.item_scale[item] > 0:
            found *= self.item_scale / self.item_scale[item]
        return found

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        """Return N, and the scale if there is one."""
        scale = {} if self.item_scale is None else {"item_scale": self.item_scale}
        return {"indptr": self.indptr, "indices": self.indices, "values": self.values, **scale}

    def own_settings(self) -> dict[str, Any]:
        """Return the coefficients and the number of items."""
        return {"coefficients": list(self.coefficients), "length": self.length}

    @classmethod
    def of(cls, weigh: Transform, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Return the filter of these arrays and coefficients."""
        matrix = {name: arrays[name] for name in ("indptr", "indices", "values")}
        return cls(
            weigh=weigh,
            **matrix,
            coefficients=tuple(settings["coefficients"]),
            length=settings["length"],
            item_scale=arrays.get("item_scale"),
        )

    def _add(self, rows: Block, out: NDArray[np.float32]) -> None:
        scale = self.item_scale
        values = rows.values if scale is None else rows.values * scale[rows.indices]
        tiles = np.zeros((3, self.n_items, TILE), np.float32)  # in memory once, and used again for all tiles
        for first in range(0, rows.n_rows, TILE):
            last = min(first + TILE, rows.n_rows)
            row_scores.fill_tile(rows.indptr, rows.indices, values, first, last, tiles[0])
            filtered = self._filtered(tiles)
            row_scores.clear_tile(rows.indptr, rows.indices, first, last, tiles[0])
            if scale is not None:
                filtered *= np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)[:, None]
            row_scores.add_tile(filtered, out[first:last])

    def _filtered(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return p(N'N) times the first of three tiles, by Horner's rule, in one of the others."""
        tile: NDArray[np.float32] = tiles[0]
        found: NDArray[np.float32] = tiles[1]
        following: NDArray[np.float32] = tiles[2]
        *lower, highest = (np.float32(each) for each in self.coefficients)
        np.multiply(tile, highest, out=found)
        for coefficient in reversed(lower):
            if coefficient:
                np.multiply(tile, coefficient, out=following)
            else:
                following[:] = 0
            kernels.gram_product(self.indptr, self.indices, self.values, read_only(found[None]), following[None])
            found, following = following, found
        return found
