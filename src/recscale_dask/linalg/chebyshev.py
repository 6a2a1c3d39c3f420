"""Chebyshev filters: polynomials of an operator that set its largest eigenvalues apart from all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEGREES = (4, 3, 2)


@dataclass(frozen=True, slots=True)
class ChebyshevFilter:
    """``T_d(2 G / edge - 1)`` for an operator G whose eigenvalues are not negative.

    Between -1 and 1 where an eigenvalue of G is below `edge`, and growing as fast as a polynomial of that degree can
    above it (Zhou and Saad, 2007). The eigenvectors are those of G, in the same order above the edge. A Krylov
    space of the filter costs `degree` products per vector instead of one, and needs fewer vectors: that is cheaper
    where algebra with vectors, and not the operator, takes the time.

    Attributes
    ----------
    degree : int
        d, at least 2.
    edge : float
        Below the smallest eigenvalue that is wanted.
    """

    degree: int
    edge: float

    def __call__(self, product: Callable[[NDArray[Any]], NDArray[Any]], block: NDArray[Any]) -> NDArray[Any]:
        """Return the filter times a block of shape (n, width), in `degree` products with G."""
        before, now = block, product(block)
        now *= now.dtype.type(2 / self.edge)
        now -= block
        for _ in range(self.degree - 1):
            following = product(now)
            following *= following.dtype.type(4 / self.edge)
            following -= now
            following -= now
            following -= before
            before, now = now, following
        return now

    def values(self, eigenvalues: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the eigenvalues of the filter for some of G that are not below the edge."""
        return np.asarray(np.cosh(self.degree * np.arccosh(np.maximum(2 * np.asarray(eigenvalues) / self.edge - 1, 1))))

    def relative_residuals(self, values: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return bounds of ``|G v - lambda v| / lambda``, given eigenvalues of the filter and residuals of pairs.

        What is left in v of eigenvectors below the edge is divided by at least ``value - 1``, where G would have
        divided by at most lambda. Nothing is known of a value that is not above 1: infinite.
        """
        above = values > 1
        return np.where(above, residuals / np.where(above, values - 1, 1.0), np.inf)


def sharpest_filter(
    edge: float, wanted: float, largest: float, *, degree: int, allowed: float
) -> ChebyshevFilter | None:
    """Return the filter of the highest degree whose rounding is small enough; None if there is none.

    Parameters
    ----------
    edge : float
    wanted, largest : float
        Smallest eigenvalue that is wanted, and largest of all, about.
    degree : int
        Highest to consider.
    allowed : float
        Largest ratio of the filter's largest value to what the smallest wanted one has above 1.
    """
    if not 0 < edge < wanted <= largest:
        return None
    for each in _DEGREES:
        candidate = ChebyshevFilter(each, edge)
        if each <= degree and candidate.values(largest) <= allowed * (candidate.values(wanted) - 1):
            return candidate
    return None
