"""Held-out sets: which interactions to fit on, and which to judge by."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError

SPLITS = ("random", "temporal", "leave-one-out")


def split(
    interactions: Interactions,
    how: Literal["random", "temporal", "leave-one-out"] = "random",
    *,
    fraction: float = 0.2,
    seed: int = 0,
) -> tuple[Interactions, Interactions]:
    """Return a training set and a test set; together they hold every row once.

    Parameters
    ----------
    interactions : Interactions
    how : {"random", "temporal", "leave-one-out"}
        ``random``: rows at random, but one row of each user always stays in training. ``temporal``: the
        latest rows are the test set, over all users. ``leave-one-out``: the last row of each user by time
        (a random one where there are no times); a user with one row stays in training.
    fraction : float
        Share of the rows to test on, above 0 and below 1; not used by ``leave-one-out``. A random split
        tests on fewer rows where each user's row in training leaves too few.
    seed : int
        Of what is random.

    Returns
    -------
    train, test : Interactions
        Sorted by user, item, time and value. Each with the vocabularies of what occurs in it, so that a
        model fitted on `train` knows no user or item without interactions. The rows of either do not depend
        on the order of the rows given.

    Raises
    ------
    OptionError
        If `how` is none of these, or `fraction` is not between 0 and 1.
    DataError
        If times are needed and there are none, or either set would be empty.
    """
    if how not in SPLITS:
        raise OptionError(f"how={how!r} is not a way to split; choose one of {', '.join(SPLITS)}.")
    if not 0 < fraction < 1:
        raise OptionError(f"fraction must be above 0 and below 1; got {fraction}. Try 0.2.")
    ordered = interactions.sorted()  # so that neither set depends on the order of the rows
    wanted = round(fraction * len(ordered))
    if how == "random":
        held_out = _random(ordered, wanted, seed)
    elif how == "temporal":
        held_out = _latest(ordered, wanted)
    else:
        held_out = _last_of_each_user(ordered, seed)
    if held_out.all() or not held_out.any():
        empty = "training" if held_out.all() else "test"
        raise DataError(
            f"how={how!r} leaves the {empty} set empty ({len(ordered)} interactions of {ordered.n_users} users). "
            "Give more interactions, or choose another way or fraction."
        )
    return ordered.take(~held_out).compact(), ordered.take(held_out).compact()


def _random(ordered: Interactions, wanted: int, seed: int) -> NDArray[np.bool_]:
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    _, kept = np.unique(ordered.user_codes[shuffled], return_index=True)  # each user's first in the shuffle
    held_out = np.zeros(len(ordered), dtype=bool)
    held_out[np.delete(shuffled, kept)[:wanted]] = True
    return held_out


def _latest(ordered: Interactions, wanted: int) -> NDArray[np.bool_]:
    if ordered.times is None:
        raise DataError("a temporal split needs times and there are none; read them with time=, or use 'random'.")
    by_time = np.argsort(ordered.times, kind="stable")
    held_out = np.zeros(len(ordered), dtype=bool)
    held_out[by_time[len(ordered) - wanted :]] = True
    return held_out


def _last_of_each_user(ordered: Interactions, seed: int) -> NDArray[np.bool_]:
    times = ordered.times
    if times is None:
        times = np.random.default_rng(seed).permutation(len(ordered))
    by_user = np.lexsort((times, ordered.user_codes))
    users = ordered.user_codes[by_user]
    is_last = np.append(users[1:] != users[:-1], True)
    is_first = np.insert(users[1:] != users[:-1], 0, True)
    held_out = np.zeros(len(ordered), dtype=bool)
    held_out[by_user[is_last & ~is_first]] = True
    return held_out
