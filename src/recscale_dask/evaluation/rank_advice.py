"""What a rank advisor found: held-out metrics of each rank and filter, and the one to choose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recscale_dask.charts import Axis, Series, chart
from recscale_dask.errors import OptionError
from recscale_dask.evaluation.pages import write_page
from recscale_dask.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPoint:
    """One candidate and what it reached.

    Attributes
    ----------
    rank : int
    filter : str or None
    filter_strength : float or None
    metrics : dict of str to float
        Means over the test users.
    standard_errors : dict of str to float
        Of these means.
    """

    rank: int
    filter: str | None
    filter_strength: float | None
    metrics: dict[str, float]
    standard_errors: dict[str, float]

    @property
    def filter_text(self) -> str:
        """The filter in a word: ``ridge 0.1``, or ``none``."""
        return "none" if self.filter is None else f"{self.filter} {self.filter_strength:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAdvice:
    """Held-out metrics of ranks and filters, all from one factorization.

    Attributes
    ----------
    points : tuple of RankPoint
        Filter by filter, ranks ascending.
    metric : str
        What decides.
    smaller_is_better : bool
        Whether it does so by being small.
    n_users : int
        Test users that were averaged over.
    fitted : dict of str to object
        Arguments of `factorize` that all have in common.
    seconds : dict of str to float
        Of the ``fit``, and of the evaluation (``evaluate``).
    """

    points: tuple[RankPoint, ...]
    metric: str
    smaller_is_better: bool
    n_users: int
    fitted: dict[str, Any]
    seconds: dict[str, float]

    @property
    def best(self) -> RankPoint:
        """The best by the metric; of equal ones the first."""
        return max(self.points, key=self._worth)

    def _worth(self, point: RankPoint) -> float:
        value = point.metrics[self.metric]
        return -value if self.smaller_is_better else value

    @property
    def suggestion(self) -> RankPoint:
        """The smallest rank within one standard error of the best; of several filters there, the best one.

        The rule is that of Breiman, Friedman, Olshen and Stone (1984, section 3.4.3).
        """
        best = self.best
        enough = self._worth(best) - best.standard_errors[self.metric]
        near = [point for point in self.points if self._worth(point) >= enough]
        return min(near, key=lambda point: (point.rank, -self._worth(point)))

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `factorize` for the suggestion."""
        chosen = self.suggestion
        named: dict[str, Any] = {"rank": chosen.rank}
        if chosen.filter is not None:
            named |= {"filter": chosen.filter, "filter_strength": chosen.filter_strength}
        return {**self.fitted, **named}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "metric": self.metric,
            "n_users": self.n_users,
            "suggestion": self.options,
            "points": [
                {
                    "rank": point.rank,
                    "filter": point.filter,
                    "filter_strength": point.filter_strength,
                    "metrics": point.metrics,
                    "standard_errors": point.standard_errors,
                }
                for point in self.points
            ],
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a page with the curves and the table; one file.

        Raises
        ------
        OutputError
            If the file exists (and `overwrite` is false) or cannot be written.
        """
        page = Page(f"Ranks by {self.metric}")
        page.sentence(str(self).splitlines()[-1])
        curves = []
        for name in dict.fromkeys(point.filter_text for point in self.points):
            points = [point for point in self.points if point.filter_text == name]
            reached = [point.metrics[self.metric] for point in points]
            errors = [point.standard_errors[self.metric] for point in points]
            curves.append(Series(x=[float(point.rank) for point in points], y=reached, errors=errors, label=name))
        title = f"{self.metric} by rank, with standard errors"
        page.svg(chart(title, Axis("rank", log=True), Axis(self.metric), curves))
        names = list(self.best.metrics)
        rows = [[point.rank, point.filter_text, *(point.metrics[name] for name in names)] for point in self.points]
        page.table(["rank", "filter", *names], rows)
        write_page(page, path, overwrite=overwrite)

    def __str__(self) -> str:
        names = list(self.points[0].metrics)
        lines = [f"{'rank':>6}  {'filter':<12}" + "".join(f"{name:>20}" for name in names)]
        for point in self.points:
            told = [f"{point.metrics[name]:.4f} +- {point.standard_errors[name]:.4f}" for name in names]
            marks = [word for word, other in (("best", self.best), ("suggested", self.suggestion)) if point is other]
            line = f"{point.rank:>6}  {point.filter_text:<12}" + "".join(f"{each:>20}" for each in told)
            lines.append("  ".join([line, *marks]))
        chosen = self.suggestion
        advice = (
            f"Suggested: rank {chosen.rank}, filter {chosen.filter_text}: the smallest rank within one standard error "
            f"of the best {self.metric}, over {self.n_users:,} users."
        )
        if chosen.rank == max(point.rank for point in self.points):
            advice += " It is the largest that was fitted: look at higher ones too."
        return "\n".join([*lines, advice])


def ladder(rank: int) -> list[int]:
    """Return ranks up to one: 8, 12, 16, 24, 32, 48, ..., and that one."""
    steps = [size << power for power in range(64) for size in (8, 12)]
    return [*(size for size in steps if size < rank), rank]


def check_ranks(ranks: Sequence[int], rank: int) -> list[int]:
    """Return ranks in ascending order, each once.

    Raises
    ------
    OptionError
        If there are none, or one is not from 1 to `rank`.
    """
    wrong = [each for each in ranks if isinstance(each, bool) or not 1 <= each <= rank]
    if wrong or not len(ranks):
        raise OptionError(f"ranks must be from 1 to rank={rank}, at least one; got {list(ranks)!r}")
    return sorted({int(each) for each in ranks})
