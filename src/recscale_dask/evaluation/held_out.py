"""A test set in the codes of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError
from recscale_dask.model import Factors, SeenItems


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

    @property
    def by_test(self) -> NDArray[np.int64]:
        """The order of `users` by their codes in the test set, which is the same for all models."""
        order: NDArray[np.int64] = np.argsort(self.test_users, kind="stable")
        return order


def held_out(model: Factors, test: Interactions) -> HeldOut:
    """Return a test set in the codes of a model.

    Raises
    ------
    DataError
        If it has no rows, or no user of the model.
    """
    if not len(test):
        raise DataError("the test set has no rows, so there is nothing to evaluate on")
    users = model.users.codes(test.users.ids, missing="ignore")[test.user_codes]
    items = model.items.codes(test.items.ids, missing="ignore")[test.item_codes]
    known_user = users >= 0
    if not known_user.any():
        raise DataError(
            "no user of the test set is in the model. Are these the ids that it was fitted with "
            f"({model.users.ids.type}, such as {model.users.ids[0]}; the test set has {test.users.ids[0]})?"
        )
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
    return HeldOut(
        users=known.astype(np.int32),
        test_users=test_users[known],
        relevant=relevant,
        n_relevant=n_relevant.astype(np.int64),
        rows=rows,
        places=places,
        items=items[rows],
        n_unknown_users=int(np.count_nonzero(np.bincount(test.user_codes[~known_user]))),
        n_unknown_items=int(np.count_nonzero(known_user & (items < 0))),
    )


def _each_once(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what ``np.unique`` returns for keys of at least 0; its hash table takes 15 times as long for millions."""
    ordered = np.sort(keys, kind="stable")
    distinct: NDArray[np.int64] = ordered[np.diff(ordered, prepend=-1) != 0]
    return distinct
