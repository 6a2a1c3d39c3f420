"""Whole rows of scores of models with an item operator, some users at a time, and the best items of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.portable import read_only
from recscale_dask.item_operators.base import ItemOperator
from recscale_dask.linalg import row_scores as kernels
from recscale_dask.linalg.row_scores import TILE
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.topk import TopK, TopKQuery
from recscale_dask.scoring.user_rows import UserRows

_BLOCK_TILES = 3  # of users whose rows of scores are in memory at once, if they are not too large
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class RowScorer:
    """What every job needs to score rows of users; travels to the workers once.

    Attributes
    ----------
    operator : ItemOperator
    panels : ndarray of float32, shape (n_panels, width, 16)
        Item factors; see `recscale_dask.linalg.row_scores.factor_panels`.
    """

    operator: ItemOperator
    panels: NDArray[np.float32]

    @classmethod
    def of(cls, model: Factors) -> Self:
        """Return that of a model with an item operator."""
        assert model.item_operator is not None
        return cls(model.item_operator, kernels.factor_panels(model.item_factors))

    @property
    def n_items(self) -> int:
        """Length of a row."""
        return self.operator.n_items

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return self.operator.nbytes + self.panels.nbytes

    @property
    def height(self) -> int:
        """Users whose rows are in memory at once; a function of the number of items alone."""
        return TILE * max(1, min(_BLOCK_TILES, _BLOCK_BYTES // (4 * TILE * max(1, self.n_items))))

    def blocks(self, rows: UserRows) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield which users are next, and their scores of all items, shape (n_users, n_items), in order.

        The scores of a user do not depend on who the others are. The array may be written into.
        """
        for first in range(0, len(rows.factors), self.height):
            part = slice(first, min(first + self.height, len(rows.factors)))
            chosen = rows.take(np.arange(part.start, part.stop, dtype=np.int32))
            scores = np.zeros((part.stop - part.start, self.n_items), np.float32)
            self.operator.add_scores(chosen.block(self.n_items), scores)
            if self.panels.shape[1]:
                kernels.add_factor_scores(
                    read_only(kernels.padded_rows(chosen.factors)), read_only(self.panels), scores
                )
            yield part, scores


def best_in_rows(query: TopKQuery, rows: UserRows, items: NDArray[np.int32] | None, *, scorer: RowScorer) -> TopK:
    """Return the best items of users by whole rows of scores; the twin of `recscale_dask.scoring.topk.top_k`.

    Parameters
    ----------
    query : TopKQuery
        What they must not get and may get, in item codes.
    rows : UserRows
        Of the same users.
    items : ndarray of int32 or None
        The only item codes that may be recommended, ascending; None is all.
    scorer : RowScorer
    """
    n, k = len(query.factors), min(query.k, scorer.n_items)
    codes, best = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    counts = np.zeros(n, np.int64)
    nothing = SeenItems(np.zeros(0, np.int64), np.zeros(0, np.int32))
    everyone = nothing if items is None else SeenItems(np.array([0, len(items)]), items)
    for part, scores in scorer.blocks(rows) if k else ():
        if items is not None and query.allowed is not None:
            barred = np.ones(scorer.n_items, np.bool_)
            barred[items] = False
            scores[:, barred] = np.nan
        if query.excluded is not None:
            struck = _part(query.excluded, part)
            kernels.strike_out(scores, read_only(struck.indptr), read_only(struck.indices))
        lists = everyone if query.allowed is None else _part(query.allowed, part)
        kernels.select_best(
            scores,
            read_only(lists.indices),
            read_only(lists.indptr),
            float(query.min_score),
            query.allowed is not None,
            codes[part],
            best[part],
            counts[part],
        )
    filled = np.arange(k) < counts[:, None]
    return TopK(counts, codes[filled], best[filled], n * scorer.n_items)


def _part(lists: SeenItems, part: slice) -> SeenItems:
    indptr = lists.indptr[part.start : part.stop + 1]
    return SeenItems(indptr - indptr[0], lists.indices[indptr[0] : indptr[-1]])
