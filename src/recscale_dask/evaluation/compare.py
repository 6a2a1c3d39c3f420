"""Several models on one test set: values, intervals, and differences over the same users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.errors import OptionError
from recscale_dask.evaluation.bootstrap import Interval, interval, p_value, resample
from recscale_dask.evaluation.evaluate import Evaluation
from recscale_dask.evaluation.metric import MetricRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedValue:
    """A metric of a model, beside that of the model that it is held against.

    Attributes
    ----------
    model, metric : str
    value : float
    interval : Interval or None
        Of the value; None for metrics of the catalogue.
    reference : str
        The model that it is held against.
    difference : float
        Its value minus that of the reference.
    difference_interval : Interval or None
        Of the difference over the same users.
    p_value : float or None
        Of the difference, two-sided, for this pair alone: of 20 pairs that do not differ, one is below 0.05. None for
        the reference itself, and for metrics of the catalogue.
    """

    model: str
    metric: str
    value: float
    interval: Interval | None
    reference: str
    difference: float
    difference_interval: Interval | None
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several models on one test set.

    Attributes
    ----------
    values : tuple of ComparedValue
        Model by model, in the order given, with all metrics of each.
    n_users : int
        Users that all models know: those that are averaged over.
    n_left_out : int
        Users of the test set that a model does not know.
    level : float
        Of the intervals.
    """

    values: tuple[ComparedValue, ...]
    n_users: int
    n_left_out: int
    level: float

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(dict.fromkeys(each.model for each in self.values))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(dict.fromkeys(each.metric for each in self.values))

    def __getitem__(self, key: tuple[str, str]) -> ComparedValue:
        """Return the value of a model and a metric."""
        for each in self.values:
            if (each.model, each.metric) == key:
                return each
        raise KeyError(
            f"there is no {key!r}; give a model and a metric, of the models {', '.join(self.models)} and the metrics "
            f"{', '.join(self.metrics)}"
        )

    def to_arrow(self) -> pa.Table:
        """Return one row per model and metric."""
        ends = [("interval", "low", "high"), ("difference_interval", "difference_low", "difference_high")]
        rows = []
        for each in self.values:
            row = asdict(each)
            for name, low, high in ends:
                row[low], row[high] = row.pop(name) or (None, None)
            rows.append(row)
        numbers = ("value", "low", "high", "difference", "difference_low", "difference_high", "p_value")
        texts = [(name, pa.string()) for name in ("model", "metric", "reference")]
        return pa.Table.from_pylist(rows, schema=pa.schema([*texts, *((name, pa.float64()) for name in numbers)]))

    def __str__(self) -> str:
        rows = [["", *self.metrics]]
        rows += [[model, *(_cell(self[model, metric]) for metric in self.metrics)] for model in self.models]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.append(
            f"Over {self.n_users:,} users. [{self.level:.0%} intervals]; * is what others are held against; "
            "p: how likely such a difference is by chance."
        )
        if self.n_left_out:
            lines.append(f"{self.n_left_out:,} users of the test set are not in all models and were left out.")
        return "\n".join(lines)


def _cell(found: ComparedValue) -> str:
    text = f"{found.value:.4f}"
    if found.interval is not None:
        text += f" [{found.interval.low:.4f}, {found.interval.high:.4f}]"
    if found.model == found.reference:
        return f"{text} *"
    return text if found.p_value is None else f"{text} p={found.p_value:.3f}"


def compare(
    found: Mapping[str, Evaluation],
    metrics: Sequence[MetricRequest],
    *,
    baseline: str | None = None,
    level: float,
    replicates: int,
    seed: int,
    n_left_out: int = 0,
) -> Comparison:
    """Return evaluations of the same users side by side.

    Parameters
    ----------
    found : mapping of str to Evaluation
        By the name of the model; each over the same users, in the same order.
    metrics : sequence of MetricRequest
        Those that were evaluated.
    baseline : str, optional
        Hold every model against this one; by default against the best of each metric.
    level, replicates, seed
        See `Evaluation.intervals`.
    n_left_out : int
        Passed on.

    Raises
    ------
    OptionError
        If `baseline` is none of the models.
    """
    if baseline is not None and baseline not in found:
        raise OptionError(f"baseline={baseline!r} is none of the models; they are {', '.join(found)}.")
    keys = [(name, metric) for name, each in found.items() for metric in each.sums]
    drawn: dict[tuple[str, str], NDArray[np.float64]] = {}
    if keys:
        samples = resample([found[name].sums[metric] for name, metric in keys], replicates=replicates, seed=seed)
        drawn = dict(zip(keys, samples.T, strict=True))
    values = []
    for each in metrics:
        reference = _best(found, each) if baseline is None else baseline
        values += [_compared(found, drawn, name, each.name, reference, level) for name in found]
    order = {name: place for place, name in enumerate(found)}
    values.sort(key=lambda each: order[each.model])  # stable: metrics stay as they are
    n_users = next(iter(found.values())).n_users
    return Comparison(values=tuple(values), n_users=n_users, n_left_out=n_left_out, level=level)


def _best(found: Mapping[str, Evaluation], metric: MetricRequest) -> str:
    sign = -1 if metric.smaller_is_better else 1
    return max(found, key=lambda name: sign * found[name][metric.name])


def _compared(
    found: Mapping[str, Evaluation],
    drawn: Mapping[tuple[str, str], NDArray[np.float64]],
    name: str,
    metric: str,
    reference: str,
    level: float,
) -> ComparedValue:
    mine, theirs = drawn.get((name, metric)), drawn.get((reference, metric))
    apart = None if mine is None or theirs is None or name == reference else mine - theirs
    return ComparedValue(
        model=name,
        metric=metric,
        value=found[name][metric],
        interval=None if mine is None else interval(mine, level),
        reference=reference,
        difference=found[name][metric] - found[reference][metric],
        difference_interval=None if apart is None else interval(apart, level),
        p_value=None if apart is None else p_value(apart),
    )
