"""A training matrix and held-out interactions, from whatever a user passes: what advice and tuning judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recscale_dask.api.fitting import as_matrix
from recscale_dask.api.reading import read_interactions
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.evaluation.split import SPLITS, split
from recscale_dask.types import Aggregation

# The others need a number of rows, or leave users out whole, who are in no model.
_WAYS = tuple(each for each in SPLITS if each not in ("leave-k-out", "held-out-users"))


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What to fit on, and what to judge by.

    Attributes
    ----------
    matrix : UserItemMatrix
    test : Interactions
    """

    matrix: UserItemMatrix
    test: Interactions


def held_out(
    data: Any,
    test: Any,
    *,
    how: str,
    fraction: float,
    seed: int,
    duplicates: Aggregation = "sum",
) -> HeldOut:
    """Return the data as they are beside a test set that is given; else split them.

    Pairs of user and item are counted once before the split, so that none is on both sides.

    Parameters
    ----------
    data : what `factorize` takes
        Split in memory, if it is to be split.
    test : Interactions, what `read_interactions` takes, or None
    how, fraction, seed
        See `recscale_dask.split`, of whose ways there are all that need no more; only without a test set.
    duplicates : {"sum", "max", "last"}
        What becomes of several rows of one user and item.

    Raises
    ------
    OptionError
        If `how` is none of these ways.
    """
    if test is not None:
        return HeldOut(as_matrix(data, duplicates), test if isinstance(test, Interactions) else read_interactions(test))
    if how not in _WAYS:
        raise OptionError(f"how={how!r} is no way to hold out a part here; choose one of {', '.join(map(repr, _WAYS))}")
    rows = data.aggregate(duplicates) if isinstance(data, Interactions) else _interactions(as_matrix(data))
    as_named: Any = how
    share = None if how.startswith("leave") else fraction  # which takes rows of each user by number
    train, held = split(rows, as_named, fraction=share, seed=seed)
    return HeldOut(UserItemMatrix.from_interactions(train), held)


def some_users(test: Interactions, n_users: int | None, seed: int) -> Interactions:
    """Return the rows of at most so many users, drawn at random; which ones follows from the test set and the seed."""
    if n_users is None or n_users >= test.n_users:
        return test
    chosen = np.zeros(test.n_users, np.bool_)
    chosen[np.random.default_rng(seed).permutation(test.n_users)[:n_users]] = True
    return test.take(chosen[test.user_codes]).compact()


def _interactions(matrix: UserItemMatrix) -> Interactions:
    rows = matrix.to_scipy().tocoo()
    users, items = (np.asarray(each, np.int32) for each in (rows.row, rows.col))
    return Interactions(users, items, np.asarray(rows.data, np.float32), None, matrix.users, matrix.items)
