"""Held-out sets: which interactions to fit on, and which to judge by."""

from __future__ import annotations

from typing import Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number, whole_number
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError
from recscale_dask.evaluation.rows_of_users import chosen, order_in_time, places

How: TypeAlias = Literal["random", "temporal", "leave-one-out", "leave-k-out", "per-user-random", "per-user-temporal"]
By: TypeAlias = Literal["time", "random"]
SPLITS = (
    "random",
    "temporal",
    "leave-one-out",
    "leave-k-out",
    "per-user-random",
    "per-user-temporal",
    "held-out-users",
)


@overload
def split(
    interactions: Interactions,
    how: How = ...,
    *,
    fraction: float | None = ...,
    k: int | None = ...,
    by: By | None = ...,
    users: float | None = ...,
    seed: int = ...,
) -> tuple[Interactions, Interactions]: ...


@overload
def split(
    interactions: Interactions,
    how: Literal["held-out-users"],
    *,
    fraction: float | None = ...,
    k: int | None = ...,
    by: By | None = ...,
    users: float | None = ...,
    seed: int = ...,
) -> tuple[Interactions, Interactions, Interactions]: ...


def split(
    interactions: Interactions,
    how: How | Literal["held-out-users"] = "random",
    *,
    fraction: float | None = None,
    k: int | None = None,
    by: By | None = None,
    users: float | None = None,
    seed: int = 0,
) -> tuple[Interactions, ...]:
    """Return a training set and a test set; together they hold every row once.

    Parameters
    ----------
    interactions : Interactions
    how : str
        ``random``
            Rows at random, but one row of each user always stays in training.
        ``temporal``
            The latest rows are the test set, over all users.
        ``leave-one-out``
            The last row of each user by time (a random one where there are no times).
        ``leave-k-out``
            `k` rows of each user that has more: the latest, or at random.
        ``per-user-random``, ``per-user-temporal``
            A fraction of the rows of each user, rounded: at random, or the latest. One always stays in training.
        ``held-out-users``
            Some users whole (strong generalisation; Marlin, 2004): of their rows, a fraction (at least one) is the test
            set, and the others (at least one) are to be folded in.
    fraction : float, optional
        Share of the rows to test on, above 0 and below 1; by default 0.2. Not of ``leave-...``. A random split
        tests on fewer rows where each user's row in training leaves too few.
    k : int, optional
        Of ``leave-k-out``.
    by : {"time", "random"}, optional
        Which rows of a user ``leave-k-out`` and ``held-out-users`` test on: the latest, or any; by default the
        latest where there are times.
    users : int or float, optional
        How many users, or which share of them, ``held-out-users`` holds out; by default a tenth. Users with one row
        are not among them.
    seed : int
        Of what is random, which of several rows of the same time are the latest too.

    Returns
    -------
    train, test : Interactions
        Sorted by user, item, time and value. Each with the vocabularies of what occurs in it, so that a
        model fitted on `train` knows no user or item without interactions. The rows of either do not depend
        on the order of the rows given. With ``held-out-users``, three: train, fold_in, test.

    Raises
    ------
    OptionError
        If `how` is none of these, an option is out of its range, or it has no meaning for `how`.
    DataError
        If these are no interactions, times are needed and there are none, or a set would be empty.
    """
    if not isinstance(interactions, Interactions):
        raise DataError(
            f"split takes Interactions; got a {type(interactions).__name__}. Read it first: rs.read_interactions(...)."
        )
    if how not in SPLITS:
        raise OptionError(f"how={how!r} is not a way to split; choose one of {', '.join(SPLITS)}.")
    _check("fraction", fraction, how, tuple(each for each in SPLITS if not each.startswith("leave")))
    fraction = 0.2 if fraction is None else fraction
    if not is_number(fraction) or not 0 < fraction < 1:
        raise OptionError(f"fraction must be above 0 and below 1; got fraction={fraction!r}. Try 0.2.")
    whole_number(seed, "seed", at_least=0)
    _check("k", k, how, ("leave-k-out",))
    if k is None and how == "leave-k-out":
        raise OptionError("how='leave-k-out' needs k, such as k=1")
    _check("by", by, how, ("leave-k-out", "held-out-users"))
    _check("users", users, how, ("held-out-users",))
    if by not in (None, "time", "random"):
        raise OptionError(f"by={by!r} is not a choice; use 'time' or 'random'.")
    ordered = interactions.sorted()  # so that no set depends on the order of the rows
    if ordered.times is None and (how.endswith("temporal") or by == "time"):
        raise DataError(f"how={how!r} needs times and there are none; read them with time=, or split at random.")
    by_time = ordered.times is not None and by != "random" and how != "per-user-random"
    if how == "held-out-users":
        return _of_users(ordered, fraction, by_time, 0.1 if users is None else users, seed)
    if how == "random":
        held_out = _random(ordered, round(fraction * len(ordered)), seed)
    elif how == "temporal":
        held_out = _latest(ordered, round(fraction * len(ordered)), seed)
    else:
        last, sizes = places(ordered, by_time=by_time, seed=seed)
        if how.startswith("leave"):
            left = 1 if how == "leave-one-out" else whole_number(k, "k")
            held_out = (last < left) & (sizes > left)
        else:
            held_out = last < np.minimum(_share(fraction, sizes), sizes - 1)
    return _parts(ordered, how, {"training": ~held_out, "test": held_out})


def _check(name: str, value: object, how: str, of: tuple[str, ...]) -> None:
    if value is not None and how not in of:
        raise OptionError(
            f"{name} is an option of how={' and how='.join(map(repr, of))}; got {name}={value!r} for {how!r}"
        )


def _share(fraction: float, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return fractions of numbers of rows, rounded, halves up."""
    rounded: NDArray[np.int64] = np.floor(fraction * sizes + 0.5).astype(np.int64)
    return rounded


def _of_users(
    ordered: Interactions, fraction: float, by_time: bool, users: float, seed: int
) -> tuple[Interactions, ...]:
    outside = chosen(ordered, users, seed)[ordered.user_codes]
    last, sizes = places(ordered, by_time=by_time, seed=seed)
    tested = outside & (last < np.clip(_share(fraction, sizes), 1, sizes - 1))
    return _parts(ordered, "held-out-users", {"training": ~outside, "fold-in": outside & ~tested, "test": tested})


def _parts(ordered: Interactions, how: str, parts: dict[str, NDArray[np.bool_]]) -> tuple[Interactions, ...]:
    for name, rows in parts.items():
        if not rows.any():
            raise DataError(
                f"how={how!r} leaves the {name} set empty ({len(ordered)} interactions of {ordered.n_users} users). "
                "Give more interactions, or choose another way or fraction."
            )
    return tuple(ordered.take(rows).compact() for rows in parts.values())


def _random(ordered: Interactions, wanted: int, seed: int) -> NDArray[np.bool_]:
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    _, kept = np.unique(ordered.user_codes[shuffled], return_index=True)  # each user's first in the shuffle
    held_out = np.zeros(len(ordered), dtype=bool)
    held_out[np.delete(shuffled, kept)[:wanted]] = True
    return held_out


def _latest(ordered: Interactions, wanted: int, seed: int) -> NDArray[np.bool_]:
    held_out = np.zeros(len(ordered), dtype=bool)
    held_out[order_in_time(ordered, by_time=True, seed=seed)[len(ordered) - wanted :]] = True
    return held_out
