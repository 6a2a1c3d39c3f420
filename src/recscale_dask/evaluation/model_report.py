"""The page about a model: its making, its spectrum with error bars, quality, and coverage of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.charts import Axis, Series, chart
from recscale_dask.evaluation.catalogue import gini_coefficient, share_recommended
from recscale_dask.evaluation.evaluate import Evaluation
from recscale_dask.evaluation.metric import Training
from recscale_dask.model import Factors
from recscale_dask.page import Page

_MOST_POINTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How lists spread over the catalogue.

    Attributes
    ----------
    counts : ndarray of int64, shape (n_items,)
        In how many lists each item is.
    k : int
        Length of the lists.
    n_users : int
        How many there are.
    """

    counts: NDArray[np.int64]
    k: int
    n_users: int

    def write(self, page: Page, training: Training) -> None:
        """Add the section to a page."""
        popularity = training.popularity
        share, gini = (metric(self.counts, training) for metric in (share_recommended, gini_coefficient))
        page.heading("Coverage")
        page.sentence(
            f"The best {self.k} unseen items of {self.n_users:,} users name {np.count_nonzero(self.counts):,} of "
            f"{len(self.counts):,} items ({share:.1%}); Gini coefficient {gini:.3f}. In the training data it is "
            f"{gini_coefficient(popularity, training):.3f}."
        )
        lines = [
            Series(x=x, y=y, label=label, points=False)
            for label, (x, y) in (("recommended", _lorenz(self.counts)), ("in training", _lorenz(popularity)))
        ]
        top = Axis("share of the items, the most frequent first")
        page.svg(chart("Where recommendations go", top, Axis("share of all places"), lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Metrics on a test set, with standard errors over users where there are any.

    Attributes
    ----------
    rows : list of tuple of (str, float, float or None)
        Name, value, standard error.
    n_users : int
    """

    rows: list[tuple[str, float, float | None]]
    n_users: int

    @classmethod
    def of(cls, found: Evaluation) -> Self:
        """Return that of an evaluation."""
        rows = []
        for name, value in found.metrics.items():
            per_user = found.per_user.get(name)
            error = None if per_user is None else standard_error(per_user)
            rows.append((name, value, error))
        return cls(rows=rows, n_users=found.n_users)


def standard_error(per_user: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of a metric over users; users without a value (NaN) are left out."""
    values = per_user[~np.isnan(per_user)]
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def model_page(model: Factors, coverage: Coverage, quality: Quality | None) -> Page:
    """Return the page about a model."""
    provenance = model.provenance
    page = Page(f"Model: {provenance.get('solver', '?')}, rank {model.rank}")
    page.facts(
        {
            "users": len(model.users),
            "items": len(model.items),
            "interactions": model.n_interactions,
            "factors": model.rank,
            **{name: value for name, value in provenance.get("options", {}).items() if value is not None},
            "seed": provenance.get("seed"),
            "executor": provenance.get("executor"),
            "fit, seconds": provenance.get("fit_seconds"),
            "fingerprint of the data": provenance.get("data_fingerprint"),
            "versions": ", ".join(f"{name} {each}" for name, each in provenance.get("versions", {}).items()),
        }
    )
    _spectrum(page, model)
    page.heading("Quality")
    if quality is None:
        page.sentence("No test set was given (--test).")
    else:
        page.table(["metric", "value", "standard error"], quality.rows)
        page.sentence(f"Means over {quality.n_users:,} users; every unseen item is ranked.")
    coverage.write(page, Training.of(model))
    return page


def _spectrum(page: Page, model: Factors) -> None:
    page.heading("Spectrum")
    values, certificate = np.asarray(model.singular_values), model.certificate
    if certificate is None or not len(values):
        page.sentence("This solver gives no certified spectrum.")
        return
    errors = values * np.asarray(certificate.residuals[: len(values)])
    state = "converged" if certificate.converged else "NOT converged"
    worst, asked = f"{certificate.max_residual:.1e}", f"{certificate.tol:.1e}"
    page.sentence(
        "Singular values of the weighted and scaled matrix. Each bar is the residual: a true singular value lies "
        f"within it. Worst residual {worst} of the value (asked: {asked}), {state} after {certificate.passes} passes."
    )
    numbers = [float(number) for number in range(1, len(values) + 1)]
    values_axis, x = Axis("singular value", log=True), Axis("triplet")
    page.svg(chart("Singular values", x, values_axis, [Series(x=numbers, y=_list(values), errors=_list(errors))]))
    residuals = _list(np.asarray(certificate.residuals[: len(values)]))
    goal = Series(x=[1.0, numbers[-1]], y=[certificate.tol] * 2, label="asked", points=False)
    measured = Series(x=numbers, y=residuals, label="measured", line=False)
    page.svg(chart("Residual of each triplet", x, Axis("residual", log=True), [measured, goal]))


def _lorenz(counts: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Return shares of items, the most frequent first, and the share of all counts that they have."""
    descending = np.sort(counts)[::-1].astype(np.float64)
    shares = np.concatenate([[0.0], np.cumsum(descending) / (descending.sum() or 1.0)])
    where = np.unique(np.linspace(0, len(descending), _MOST_POINTS).astype(np.int64))
    return _list(where / max(1, len(descending))), _list(shares[where])


def _list(array: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in array]
