"""What tuning found: trials of options with what each reached on held-out data, and the best of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recscale_dask.charts import Axis, Series, chart
from recscale_dask.evaluation.pages import write_page
from recscale_dask.page import Page

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One choice of options.

    Attributes
    ----------
    number : int
        From 0, in the order in which they were tried.
    options : dict of str to object
        Arguments of `factorize` that were tried: the solver, and what its space names.
    metrics : dict of str to float
        What it reached; empty if it failed.
    seconds : dict of str to float
        Of the ``fit`` and of the evaluation (``evaluate``).
    error : str
        Why it failed; ``""`` if it did not.
    converged : bool
        Whether the certificate of the fit holds; true of solvers that give none.
    """

    number: int
    options: dict[str, Any]
    metrics: dict[str, float]
    seconds: dict[str, float]
    error: str = ""
    converged: bool = True

    def __str__(self) -> str:
        tried = " ".join(f"{name}={_short(value)}" for name, value in self.options.items())
        if self.error:
            return f"trial {self.number}: {tried}: failed: {self.error}"
        reached = " ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"trial {self.number}: {reached} in {sum(self.seconds.values()):.1f} s: {tried}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuning:
    """All trials of a study.

    Attributes
    ----------
    trials : tuple of Trial
    metric : str
        What decides.
    smaller_is_better : bool
    fixed : dict of str to object
        Arguments of `factorize` that were the same for all.
    n_users : int
        Test users that were averaged over.
    model : object
        The `FactorModel` with the best options, fitted to all of the data; None if it was not asked for.
    """

    trials: tuple[Trial, ...]
    metric: str
    smaller_is_better: bool
    fixed: Mapping[str, Any]
    n_users: int
    model: Any = None

    @property
    def ranking(self) -> list[Trial]:
        """Trials that did not fail, the best first; of equal ones the earlier first."""
        sign = 1 if self.smaller_is_better else -1
        done = [trial for trial in self.trials if not trial.error]
        return sorted(done, key=lambda trial: (sign * trial.metrics[self.metric], trial.number))

    @property
    def best(self) -> Trial:
        """The best trial."""
        return self.ranking[0]

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `factorize` of the best trial, with those that were fixed."""
        return {**self.fixed, **self.best.options}

    def table(self) -> pa.Table:
        """Return a row per trial: number, options (null where one was not tried), metrics, seconds, error."""
        import pyarrow as pa

        names = list(dict.fromkeys(name for trial in self.trials for name in trial.options))
        metrics = list(self.best.metrics)
        columns: dict[str, Any] = {"trial": [trial.number for trial in self.trials]}
        for name in names:
            values = [trial.options.get(name) for trial in self.trials]
            numbers = all(value is None or _is_number(value) for value in values)
            columns[name] = values if numbers else [None if value is None else str(value) for value in values]
        columns |= {name: [trial.metrics.get(name) for trial in self.trials] for name in metrics}
        columns["seconds"] = [sum(trial.seconds.values()) for trial in self.trials]
        columns["error"] = [trial.error for trial in self.trials]
        return pa.table(columns)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "metric": self.metric,
            "n_users": self.n_users,
            "best": {"trial": self.best.number, "metrics": self.best.metrics, "options": self.options},
            "trials": [
                {
                    "trial": trial.number,
                    "options": trial.options,
                    "metrics": trial.metrics,
                    "seconds": {name: round(seconds, 3) for name, seconds in trial.seconds.items()},
                    "error": trial.error,
                    "converged": trial.converged,
                }
                for trial in self.trials
            ],
        }

    def __str__(self) -> str:
        ranking = self.ranking
        different: dict[str, Trial] = {}
        for trial in ranking:
            different.setdefault(_told(trial.options), trial)
        shown = list(different.values())[:_SHOWN]
        lines = [str(trial) for trial in shown]
        if len(shown) < len(ranking):
            lines.insert(0, f"The best {len(shown)} of {len(self.trials)} trials:")
        failed = len(self.trials) - len(ranking)
        chosen = {name: value for name, value in self.options.items() if name != "seed"}
        told = f"Best of {len(self.trials)} trials by {self.metric}, over {self.n_users:,} users: {_told(chosen)}."
        return "\n".join([*lines, told + (f" {failed} failed." if failed else "")])

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a page about the study: progress, what each option does, and all trials; one file.

        Raises
        ------
        OutputError
            If the file exists (and `overwrite` is false) or cannot be written.
        """
        write_page(self.page(), path, overwrite=overwrite)

    def page(self) -> Page:
        """Return that page."""
        page = Page(f"Tuning by {self.metric}")
        best, ranking = self.best, self.ranking
        page.sentence(
            f"{len(self.trials)} trials, judged on {self.n_users:,} users of the held-out part; the best is trial "
            f"{best.number}: {_told(self.options)}."
        )
        page.facts({**best.metrics, **{f"{name}, seconds": value for name, value in best.seconds.items()}})
        page.heading("Progress")
        page.svg(self._progress())
        page.heading("Options")
        page.sentence("What each trial reached, by one option at a time; the other options differ too.")
        for name in dict.fromkeys(name for trial in ranking for name in trial.options):
            if (drawn := self._by_option(name)) is not None:
                page.svg(drawn)
        page.heading("Trials")
        table = self.table()
        page.table(table.column_names, [list(row.values()) for row in table.to_pylist()])
        return page

    def _progress(self) -> str:
        done = [trial for trial in self.trials if not trial.error]
        reached = [trial.metrics[self.metric] for trial in done]
        better = min if self.smaller_is_better else max
        numbers = [float(trial.number) for trial in done]
        so_far = [better(reached[: number + 1]) for number in range(len(reached))]
        each = Series(x=numbers, y=reached, label="each trial", line=False)
        best = Series(x=numbers, y=so_far, label="best so far", points=False)
        return chart(f"{self.metric} of each trial", Axis("trial"), Axis(self.metric), [each, best])

    def _by_option(self, name: str) -> str | None:
        """Return a chart of what trials reached by one option; None if all have the same value."""
        tried = [trial for trial in self.ranking if name in trial.options]
        values = [trial.options[name] for trial in tried]
        if len(set(values)) < 2:
            return None
        reached = [trial.metrics[self.metric] for trial in tried]
        axis = Axis(name)
        if all(map(_is_number, values)):
            places = [float(value) for value in values]
            axis = Axis(name, log=min(places) > 0 and max(places) > 20 * min(places))
        else:
            names = sorted({str(value) for value in values})
            places = [float(names.index(str(value))) for value in values]
            axis = Axis(name, names={float(number): each for number, each in enumerate(names)})
        return chart(f"{self.metric} by {name}", axis, Axis(self.metric), [Series(x=places, y=reached, line=False)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in options.items())
