"""What may be recommended to whom: ids and pairs as a caller gives them, in the codes of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, OptionError, UnknownIdError
from recscale_dask.model import Factors, SeenItems

Unknown = Literal["raise", "skip"]
"""What becomes of ids that the model has never seen: an error, or a warning and no more."""


def known_codes(vocabulary: Vocabulary, ids: Any, what: str, kind: str, unknown: Unknown) -> NDArray[np.int32]:
    """Return the code of each id; skipped ones have the code -1.

    Parameters
    ----------
    what : str
        Name of the argument that holds the ids, for messages.
    kind : str
        ``"user"`` or ``"item"``.

    Raises
    ------
    UnknownIdError
        If ids are unknown and `unknown` is ``"raise"``; it counts them and names the first.
    OptionError
        If `ids` is a single id or a mapping, or `unknown` is no choice.
    """
    if unknown not in ("raise", "skip"):
        raise OptionError(f"unknown={unknown!r} is not a choice; use 'raise' or 'skip'.")
    check_ids(ids, what)
    try:
        return vocabulary.codes(ids, missing="warn" if unknown == "skip" else "raise", kind=kind)
    except UnknownIdError as problem:
        raise UnknownIdError(f"{what}: {problem} Or skip them, with unknown='skip' (--skip-unknown).") from problem


def check_ids(ids: Any, what: str) -> None:
    """Raise an OptionError if ids are a single id or a mapping."""
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise OptionError(f"{what} must be a list of ids; got the single id {ids!r}. Write [{ids!r}].")
    if isinstance(ids, Mapping):
        raise OptionError(f"{what} must be a list of ids, or a frame of users and items; got a {type(ids).__name__}.")


def chosen_users(model: Factors, ids: Any, unknown: Unknown) -> NDArray[np.int32]:
    """Return the codes of the users asked for, in their order; of all if `ids` is None.

    Raises
    ------
    UnknownIdError, OptionError
        See `known_codes`.
    DataError
        If a user is there twice.
    """
    if ids is None:
        return np.arange(len(model.users), dtype=np.int32)
    codes = known_codes(model.users, ids, "users", "user", unknown)
    codes = codes[codes >= 0]
    distinct, counts = np.unique(codes, return_counts=True)
    twice = distinct[counts > 1]
    if len(twice):
        shown = ", ".join(map(str, model.users.take(twice[:5]).to_pylist())) + (", ..." if len(twice) > 5 else "")
        which = f"{len(twice)} user{'s' if len(twice) > 1 else ''}"
        raise DataError(f"users names {which} more than once: {shown}. Give each user once.")
    return codes


def candidate_codes(
    model: Factors, allow: NDArray[np.int32] | None, deny: NDArray[np.int32] | None
) -> NDArray[np.int32] | None:
    """Return the codes of the items that are allowed to all and denied to none, ascending; None is all."""
    if allow is None and deny is None:
        return None
    allowed = np.full(len(model.items), allow is None)
    if allow is not None:
        allowed[allow[allow >= 0]] = True
    if deny is not None:
        allowed[deny[deny >= 0]] = False
    return np.flatnonzero(allowed).astype(np.int32)


def lists_of_users(
    model: Factors, pairs: Interactions, users: NDArray[np.int32], what: str, unknown: Unknown
) -> SeenItems:
    """Return the items that pairs name for each of some users, ascending; none for users that they do not name.

    Raises
    ------
    UnknownIdError
        If a user or item of the pairs is unknown and `unknown` is ``"raise"``.
    DataError
        If there are pairs, and none of them has a user and an item of the model.
    """
    user_codes = known_codes(model.users, pairs.users.ids, what, "user", unknown)[pairs.user_codes]
    item_codes = known_codes(model.items, pairs.items.ids, what, "item", unknown)[pairs.item_codes]
    known = (user_codes >= 0) & (item_codes >= 0)
    if len(pairs) and not known.any():
        raise DataError(
            f"{what} does not belong to this model: none of its {len(pairs)} pairs has a user and an item of the "
            f"model. Are these the ids that it was fitted with ({_example(model.users)}, {_example(model.items)})?"
        )
    place = np.full(len(model.users), -1, np.int32)
    place[users] = np.arange(len(users), dtype=np.int32)
    rows = place[user_codes[known]]
    return as_lists(rows[rows >= 0], item_codes[known][rows >= 0], len(users), len(model.items))


def as_lists(rows: NDArray[Any], items: NDArray[np.int32], n_rows: int, n_items: int) -> SeenItems:
    """Return the items of each row, ascending and each once, as CSR structure."""
    keys = np.unique(rows.astype(np.int64) * max(1, n_items) + items)
    owners, codes = np.divmod(keys, max(1, n_items))
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=n_rows), out=indptr[1:])
    return SeenItems(indptr, codes.astype(np.int32))


def merged(left: SeenItems | None, right: SeenItems | None, n_items: int) -> SeenItems | None:
    """Return the items that each row has in one of two structures, ascending and each once."""
    if left is None or right is None:
        return right if left is None else left
    rows = np.concatenate([np.repeat(np.arange(len(each.indptr) - 1), np.diff(each.indptr)) for each in (left, right)])
    return as_lists(rows, np.concatenate([left.indices, right.indices]), len(left.indptr) - 1, n_items)


def among(lists: SeenItems | None, candidates: NDArray[np.int32] | None, n_items: int) -> SeenItems | None:
    """Return item codes as positions among ascending candidates, without those that are none."""
    if lists is None or candidates is None:
        return lists
    positions = np.full(n_items, -1, np.int32)
    positions[candidates] = np.arange(len(candidates), dtype=np.int32)
    found = positions[lists.indices]
    kept = np.concatenate([[0], np.cumsum(found >= 0)])
    return SeenItems(kept[lists.indptr], found[found >= 0])


def _example(vocabulary: Vocabulary) -> str:
    return f"{vocabulary.ids.type}, such as {vocabulary.ids[0]}" if len(vocabulary) else "none"
