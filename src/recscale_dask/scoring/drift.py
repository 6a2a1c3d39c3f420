"""Whether a model still fits: the energy of new users' rows that its factors explain."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.closed_form import Energy
from recscale_dask.errors import ModelFormatError, OptionError
from recscale_dask.model import Factors

THRESHOLD = 0.25
"""Share of what is expected to be explained that may be missing before a refit is advised."""

LEAST_USERS = 30
"""New users from which on a refit may be advised; the scatter of fewer says little about their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How much of new users the factors of a model explain, against users like those it was fitted to.

    The energy of a row is its squared length as it is fitted: weighted, scaled and centred. The factors
    explain that of its projection on the space of the item factors.

    Attributes
    ----------
    explained : float
        Share of the energy of the new users' rows, from 0 to 1.
    standard_error : float
        Of `explained`, from the scatter over the new users; 1 for one user alone.
    expected : float
        What users like those of the training data would have: their share if each had been left out of the
        fit, estimated (`recscale_dask.closed_form.Energy`).
    explained_in_training : float
        Their share as it is, which is higher, as factors fit the noise of their rows too.
    unknown : float
        Share of the new interactions whose items are not in the model, and so in no row.
    n_users : int
        Number of new users.
    threshold : float
        Largest `loss`, and largest `unknown`, without advice.
    """

    explained: float
    standard_error: float
    expected: float
    explained_in_training: float
    unknown: float
    n_users: int
    threshold: float = THRESHOLD

    @property
    def loss(self) -> float:
        """What is missing of what is expected, as a fraction of that; below 0 if there is more."""
        return 1 - self.explained / self.expected if self.expected > 0 else 0.0

    @property
    def refit_advised(self) -> bool:
        """Whether the loss by two standard errors, or the share of unknown items, is above the threshold.

        Never by fewer than `LEAST_USERS` users.
        """
        if self.n_users < LEAST_USERS:
            return False
        surely = self.explained + 2 * self.standard_error < (1 - self.threshold) * self.expected
        return surely or self.unknown > self.threshold

    def __str__(self) -> str:
        change = f"{abs(self.loss):.0%} {'less' if self.loss >= 0 else 'more'}"
        unknown = f" {self.unknown:.0%} of their interactions are with unknown items." if self.unknown else ""
        users = f"{self.n_users:,} new user{'' if self.n_users == 1 else 's'}"
        advice = "Refit advised" if self.refit_advised else "No refit advised"
        if self.n_users < LEAST_USERS:
            advice = f"Fewer than {LEAST_USERS} users are too few to advise a refit by"
        return (
            f"The factors explain {self.explained:.1%} (+- {self.standard_error:.1%}) of {users}, "
            f"{change} than the {self.expected:.1%} expected of users like those in training.{unknown} "
            f"{advice} (threshold {self.threshold:.0%})."
        )


def drift(model: Factors, threshold: float = THRESHOLD) -> Drift:
    """Return the drift of users that were folded in.

    Raises
    ------
    OptionError
        If the users of the model were fitted, or the threshold is not between 0 and 1.
    ModelFormatError
        If the model does not hold the energy of its training data.
    """
    if model.item_operator is not None:
        raise OptionError(
            "drift compares rows with the space of factors, which is not all that scores come from in models with "
            "weights between items. Judge such a model on held-out interactions of the new users: rs.evaluate."
        )
    if "folded_in" not in model.provenance:
        raise OptionError("these users are the ones that the model was fitted to; pass the interactions of new ones")
    if not 0 < threshold < 1:
        raise OptionError(f"threshold must be between 0 and 1, such as {THRESHOLD}; got {threshold!r}")
    energy = Energy.of(model.training)
    if energy is None:
        raise ModelFormatError(
            "this model does not hold the energy of its training data, as none of alternating least squares does, and "
            "none that earlier versions saved. Judge it with rs.evaluate, or fit an SVD."
        )
    new = model.provenance["folded_in"]
    skipped = new["skipped_interactions"]
    total = energy.total or 1.0
    return Drift(
        explained=new["explained"],
        standard_error=new["standard_error"],
        expected=energy.left_out / total,
        explained_in_training=energy.explained / total,
        unknown=skipped / max(1, new["interactions"] + skipped),
        n_users=new["users"],
        threshold=float(threshold),
    )
