"""Moving rows of interactions: into groups of users, and out of a matrix that has too few of them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count_groups(users: Any, codes: Any, first: Any, group_of_user: Any, counts: Any) -> None:
    """Replace the number of each row's user by its code, and count the rows of each group."""
    for row in range(len(users)):
        code = codes[users[row] - first]
        users[row] = code
        counts[group_of_user[code]] += 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def place_rows(users: Any, group_of_user: Any, places: Any, destinations: Any) -> None:
    """Write where each row goes, in their order within a group; `places` begin as those of each group's first row."""
    for row in range(len(users)):
        group = group_of_user[users[row]]
        destinations[row] = places[group]
        places[group] += 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def move(column: Any, destinations: Any, moved: Any) -> None:
    """Write each row of a column to its destination."""
    for row in range(len(column)):
        moved[destinations[row]] = column[row]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def move_coded(column: Any, codes: Any, first: Any, destinations: Any, moved: Any) -> None:
    """Write the code of each row of a column to its destination."""
    for row in range(len(column)):
        moved[destinations[row]] = codes[column[row] - first]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def prune(indptr: Any, items: Any, least: Any, users_kept: Any, items_kept: Any, item_counts: Any) -> None:
    """Drop users with fewer than `least` of the items that are kept, and count the items of the others."""
    for user in range(len(indptr) - 1):
        if users_kept[user]:
            kept = 0
            for place in range(indptr[user], indptr[user + 1]):
                kept += items_kept[items[place]]
            if kept < least:
                users_kept[user] = False
            else:
                for place in range(indptr[user], indptr[user + 1]):
                    item_counts[items[place]] += items_kept[items[place]]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def kept_values(
    indptr: Any, items: Any, values: Any, users_kept: Any, new_codes: Any, counts: Any, new_items: Any, new_values: Any
) -> Any:
    """Write the values of users and items that are kept, with their new codes (-1: not kept); return how many."""
    n = 0
    for user in range(len(indptr) - 1):
        before = n
        if users_kept[user]:
            for place in range(indptr[user], indptr[user + 1]):
                code = new_codes[items[place]]
                if code >= 0:
                    new_items[n] = code
                    new_values[n] = values[place]
                    n += 1
        counts[user] = n - before
    return np.int64(n)
