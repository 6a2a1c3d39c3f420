"""A test set in the codes of a model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, SeenTestWarning, UnknownIdWarning
from recscale_dask.model import Factors, SeenItems

_MOST_SEEN = 0.01  # share of test pairs in the training data from which on it is told
_USERS = 1 << 14  # whose seen items are looked through at a time


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What is held out of the users that a model knows; users are those of the test set that it knows.

    Attributes
    ----------
    users : ndarray of int32, shape (n_users,)
        Codes of the model, ascending.
    test_users : ndarray of int32, shape (n_users,)
        The same users in the codes of the test set.
    relevant : SeenItems of n_users rows
        Test items that the model knows, each once.
    n_relevant : ndarray of int64, shape (n_users,)
        Test items, those that the model does not know too.
    rows : ndarray of int64, shape (n_pairs,)
        Test rows whose user and item the model knows.
    places : ndarray of int64, shape (n_pairs,)
        Position in `users` of the user of each.
    items : ndarray of int32, shape (n_pairs,)
        Item code of each.
    n_unknown_users : int
        Users of the test set that the model does not know.
    n_unknown_items : int
        Rows of users it knows, with an item that it does not.
    n_seen : int
        Pairs of `relevant` that are in the training data.
    """

    users: NDArray[np.int32]
    test_users: NDArray[np.int32]
    relevant: SeenItems
    n_relevant: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    items: NDArray[np.int32]
    n_unknown_users: int
    n_unknown_items: int
    n_seen: int

    @property
    def by_test(self) -> NDArray[np.int64]:
        """The order of `users` by their codes in the test set, which is the same for all models."""
        order: NDArray[np.int64] = np.argsort(self.test_users, kind="stable")
        return order


def check_users(users: Vocabulary, test: Interactions) -> NDArray[np.int32]:
    """Return the codes of the users of a test set, -1 of those that are unknown.

    Parameters
    ----------
    users : Vocabulary
        Of a model, or of what one is to be fitted to.
    test : Interactions

    Raises
    ------
    DataError
        If it has no rows, or no user that is known.
    """
    if not len(test):
        raise DataError("the test set has no rows, so there is nothing to evaluate on")
    codes: NDArray[np.int32] = users.codes(test.users.ids, missing="ignore")
    if not (codes[test.user_codes] >= 0).any():
        raise DataError(
            f"no user of the test set is in the model. Are these the ids that it was fitted with ({users.ids.type}, "
            f"such as {users.ids[0]}; the test set has {test.users.ids[0]})? Users that were held out whole are judged "
            "by what else is known of them: give that as fold_in=."
        )
    return codes


def held_out(model: Factors, test: Interactions) -> HeldOut:
    """Return a test set in the codes of a model.

    Raises
    ------
    DataError
        If it has no rows, or no user of the model.
    """
    users = check_users(model.users, test)[test.user_codes]
    items = model.items.codes(test.items.ids, missing="ignore")[test.item_codes]
    known_user = users >= 0
    # One key per (user, test item): what is relevant for ranking, each once, unknown items too.
    keys = _each_once(users[known_user].astype(np.int64) * test.n_items + test.item_codes[known_user])
    known, n_relevant = np.unique(keys // test.n_items, return_counts=True)
    test_users = np.empty(len(model.users), np.int32)
    test_users[users[known_user]] = test.user_codes[known_user]
    rows = np.flatnonzero(known_user & (items >= 0))
    places = np.searchsorted(known, users[rows])
    pairs = _each_once(places * len(model.items) + items[rows])
    counts = np.bincount(pairs // len(model.items), minlength=len(known))
    relevant = SeenItems(np.append(0, np.cumsum(counts)), (pairs % len(model.items)).astype(np.int32))
    users = known.astype(np.int32)
    return HeldOut(
        users=users,
        test_users=test_users[known],
        relevant=relevant,
        n_relevant=n_relevant.astype(np.int64),
        rows=rows,
        places=places,
        items=items[rows],
        n_unknown_users=int(np.count_nonzero(np.bincount(test.user_codes[~known_user]))),
        n_unknown_items=int(np.count_nonzero(known_user & (items < 0))),
        n_seen=_n_seen(model, users, relevant),
    )


def check_unseen(known: HeldOut, *, ranked: bool) -> None:
    """Warn of test pairs that are in the training data; if all are, and items are to be ranked, refuse that.

    What was seen is never recommended, so such a pair is always a miss.

    Raises
    ------
    DataError
        If every metric of ranking would be 0 for that reason alone.
    """
    n_pairs = len(known.relevant.indices)
    if known.n_seen <= _MOST_SEEN * n_pairs:
        return
    cure = (
        "Fit on one part of the data and judge by the other: see split. Of data with repeated pairs, count each once "
        "before that: interactions.aggregate()."
    )
    if known.n_seen == n_pairs and ranked:
        raise DataError(
            f"all {n_pairs:,} pairs of the test set are in the data that the model was fitted to, or that was folded "
            f"in, and what was seen is never recommended: every metric would be 0. {cure}"
        )
    warnings.warn(
        f"{known.n_seen:,} of the {n_pairs:,} pairs of the test set ({known.n_seen / n_pairs:.1%}) are in the data "
        "that the model was fitted to, or that was folded in: they count as misses where items are ranked, and flatter "
        f"rmse and mae. {cure}",
        SeenTestWarning,
        stacklevel=2,
    )


def warn_of_strangers(n_unknown: int, n_users: int) -> None:
    """Warn if most users of a test set are not in the model, as this may be by mistake."""
    if 2 * n_unknown > n_users:
        warnings.warn(
            f"{n_unknown:,} of the {n_users:,} users of the test set are not in the model and are left out. Are these "
            "the ids that it was fitted with? New users are judged by what else is known of them: fold_in=.",
            UnknownIdWarning,
            stacklevel=2,
        )


def _n_seen(model: Factors, users: NDArray[np.int32], asked: SeenItems) -> int:
    """Return how many of the items asked of some users they have in the training data."""
    found = 0
    for first in range(0, len(users), _USERS):
        part = np.arange(first, min(first + _USERS, len(users)), dtype=np.int32)
        seen, wanted = (_keys(each, len(model.items)) for each in (model.seen.rows(users[part]), asked.rows(part)))
        # Both ascend, so that each search is where the one before ended, in the cache.
        found += int(np.sum(np.searchsorted(seen, wanted, "right") - np.searchsorted(seen, wanted, "left")))
    return found


def _keys(lists: SeenItems, n_items: int) -> NDArray[np.int64]:
    """Return one number for each item of each row, ascending."""
    owners = np.repeat(np.arange(len(lists.indptr) - 1), np.diff(lists.indptr))
    keys: NDArray[np.int64] = owners * n_items + lists.indices
    return keys


def _each_once(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what ``np.unique`` returns for keys of at least 0; its hash table takes 15 times as long for millions."""
    ordered = np.sort(keys, kind="stable")
    distinct: NDArray[np.int64] = ordered[np.diff(ordered, prepend=-1) != 0]
    return distinct
