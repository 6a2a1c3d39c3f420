"""Weighting and degree scaling of a matrix, block by block, never densifying.

Weightings replace each stored value; scaling then divides row u by ``du**user_scaling`` and column i by
``di**item_scaling``, where ``du`` and ``di`` are the row and column sums of the weighted matrix. The
exponents are those of EigenRec (Nikolakopoulos et al., 2019); 0.5 on both sides is the symmetric
normalisation of graph filters such as GF-CF (Shen et al., 2021).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.errors import DataError, OptionError
from recscale_dask.types import Recipe

_BM25_K1 = 100.0  # the values of implicit's bm25_weight
_BM25_B = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What weightings need to know of the whole matrix, and its fingerprint; summaries add up.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_items,)
        Stored values per item.
    total : float
        Sum of all values.
    n_rows : int
        Number of users.
    digest : bytes
        SHA-256 over structure and values; equal for equal matrices.
    """

    counts: NDArray[np.int64]
    total: float
    n_rows: int
    digest: bytes

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.counts + other.counts,
            self.total + other.total,
            self.n_rows + other.n_rows,
            hashlib.sha256(self.digest + other.digest).digest(),
        )


def summarize(block: Block) -> Summary:
    """Return the summary of one block: a task for `fold_blocks`."""
    digest = hashlib.sha256(f"{block.n_rows} {block.n_columns} {block.values.dtype.str}".encode())
    for array in (block.indptr, block.indices, block.values):
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return Summary(
        np.bincount(block.indices, minlength=block.n_columns),
        float(block.values.sum(dtype=np.float64)),
        block.n_rows,
        digest.digest(),
    )


def _binary(block: Block, summary: Summary) -> NDArray[Any]:
    return np.ones_like(block.values)


def _log(block: Block, summary: Summary) -> NDArray[Any]:
    if len(block.values) and block.values.min() <= 0:
        raise _unsuitable(block, "'log' is log(1 + value) of positive values")
    weights: NDArray[Any] = np.log1p(block.values)
    return weights


def _idf(block: Block, summary: Summary) -> NDArray[Any]:
    idf = np.log(summary.n_rows) - np.log1p(summary.counts)
    weights: NDArray[Any] = idf.astype(block.values.dtype)[block.indices]
    return weights


def _tfidf(block: Block, summary: Summary) -> NDArray[Any]:
    _refuse_negative(block, "tfidf")
    weights: NDArray[Any] = np.sqrt(block.values) * _idf(block, summary)
    return weights


def _bm25(block: Block, summary: Summary) -> NDArray[Any]:
    _refuse_negative(block, "bm25")
    rows = block.row_numbers()
    lengths = np.bincount(rows, weights=block.values, minlength=block.n_rows)
    average_length = summary.total / summary.n_rows or 1.0  # 0 if there are no values but zeros
    length_norm = (1 - _BM25_B) + _BM25_B * lengths / average_length
    values = block.values * (_BM25_K1 + 1) / (_BM25_K1 * length_norm[rows] + block.values)
    weights: NDArray[Any] = values.astype(block.values.dtype) * _idf(block, summary)
    return weights


def _refuse_negative(block: Block, name: str) -> None:
    if len(block.values) and block.values.min() < 0:
        raise _unsuitable(block, f"{name!r} needs values of at least 0")


def _unsuitable(block: Block, rule: str) -> DataError:
    """Return the error that names the row of the smallest value."""
    at = int(np.argmin(block.values))
    row = block.start + int(np.searchsorted(block.indptr, at, side="right")) - 1
    return DataError(
        f"weighting {rule}; user row {row}, item column {block.indices[at]} holds {block.values[at]:g}. "
        "Remove such rows, or use weighting='binary'."
    )


WEIGHTINGS: dict[str, Callable[[Block, Summary], NDArray[Any]]] = {
    "binary": _binary,
    "log": _log,
    "bm25": _bm25,
    "tfidf": _tfidf,
}
"""Names to functions of a block and the summary of its matrix that return new values.

``binary``: 1; ``log``: log(1 + v) of positive values; ``bm25`` and ``tfidf``: as `implicit` defines them,
with users as documents and items as terms.
"""


COUNTING = ("bm25", "tfidf")
"""Those that need the summary; the others look at one value at a time."""


def kept_summary(transform: Transform) -> dict[str, NDArray[Any]]:
    """Return what has to be kept of the summary of a matrix to weight other rows as its own; see `summary_of`."""
    if transform.weighting not in COUNTING:
        return {}
    summary = transform.summary
    return {"item_counts": summary.counts, "users_and_sum": np.array([summary.n_rows, summary.total])}


def summary_of(weighting: str | None, kept: Mapping[str, NDArray[Any]]) -> Summary:
    """Return the summary that a weighting needs, from what `kept_summary` returned.

    Raises
    ------
    KeyError
        If something is missing.
    """
    if weighting not in COUNTING:
        return Summary(np.zeros(0, np.int64), 0.0, 0, b"")
    n_users, total = kept["users_and_sum"]
    return Summary(kept["item_counts"], float(total), int(n_users), b"")


def check_weighting(name: str | None) -> None:
    """Raise an OptionError unless `name` is None or one of `WEIGHTINGS`."""
    if name is not None and name not in WEIGHTINGS:
        raise OptionError(f"no weighting is called {name!r}; there are: {', '.join(WEIGHTINGS)}, or None")


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """A weighting followed by degree scaling, for one block at a time.

    Attributes
    ----------
    weighting : str or None
        One of `WEIGHTINGS`.
    summary : Summary
        Of the matrix before weighting.
    user_scaling : float
        Exponent of the row sums.
    item_scale : ndarray of float64, shape (n_items,), or None
        What columns are multiplied by; None is 1.
    """

    weighting: str | None
    summary: Summary
    user_scaling: float = 0.0
    item_scale: NDArray[np.float64] | None = None

    def __call__(self, block: Block) -> Block:
        """Return the transformed block."""
        values = block.values
        if self.weighting is not None:
            values = WEIGHTINGS[self.weighting](block, self.summary)
        if self.user_scaling:
            scale = power_scale(row_sums(block.with_values(values)), self.user_scaling, "user")
            values = values * np.repeat(scale, np.diff(block.indptr)).astype(values.dtype)
        if self.item_scale is not None:
            values = values * self.item_scale.astype(values.dtype)[block.indices]
        return block.with_values(values)


@dataclass(frozen=True, slots=True, eq=False)
class TransformedBlock:
    """A block that is transformed when it is loaded.

    The transform, which has numbers for every item, may be a recipe too: what was sent to the workers once.
    """

    source: Recipe[Block]
    transform: Transform | Recipe[Transform]

    def load(self) -> Block:
        """Load the block and transform it."""
        transform = self.transform if isinstance(self.transform, Transform) else self.transform.load()
        return transform(self.source.load())


def row_sums(block: Block) -> NDArray[np.float64]:
    """Return the sum of each row's values, shape (n_rows,)."""
    sums = np.bincount(block.row_numbers(), weights=block.values, minlength=block.n_rows)
    return sums.astype(np.float64, copy=False)


def column_sums(block: Block) -> NDArray[np.float64]:
    """Return the sum of each column's values, shape (n_columns,)."""
    sums = np.bincount(block.indices, weights=block.values, minlength=block.n_columns)
    return sums.astype(np.float64, copy=False)


def power_scale(sums: NDArray[np.float64], exponent: float, what: str) -> NDArray[np.float64]:
    """Return ``sums ** -exponent``, 0 where the sum is 0 (a row or column without values).

    Raises
    ------
    DataError
        If a sum is negative.
    """
    if len(sums) and sums.min() < 0:
        raise DataError(
            f"{what}_scaling needs row and column sums of at least 0; {what} number {int(np.argmin(sums))} has "
            f"{sums.min():g}. Use weighting='binary', or no scaling."
        )
    scale = np.zeros_like(sums)
    np.power(sums, -exponent, out=scale, where=sums > 0)
    return scale
