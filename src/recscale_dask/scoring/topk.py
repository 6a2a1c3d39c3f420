"""The top-k core: the best rows of one factor matrix for each row of another, through any executor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.portable import read_only
from recscale_dask.linalg.topk_candidates import Candidates, prepare_candidates
from recscale_dask.linalg.topk_search import Filters, block_shape, search
from recscale_dask.model import SeenItems


@dataclass(frozen=True, slots=True, eq=False)
class TopKQuery:
    """Some rows to score and what they must not get.

    Attributes
    ----------
    factors : ndarray of float32, shape (n, rank)
        Their factors.
    k : int
        How many candidates each gets at most.
    excluded : SeenItems or None
        Candidates that each must not get, as positions in the candidates' factors.
    allowed : SeenItems or None
        The only candidates that each may get, as ascending positions; None is all of them.
    min_score : float
        Candidates with a score below it are left out.
    """

    factors: NDArray[np.float32]
    k: int
    excluded: SeenItems | None = None
    allowed: SeenItems | None = None
    min_score: float = -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The best candidates of some rows, flat: row by row, best first.

    Attributes
    ----------
    counts : ndarray of int64, shape (n,)
        How many candidates each got, at most k.
    candidates : ndarray of int32, shape (counts.sum(),)
        Positions in the candidates' factors.
    scores : ndarray of float32, shape (counts.sum(),)
        Their scores.
    scored : int
        How many scores were computed for that; without bounds it is n times the candidates.
    """

    counts: NDArray[np.int64]
    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    scored: int

    def ranks(self) -> NDArray[np.int32]:
        """Return 1, 2, ... within each row, shape (counts.sum(),)."""
        starts = np.cumsum(self.counts) - self.counts
        ranks: NDArray[np.int32] = (np.arange(len(self.scores)) - np.repeat(starts, self.counts) + 1).astype(np.int32)
        return ranks


def top_k(query: TopKQuery, *, candidates: Candidates | NDArray[np.float32]) -> TopK:
    """Return the best candidates of each row: a task for `map_blocks`.

    Parameters
    ----------
    query : TopKQuery
        Rows to score.
    candidates : Candidates, or ndarray of float32 of shape (n_candidates, rank)
        What may be recommended; for more than one query prepare it once, by `prepare_candidates`.
    """
    if not isinstance(candidates, Candidates):
        candidates = prepare_candidates(candidates)
    candidates = Candidates._make(read_only(each) for each in candidates)
    n, n_candidates = len(query.factors), len(candidates.norms)
    k = min(query.k, n_candidates)
    codes = np.empty((n, k), np.int32)
    scores = np.empty((n, k), np.float32)
    counts = np.zeros(n, np.int64)
    scored = 0
    if n and k:
        nobody = SeenItems(np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
        excluded, allowed = query.excluded or nobody, query.allowed or nobody
        filters = Filters(
            read_only(excluded.indptr),
            read_only(excluded.indices),
            query.allowed is not None,
            read_only(allowed.indptr),
            read_only(allowed.indices),
            float(query.min_score),
        )
        n_slots, capacity = block_shape(n, n_candidates, k)
        rows = read_only(np.ascontiguousarray(query.factors))
        scored = int(search(rows, filters, candidates, n_slots, capacity, codes, scores, counts))
    filled = np.arange(k) < counts[:, None]
    return TopK(counts, codes[filled], scores[filled], scored)
