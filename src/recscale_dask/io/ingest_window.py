"""A window of time that interactions have to lie in."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.errors import DataError, OptionError

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Times from `since` up to, but not with, `until`.

    Attributes
    ----------
    since, until : int or None
        As `recscale_dask.data.columns.to_times` returns times.
    dates : bool
        Whether they were given as dates, and so the column has to hold dates.
    """

    since: int | None = None
    until: int | None = None
    dates: bool = False

    @classmethod
    def of(cls, since: Any, until: Any) -> Window:
        """Return the window between two bounds, each a number, a date, their text, or None.

        Raises
        ------
        OptionError
            If one is nothing of the kind, or they are of two kinds, or nothing lies between them.
        """
        bounds = {
            name: _bound(name, given) for name, given in (("since", since), ("until", until)) if given is not None
        }
        if len({dates for _, dates in bounds.values()}) > 1:
            raise OptionError(f"since={since!r} and until={until!r} have to be two numbers or two dates.")
        low, high = (bounds.get(name, (None, False))[0] for name in ("since", "until"))
        if low is not None and high is not None and low >= high:
            raise OptionError(f"nothing lies between since={since!r} and until={until!r}, which itself is left out.")
        return cls(low, high, any(dates for _, dates in bounds.values()))

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def holds(self, times: NDArray[np.int64], dates: bool, column: str) -> NDArray[np.bool_]:
        """Return which times lie in it.

        Raises
        ------
        DataError
            If the column holds dates and the window is of numbers, or the other way round.
        """
        if dates != self.dates:
            kinds = ("dates", "a date such as 2024-05-31") if dates else ("numbers", "a number in its unit")
            raise DataError(f"{column} holds {kinds[0]}: give since and until as {kinds[1]}.")
        inside = np.ones(len(times), np.bool_)
        if self.since is not None:
            inside &= times >= self.since
        if self.until is not None:
            inside &= times < self.until
        return inside


def _bound(name: str, given: Any) -> tuple[int, bool]:
    """Return a bound as an integer, and whether it is a date."""
    try:
        if isinstance(given, str):
            return _bound(name, _parsed(given))
        if isinstance(given, np.datetime64):
            return int(given.astype("datetime64[us]").astype(np.int64)), True
        if isinstance(given, datetime.datetime):
            aware = given if given.tzinfo else given.replace(tzinfo=datetime.UTC)
            return (aware - _EPOCH) // _MICROSECOND, True
        if isinstance(given, datetime.date):
            return _bound(name, datetime.datetime(given.year, given.month, given.day))
        if isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool):
            return math.ceil(given), False
    except (ValueError, OverflowError):
        pass
    raise OptionError(f"{name}={given!r} is neither a number nor a date such as '2024-05-31' or '2024-05-31T12:00'.")


def _parsed(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
