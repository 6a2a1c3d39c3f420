"""What a user asks of a model: which users get how many of which items."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import OptionError
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.filters import Unknown, candidate_codes, chosen_users, known_codes, lists_of_users

BATCH_USERS = 12_288
"""Users per job at most; fixed, so that partitions of written recommendations are the same everywhere.

Fewer make Dask and Spark, which take milliseconds for each job, slower: see benchmarks/executors.py.
"""

ROW_BATCH_USERS = 1024
"""The same for models with an item operator, whose users take whole rows of scores: a second of work or so."""

_BATCH_ROWS = 1 << 20  # rows per job at most, for a large k

_MANY_ROWS = 10_000_000  # lists of all items that are told before they are made
_ROW_BYTES = 24  # in memory, of user, item, rank and score, if ids are integers


@dataclass(frozen=True, slots=True, eq=False)
class RecommendRequest:
    """Which users get which items.

    Attributes
    ----------
    users : ndarray of int32, shape (n,)
        User codes, in the order of the answer.
    items : ndarray of int32, shape (n_candidates,) or None
        Item codes that may be recommended, ascending; None is all.
    k : int
        Items per user at most; no more than the model has.
    exclude_seen : bool
        Leave out the items of the training data.
    allowed, denied : SeenItems of n rows, or None
        Item codes that each of `users` may get only, or must not get.
    min_score : float
        Items with a score below it are left out.
    whole_rows : bool
        Whether the model has whole rows of scores to be computed, so that a job has fewer users.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32] | None
    k: int
    exclude_seen: bool = True
    allowed: SeenItems | None = None
    denied: SeenItems | None = None
    min_score: float = -np.inf
    whole_rows: bool = False

    def of(self, model: Factors) -> RecommendRequest:
        """Return the request in the batches that suit a model."""
        return self if model.item_operator is None else replace(self, whole_rows=True)

    @property
    def batch_users(self) -> int:
        """Users per job; a function of k and the kind of model alone."""
        return max(1, min(ROW_BATCH_USERS if self.whole_rows else BATCH_USERS, _BATCH_ROWS // self.k))

    @property
    def n_batches(self) -> int:
        """Number of jobs; one, with an empty answer, if there are no users."""
        return max(1, -(-len(self.users) // self.batch_users))

    def part(self, number: int) -> slice:
        """Return which of `users` are those of a job."""
        return slice(number * self.batch_users, (number + 1) * self.batch_users)


def request(
    model: Factors,
    users: Any = None,
    k: int = 10,
    *,
    exclude_seen: bool = True,
    allow: Any = None,
    deny: Any = None,
    min_score: float | None = None,
    unknown: Unknown = "raise",
) -> RecommendRequest:
    """Check what a user asks for and return it in codes.

    Parameters
    ----------
    users : sequence of ids, optional
        By default all.
    allow, deny : sequence of item ids, or Interactions, optional
        The same for all users, or the pairs that are allowed only or denied.
    unknown : {"raise", "skip"}
        What becomes of ids that the model does not know.

    Raises
    ------
    UnknownIdError
        If a user or item id is not in the model, unless it is to be skipped.
    DataError
        If a user is there twice, or no pair belongs to the model.
    OptionError
        If k is below 1, or another option is none.
    """
    k = whole_number(k, "k")
    if not isinstance(exclude_seen, bool | np.bool_):
        raise OptionError(
            f"exclude_seen is True or False: the model knows its own training data; got a "
            f"{type(exclude_seen).__name__}. Leave out other interactions with deny=."
        )
    codes = chosen_users(model, users, unknown)
    k = _at_most(k, len(model.items), len(codes))
    everyone: dict[str, NDArray[np.int32] | None] = {}
    by_user: dict[str, SeenItems | None] = {}
    for what, given in (("allow", allow), ("deny", deny)):
        pairs = isinstance(given, Interactions)
        by_user[what] = lists_of_users(model, given, codes, what, unknown) if pairs else None
        everyone[what] = None if given is None or pairs else known_codes(model.items, given, what, "item", unknown)
    return RecommendRequest(
        codes,
        candidate_codes(model, **everyone),
        k,
        bool(exclude_seen),
        by_user["allow"],
        by_user["deny"],
        -np.inf if min_score is None else _number(min_score),
    )


def _at_most(k: int, n_items: int, n_users: int) -> int:
    """Return k, or the number of items if that is less; warn if lists of all items are many rows."""
    if k <= n_items:
        return k
    rows = n_users * n_items
    if rows > _MANY_ROWS:
        warnings.warn(
            f"k={k} is more than the {n_items:,} items of the model: all unseen items of each of {n_users:,} users are "
            f"asked for, up to {rows:,} rows or {rows * _ROW_BYTES / 1e9:,.1f} GB. Try k=10; --plan (plan_recommend) "
            "tells what it takes.",
            stacklevel=2,
        )
    return max(1, n_items)


def _number(min_score: Any) -> float:
    try:
        number = float(min_score)
    except (TypeError, ValueError):
        number = np.nan
    if np.isnan(number):
        raise OptionError(f"min_score must be a number; got {min_score!r}")
    return number
