"""Bootstrap over users: how far a mean would move with other users of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recscale_dask.checks import whole_number
from recscale_dask.errors import OptionError
from recscale_dask.evaluation.metric import as_it_is
from recscale_dask.execution.portable import single_threaded_blas

LEVEL = 0.95
REPLICATES = 1000

_GROUPS = 1 << 14  # more users are drawn in so many random groups; the sums of groups scatter as those of users do
_DRAWN = 1 << 21  # draws at a time


class Interval(NamedTuple):
    """Two ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class UserSums:
    """A metric as a ratio of sums over users: ``finish(sum(numerator) / sum(denominator))``.

    Attributes
    ----------
    numerator, denominator : ndarray of float64, shape (n_users,)
        Of a ranking metric its values and ones; of a rating metric sums of losses and numbers of test rows.
    finish : callable
        See `recscale_dask.evaluation.metric.RatingMetric`.
    """

    numerator: NDArray[np.float64]
    denominator: NDArray[np.float64]
    finish: Callable[[Any], Any] = as_it_is

    @property
    def value(self) -> float:
        """The metric; NaN if no user counts."""
        rows = float(self.denominator.sum())
        return float(self.finish(self.numerator.sum() / rows)) if rows else float("nan")


def resample(sums: Sequence[UserSums], *, replicates: int, seed: int) -> NDArray[np.float64]:
    """Return metrics of samples of users, drawn with replacement: the same samples for all metrics.

    So the differences of two columns are those of two models over the same users. (Efron, "Bootstrap methods", Annals
    of Statistics 1979.)

    Parameters
    ----------
    sums : sequence of UserSums
        At least one, all of the same users in the same order.
    replicates : int
        Number of samples.
    seed : int

    Returns
    -------
    ndarray of float64, shape (replicates, len(sums))
        NaN where a sample has no user that counts.

    Raises
    ------
    OptionError
        If `replicates` is below 1.
    """
    replicates = whole_number(replicates, "replicates")
    rng = np.random.default_rng(seed)
    columns = np.stack([*(each.numerator for each in sums), *(each.denominator for each in sums)], axis=1)
    if len(columns) > _GROUPS:
        group = rng.permutation(len(columns)) % _GROUPS
        columns = np.stack([np.bincount(group, column, _GROUPS) for column in columns.T], axis=1)
    n = len(columns)
    totals = np.empty((replicates, columns.shape[1]))
    height = max(1, _DRAWN // n)
    with single_threaded_blas():
        for start in range(0, replicates, height):
            part = totals[start : start + height]
            drawn = rng.integers(n, size=(len(part), n)) + np.arange(len(part))[:, None] * n
            counts = np.bincount(drawn.ravel(), minlength=len(part) * n).reshape(len(part), n)
            part[:] = counts.astype(np.float64) @ columns
    numerators, denominators = totals[:, : len(sums)], totals[:, len(sums) :]
    means = np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)
    return np.stack([each.finish(mean) for each, mean in zip(sums, means.T, strict=True)], axis=1)


def interval(samples: NDArray[np.float64], level: float) -> Interval:
    """Return the quantiles that leave ``(1 - level) / 2`` of the samples out on each side; NaN are no samples.

    Raises
    ------
    OptionError
        If `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise OptionError(f"level must be above 0 and below 1, such as {LEVEL}; got {level!r}")
    there = samples[~np.isnan(samples)]
    if not len(there):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def p_value(differences: NDArray[np.float64]) -> float:
    """Return how likely a difference this far from zero is by chance: 1 minus the largest level without zero inside.

    Two-sided; at least ``2 / (len(differences) + 1)`` (Davison and Hinkley, "Bootstrap Methods and their Application",
    1997, section 4.4), and 1 for two models that do the same.
    """
    there = differences[~np.isnan(differences)]
    beyond = min(int(np.count_nonzero(there <= 0)), int(np.count_nonzero(there >= 0)))
    return min(1.0, 2 * (1 + beyond) / (len(there) + 1))
