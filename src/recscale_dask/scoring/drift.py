"""Whether a model still fits: the energy of new users' rows that its factors explain."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.errors import ModelFormatError, OptionError
from recscale_dask.model import Energy, Factors

THRESHOLD = 0.1
"""Share of what is explained in training that may be lost before a refit is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How much of new users the factors of a model explain, against the users it was fitted to.

    The energy of a row is its squared length as it is fitted: weighted, scaled and centred. The factors
    explain that of its projection on the space of the item factors.

    Attributes
    ----------
    explained, explained_in_training : float
        Shares of energy, from 0 to 1.
    unknown : float
        Share of the new interactions whose items are not in the model, and so in no row.
    n_users : int
        Number of new users.
    threshold : float
        Largest `loss`, and largest `unknown`, without advice.
    """

    explained: float
    explained_in_training: float
    unknown: float
    n_users: int
    threshold: float = THRESHOLD

    @property
    def loss(self) -> float:
        """What is explained less than in training, as a fraction of that; below 0 if it is more."""
        if not self.explained_in_training:
            return 0.0
        return 1 - self.explained / self.explained_in_training

    @property
    def refit_advised(self) -> bool:
        """Whether the loss, or the share of interactions with unknown items, is above the threshold."""
        return self.loss > self.threshold or self.unknown > self.threshold

    def __str__(self) -> str:
        change = f"{abs(self.loss):.0%} {'less' if self.loss >= 0 else 'more'}"
        unknown = f" {self.unknown:.0%} of their interactions are with unknown items." if self.unknown else ""
        advice = "Refit advised" if self.refit_advised else "No refit advised"
        return (
            f"The factors explain {self.explained:.1%} of the energy of {self.n_users} new users, and "
            f"{self.explained_in_training:.1%} of that of the training users: {change}.{unknown} "
            f"{advice} (threshold {self.threshold:.0%})."
        )


def drift(model: Factors, threshold: float = THRESHOLD) -> Drift:
    """Return the drift of users that were folded in.

    Raises
    ------
    OptionError
        If the users of the model were fitted, or the threshold is not a positive number.
    ModelFormatError
        If the model does not hold the energy of its training data.
    """
    if "folded_in" not in model.provenance:
        raise OptionError("these users are the ones that the model was fitted to; pass the interactions of new ones")
    if not threshold > 0:
        raise OptionError(f"threshold must be above 0, such as {THRESHOLD}; got {threshold!r}")
    if "energy" not in model.training:
        raise ModelFormatError(
            "this model does not hold the energy of its training data, as none that earlier versions saved does. "
            "Fit it again."
        )
    new = model.provenance["folded_in"]
    skipped = new["skipped_interactions"]
    return Drift(
        explained=Energy.of(new["energy"]).share,
        explained_in_training=Energy.of(model.training["energy"]).share,
        unknown=skipped / max(1, new["interactions"] + skipped),
        n_users=new["users"],
        threshold=float(threshold),
    )
