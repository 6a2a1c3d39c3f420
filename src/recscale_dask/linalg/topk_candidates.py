"""What may be recommended, prepared once for all rows that look for the best of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Factors to choose from, as `prepare_candidates` makes them.

    Attributes
    ----------
    factors : ndarray of float32, shape (n_candidates, rank)
        As given: scores are defined by these.
    """

    factors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.factors)


def prepare_candidates(factors: NDArray[np.float32]) -> Candidates:
    """Return candidates ready for any number of queries.

    Parameters
    ----------
    factors : ndarray of float32, shape (n_candidates, rank)
        Finite numbers.
    """
    factors = np.ascontiguousarray(factors, np.float32).view()
    factors.flags.writeable = False
    return Candidates(factors)
