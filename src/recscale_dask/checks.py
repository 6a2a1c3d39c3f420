"""Checks of options that many places share."""

from __future__ import annotations

from typing import Any

import numpy as np

from recscale_dask.errors import OptionError


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: scalars of NumPy, also in dictionaries, as Python's."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def is_number(value: Any) -> bool:
    """Return whether a value is a number; truth values are none."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def whole_number(value: Any, name: str, *, at_least: int = 1, hint: str = "") -> int:
    """Return a whole number as an int; an error ends with `hint`.

    Raises
    ------
    OptionError
        If it is something else, or below `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise OptionError(f"{name} must be a whole number of at least {at_least}; got {name}={value!r}{hint}")
    return int(value)
