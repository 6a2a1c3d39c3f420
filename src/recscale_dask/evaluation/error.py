"""Rating metrics: how far scores are from the test values, ``metric(errors) -> float``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rmse(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(errors))))


def mae(errors: NDArray[np.float64]) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(errors)))
