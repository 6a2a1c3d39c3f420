"""The rows of each user: in which order they are held out, and which users are held out whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.data.interactions import Interactions, stable_order
from recscale_dask.errors import DataError, OptionError


def places(ordered: Interactions, *, by_time: bool, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each row how many rows of its user are held out before it, and how many rows its user has.

    Parameters
    ----------
    ordered : Interactions
        Sorted, so that what is random does not depend on the order of the input.
    by_time : bool
        The latest row first, of equal times at random; otherwise in random order.
    seed : int
    """
    users = ordered.user_codes
    by_key = order_in_time(ordered, by_time=by_time, seed=seed)
    by_user = by_key[stable_order(users[by_key].astype(np.int64))]
    sizes = np.bincount(users)
    last = np.empty(len(ordered), np.int64)
    last[by_user] = np.cumsum(sizes)[users[by_user]] - 1 - np.arange(len(ordered))
    return last, sizes[users]


def order_in_time(ordered: Interactions, *, by_time: bool, seed: int) -> NDArray[np.intp]:
    """Return the order of rows by their times, those of equal times (or all, without `by_time`) at random.

    Ids must not decide: catalogues number new items last, so that a test set cut by them would be of other items.
    """
    order = stable_order(np.random.default_rng(seed).permutation(len(ordered)))
    if not by_time:
        return order
    assert ordered.times is not None
    by_key: NDArray[np.intp] = order[stable_order(ordered.times[order])]
    return by_key


def chosen(ordered: Interactions, users: float, seed: int) -> NDArray[np.bool_]:
    """Return which users are held out, shape (n_users,): a number or a share of all, of those with two rows or more.

    Raises
    ------
    OptionError
        If `users` is neither a whole number of at least 1 nor a share above 0 and below 1.
    DataError
        If there are not so many.
    """
    share = isinstance(users, float | np.floating)
    if share and not 0 < users < 1:
        raise OptionError(f"users must be a whole number, or a share above 0 and below 1; got {users}. Try 0.1.")
    sizes = np.bincount(ordered.user_codes, minlength=ordered.n_users)
    occurring = int(np.count_nonzero(sizes))
    wanted = max(1, round(users * occurring)) if share else whole_number(users, "users")
    candidates = np.flatnonzero(sizes > 1)
    if wanted > len(candidates) or wanted >= occurring:
        raise DataError(
            f"{wanted} users cannot be held out: {len(candidates)} of {occurring} have two interactions or more, and "
            "one user at least must stay in training. Hold out fewer with users=."
        )
    held_out = np.zeros(ordered.n_users, bool)
    # Another stream than that of the rows of a user, which has the seed alone.
    held_out[np.random.default_rng([seed, 1]).choice(candidates, wanted, replace=False)] = True
    return held_out
