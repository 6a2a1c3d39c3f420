"""Rating metrics: how far scores are from the test values."""

from __future__ import annotations

import numpy as np

from recscale_dask.evaluation.metric import RatingMetric

rmse = RatingMetric(loss=np.square, finish=np.sqrt)
"""The root of the mean squared error."""

mae = RatingMetric(loss=np.abs)
"""The mean absolute error."""
