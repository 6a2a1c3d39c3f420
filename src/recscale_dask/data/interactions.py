"""Interactions: rows of user, item, value and time, checked once at the door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recscale_dask.data.columns import Cells, to_times, to_values
from recscale_dask.data.vocabulary import Vocabulary, decoded
from recscale_dask.errors import DataError, OptionError
from recscale_dask.types import Aggregation, Codes, IntArray

AGGREGATIONS = get_args(Aggregation)

_MANY_ROWS = 1 << 17  # from here on sorting takes longer than getting ready for sorting faster


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Rows of who, what, how much and when, in the codes of two vocabularies.

    Attributes
    ----------
    user_codes, item_codes : ndarray of shape (n,), int32
    values : ndarray of shape (n,), float32, or None
        None means that every row counts 1. Always finite.
    times : ndarray of shape (n,), int64, or None
        Microseconds since 1970 where the input held dates or timestamps, else the numbers as they were.
    users, items : Vocabulary
    """

    user_codes: Codes
    item_codes: Codes
    values: NDArray[np.float32] | None
    times: NDArray[np.int64] | None
    users: Vocabulary
    items: Vocabulary

    @classmethod
    def from_arrow(
        cls, table: pa.Table, *, user: str, item: str, value: str | None = None, time: str | None = None
    ) -> Interactions:
        """Return the interactions in these columns of an Arrow table.

        Parameters
        ----------
        table : pyarrow.Table
        user, item : str
            Columns of ids: integers, strings, UUIDs or fixed-size binary, kept exactly.
        value : str, optional
            Column of finite numbers (or their text), kept as float32; without one every row counts 1.
        time : str, optional
            Column of integers, floats (rounded down), dates, timestamps, or their text.

        Raises
        ------
        DataError
            If the table is empty, a column is not there, or a cell is null, not finite or not a number;
            the message names the row and the column.
        """
        _require([each for each in (user, item, value, time) if each is not None], table)
        if not table.num_rows:
            raise DataError("there are no interactions: the table has columns but not one row.")
        users, user_codes = _encoded(table[user], f"user column {user!r}")
        items, item_codes = _encoded(table[item], f"item column {item!r}")
        values = None if value is None else to_values(decoded(table[value]), Cells(f"value column {value!r}"))
        times = None if time is None else to_times(decoded(table[time]), Cells(f"time column {time!r}"))[0]
        return cls(user_codes, item_codes, values, times, users, items)

    def __repr__(self) -> str:
        extra = "".join(f", {name}" for name in ("values", "times") if getattr(self, name) is not None)
        return f"Interactions({len(self)} rows, {self.n_users} users, {self.n_items} items{extra})"

    def __len__(self) -> int:
        return len(self.user_codes)

    @property
    def n_users(self) -> int:
        """Number of users in the vocabulary."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the vocabulary."""
        return len(self.items)

    def take(self, rows: IntArray | NDArray[np.bool_]) -> Interactions:
        """Return some rows with the same vocabularies.

        Parameters
        ----------
        rows : ndarray of int or bool
            Their numbers, or a mask of shape (n_rows,).
        """
        return replace(
            self,
            user_codes=self.user_codes[rows],
            item_codes=self.item_codes[rows],
            values=None if self.values is None else self.values[rows],
            times=None if self.times is None else self.times[rows],
        )

    def compact(self) -> Interactions:
        """Return the same rows with vocabularies that hold only the ids that occur in them."""
        users, user_codes = _compacted(self.users, self.user_codes)
        items, item_codes = _compacted(self.items, self.item_codes)
        return replace(self, user_codes=user_codes, item_codes=item_codes, users=users, items=items)

    def aggregate(self, how: Aggregation = "sum") -> Interactions:
        """Return each (user, item) pair once, sorted by user and then item.

        Parameters
        ----------
        how : {"sum", "max", "last"}
            What becomes of the values of a repeated pair: their sum (the default; added in float64), the
            largest, or the latest by time (by position where there are no times). Without values, "sum"
            counts the rows. Only "last" without times depends on the order of the rows.

        Returns
        -------
        Interactions
            The time of a pair is its latest. Values stay None where no pair repeats or nothing is summed.

        Raises
        ------
        OptionError
            If `how` is not one of the three.
        DataError
            If a sum is too large for float32.
        """
        if how not in AGGREGATIONS:
            raise OptionError(f"how={how!r} is not a way to aggregate; choose one of {', '.join(AGGREGATIONS)}.")
        by_position = how == "last" and self.times is None
        ordered = self.take(self._order()) if by_position else self.sorted()
        firsts = np.flatnonzero(np.diff(ordered._pairs(), prepend=-1))
        if len(firsts) == len(ordered):
            return ordered
        result = ordered.take(np.append(firsts[1:], len(ordered)) - 1)
        if how == "sum":
            result = replace(result, values=_sums(ordered, firsts))
        elif how == "max" and ordered.values is not None:
            result = replace(result, values=np.maximum.reduceat(ordered.values, firsts))
        return result

    def sorted(self) -> Interactions:
        """Return the rows by user, item, time and value: an order that follows from the rows alone."""
        return self.take(self._order(self.times, self.values))

    def to_arrow(self, names: Sequence[str] = ("user", "item", "value", "time")) -> pa.Table:
        """Return a pyarrow.Table of the original ids; value and time only where there are any.

        Parameters
        ----------
        names : sequence of str
            Of the four columns.
        """
        columns = [
            self.users.take(self.user_codes),
            self.items.take(self.item_codes),
            self.values,
            self.times,
        ]
        return pa.table({name: each for name, each in zip(names, columns, strict=True) if each is not None})

    def _pairs(self) -> NDArray[np.int64]:
        return self.user_codes.astype(np.int64) * max(self.n_items, 1) + self.item_codes

    def _order(self, *ties: NDArray[Any] | None) -> NDArray[np.int64]:
        """Return the rows by pair; rows of one pair by `ties`, else as they are."""
        pairs = self._pairs()
        order = stable_order(pairs)
        same = np.diff(pairs[order]) == 0
        tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
        rows = order[tied]  # sorting these alone takes a fraction of sorting all by three keys
        keys = [key[rows] for key in ties if key is not None]
        order[tied] = rows[np.lexsort([*reversed(keys), pairs[rows]])]
        return order


def stable_order(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return what ``np.argsort(keys, kind="stable")`` returns, faster where there are many."""
    if len(keys) < _MANY_ROWS:
        return np.argsort(keys, kind="stable")
    from recscale_dask.data import sorting  # here, as a compiler takes longer to import than this to sort

    return sorting.stable_order(keys)


def _require(names: Sequence[str], table: pa.Table) -> None:
    for name in names:
        if table.column_names.count(name) != 1:
            found = "more than one column" if name in table.column_names else "no column"
            raise DataError(f"there is {found} {name!r}; the columns are {', '.join(table.column_names)}.")


def _encoded(column: pa.ChunkedArray, what: str) -> tuple[Vocabulary, Codes]:
    Cells(what).refuse(pc.is_null(column), "no id", "Fill it in, or drop such rows")
    try:
        return Vocabulary.from_ids(column)
    except DataError as problem:
        raise DataError(f"{what}: {problem}") from problem


def _compacted(vocabulary: Vocabulary, codes: Codes) -> tuple[Vocabulary, Codes]:
    used = np.bincount(codes, minlength=len(vocabulary)) > 0
    renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return Vocabulary(vocabulary.take(np.flatnonzero(used))), renumbered[codes]


def _sums(ordered: Interactions, firsts: NDArray[np.intp]) -> NDArray[np.float32]:
    if ordered.values is None:
        return np.diff(firsts, append=len(ordered)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        sums: NDArray[np.float32] = np.add.reduceat(ordered.values.astype(np.float64), firsts).astype(np.float32)
    if not np.isfinite(sums).all():
        pair = ordered.take(firsts[~np.isfinite(sums)][:1]).to_arrow().to_pylist()[0]
        raise DataError(
            f"the values of user {pair['user']!r} and item {pair['item']!r} add up to more than float32 "
            "holds. Scale the values down, or use how='max'."
        )
    return sums
