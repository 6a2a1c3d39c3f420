"""Filters of singular values: how much of each singular vector a score keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import is_number
from recscale_dask.errors import OptionError

_Gains = Callable[[NDArray[np.float64], float], NDArray[np.float64]]


def _ridge(relative: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    squares = np.square(relative)
    gains: NDArray[np.float64] = squares / (squares + strength)
    return gains


def _power(relative: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    gains: NDArray[np.float64] = relative**strength
    return gains


FILTERS: dict[str, _Gains] = {"ridge": _ridge, "power": _power}
"""Names to gains, given singular values as fractions of the largest, above 0, and the strength.

``ridge``: ``s^2 / (s^2 + strength s1^2)``, which is what ridge regression of the items on themselves keeps of each
singular vector (Steck, 2019, without its constraint on the diagonal); ``power``: ``(s / s1)^strength``.
"""


@dataclass(frozen=True, slots=True)
class SpectralFilter:
    """A function of the singular values s that a score ``a V g(s) V'`` multiplies the singular vectors by.

    With no filter g is 1, and the rank alone decides: the ideal low-pass.

    Attributes
    ----------
    name : str or None
        One of `FILTERS`.
    strength : float or None
        Above 0; for ``power`` below 0 too.
    """

    name: str | None = None
    strength: float | None = None

    def check(self) -> None:
        """Raise an OptionError if there is no such filter, or its strength cannot be."""
        if self.name is None:
            if self.strength is not None:
                raise OptionError(
                    f"filter_strength={self.strength!r} is of no filter; name one of {', '.join(FILTERS)} with filter="
                )
            return
        if self.name not in FILTERS:
            raise OptionError(f"no filter is called {self.name!r}; there are: {', '.join(FILTERS)}, or None")
        strength: Any = self.strength
        if (
            not is_number(strength)
            or not np.isfinite(strength)
            or (strength <= 0 if self.name == "ridge" else strength == 0)
        ):
            rule = "above 0, such as 0.1" if self.name == "ridge" else "other than 0, such as 0.5"
            raise OptionError(f"filter={self.name!r} needs a filter_strength {rule}; got {strength!r}")

    def gains(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is kept of each singular vector; 0 where the singular value is.

        Parameters
        ----------
        values : ndarray of shape (rank,)
            Singular values, descending.
        """
        positive = values > 0
        gains = positive.astype(np.float64)
        if self.name is not None and positive.any():
            assert self.strength is not None
            gains[positive] = FILTERS[self.name](values[positive] / values[0], self.strength)
        return gains
