"""Weights between items: neighbours as a sparse matrix, or all pairs as a dense one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import Transform
from recscale_dask.item_operators.base import ItemOperator, as_read
from recscale_dask.linalg import row_scores


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DenseItemWeights(ItemOperator):
    """A weight for every pair of items.

    Attributes
    ----------
    weights : ndarray of float32, shape (n_items, n_items)
        Row j is what one of item j adds to the scores of all items.
    """

    kind: ClassVar[str] = "dense item weights"

    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", as_read(self.weights, np.float32))

    @property
    def n_items(self) -> int:
        """Length of the rows."""
        return len(self.weights)

    @property
    def products_per_score(self) -> float:
        """About how many multiplications a score takes: one per item of a user, of whom most have few."""
        return 32.0

    def column(self, item: int) -> NDArray[np.float64]:
        """Return the weights of all items for one."""
        return self.weights[:, item].astype(np.float64)

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights."""
        return {"weights": self.weights}

    def own_settings(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    @classmethod
    def of(cls, weigh: Transform, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Return the operator with these weights."""
        return cls(weigh=weigh, weights=arrays["weights"])

    def _add(self, rows: Block, out: NDArray[np.float32]) -> None:
        row_scores.add_dense_rows(rows.indptr, rows.indices, rows.values, self.weights, out)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparseItemWeights(ItemOperator):
    """Weights of the neighbours of each item, as CSR.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_items + 1,)
    indices : ndarray of int32, shape (n_weights,)
        Neighbours of each item, ascending.
    weights : ndarray of float32, shape (n_weights,)
        What one of the item adds to the scores of its neighbours.
    """

    kind: ClassVar[str] = "sparse item weights"

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("weights", np.float32)):
            object.__setattr__(self, name, as_read(getattr(self, name), dtype))

    @property
    def n_items(self) -> int:
        """Length of the rows."""
        return len(self.indptr) - 1

    @property
    def products_per_score(self) -> float:
        """About how many multiplications a score takes: one per neighbour of the items of a user, over all items."""
        return 1.0 + 32.0 * len(self.weights) / max(1, self.n_items) ** 2

    def column(self, item: int) -> NDArray[np.float64]:
        """Return the weights that items have for one of their neighbours."""
        found = np.flatnonzero(self.indices == item)
        column = np.zeros(self.n_items)
        column[np.searchsorted(self.indptr, found, side="right") - 1] = self.weights[found]
        return column

    def own_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the three arrays of CSR."""
        return {"indptr": self.indptr, "indices": self.indices, "weights": self.weights}

    def own_settings(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    @classmethod
    def of(cls, weigh: Transform, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Return the operator with these weights."""
        return cls(weigh=weigh, indptr=arrays["indptr"], indices=arrays["indices"], weights=arrays["weights"])

    def _add(self, rows: Block, out: NDArray[np.float32]) -> None:
        row_scores.add_sparse_rows(rows.indptr, rows.indices, rows.values, self.indptr, self.indices, self.weights, out)
