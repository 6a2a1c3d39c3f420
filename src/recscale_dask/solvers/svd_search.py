"""When a run of block Lanczos has found what an SVD looks for, and when it never will."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.events import Observer, SolverStep
from recscale_dask.linalg.chebyshev import ChebyshevFilter
from recscale_dask.linalg.krylov import BlockLanczos

_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).tiny)
_SETTLED = 0.4  # largest residual from which on the spread of Ritz values is that of the eigenvalues, roughly
_LOOKED_AT = 8  # of the smallest wanted Ritz pairs, before all are
_STATE = ("look_at", "given_up", "first_end", "seen", "worst")


@dataclass(slots=True, eq=False)
class Search:
    """When a run of `BlockLanczos` is at its end.

    Attributes
    ----------
    lanczos : BlockLanczos
        Looks for `wanted` of the `k` triplets; the others are locked.
    goal : float
        Largest residual of a Ritz pair as a fraction of its value.
    largest : float
        The largest singular value, as far as it is known from locked triplets.
    limit : int
        Most passes; two are left for the certificate.
    chebyshev : ChebyshevFilter or None
        What the operator of `lanczos` is of A'A, if it is not that itself.
    look_at : int
        Step at which Ritz pairs are extracted next.
    patience : int
        Steps after which a filter has to show as many values as are wanted.
    given_up : bool
        The search has no end, because rounding or a filter hides what it looks for.
    """

    lanczos: BlockLanczos
    k: int
    wanted: int
    goal: float
    largest: float
    limit: int
    observer: Observer
    chebyshev: ChebyshevFilter | None = None
    look_at: int = 0
    patience: int = 0
    given_up: bool = False
    first_end: int | None = None  # step at which it seemed to be at its end first
    seen: tuple[int, float] = (0, 1.0)  # step and worst residual at the last look
    worst: float = 1.0

    def run(self, passes: Callable[[], int], after_step: Callable[[], None]) -> None:
        """Step until every Ritz pair is within the goal, no copy of one is missing, or passes are used up.

        After each step `after_step` is called: `state` is whole then.
        """
        while True:
            self._converge(passes, after_step)
            if self.first_end is None:
                self.first_end = self.lanczos.steps
            if self.given_up or not self.lanczos.hidden_copies() or self._used_up(passes):
                return
            self.lanczos.widen()
            # As many steps as the first directions needed show what the new ones hold.
            self.look_at = max(self.look_at, self.lanczos.steps + self.first_end)

    def state(self) -> dict[str, Any]:
        """Return what the search goes on from, as plain values."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name in _STATE:
            setattr(self, name, values[name])

    def _converge(self, passes: Callable[[], int], after_step: Callable[[], None]) -> None:
        while True:
            ended = self.lanczos.exhausted or self._used_up(passes)
            if ended or (self.lanczos.size >= self.wanted and self.lanczos.steps >= self.look_at):
                values, residuals = self.lanczos.smallest_wanted(min(self.wanted, _LOOKED_AT))
                good = self._good(values, residuals, passes())
                if good.all() or ended:
                    values, residuals = self.lanczos.ritz()
                    good = self._good(values, residuals, passes())
                self.given_up = not ended and self._hopeless(float(values[-1]), self.worst)
                if ended or self.given_up or (len(good) == self.wanted and good.all()):
                    return
                self._wait(self.worst)
            self.lanczos.step()
            after_step()

    def _wait(self, worst: float) -> None:
        """Set when to look next: looks at a large basis take the time of several steps, and so do steps too many.

        Residuals fall ever faster, so half of the steps that they would need at the pace since the last look
        are a good guess, and a quarter of those so far are as far as a guess goes.
        """
        steps, (before, residual) = self.lanczos.steps, self.seen
        self.seen = steps, worst
        pace = np.log(residual / worst) / (steps - before) if before else 0.0
        guess = np.log(worst / self.goal) / pace / 2 if pace > 0 else 0.0
        self.look_at = steps + 1 + int(min(guess, steps / 4))

    def _used_up(self, passes: Callable[[], int]) -> bool:
        step = 1 if self.chebyshev is None else self.chebyshev.degree
        return self.lanczos.size >= self.wanted and passes() + step > max(1, self.limit - 2)

    def _good(self, values: NDArray[np.float64], residuals: NDArray[np.float64], passes: int) -> NDArray[np.bool_]:
        """Return which Ritz pairs are within the goal; remember the largest residual of those that are not."""
        # |G v - s^2 v| / s^2 is the residual of the triplet. What is below rounding counts as found: the
        # product of a vector orthogonal to the locked ones has an error of epsilon times the largest
        # value of all, times the largest of its own.
        if self.chebyshev is None:
            relative = residuals / np.maximum(values, _SMALLEST)
        else:
            relative = self.chebyshev.relative_residuals(values, residuals)
        own = self.lanczos.largest_value() ** 0.5
        rounding = 4 * self.lanczos.epsilon * max(self.largest, own) * own
        good: NDArray[np.bool_] = (relative <= self.goal) | (residuals <= rounding)
        self.worst = min(1.0, float(np.max(relative[~good], initial=0.0)))
        self.observer(
            SolverStep(
                solver="svd",
                passes=passes,
                max_passes=self.limit,
                converged=self.k - self.wanted + int(good.sum()),
                wanted=self.k,
                residual=self.worst,
                goal=self.goal,
            )
        )
        return good

    def _hopeless(self, smallest: float, worst: float) -> bool:
        """Whether float32 falls short of the goal by more than polishing makes up for, or the filter hides values."""
        if self.chebyshev is not None:
            return smallest <= 1 and self.lanczos.steps > self.patience
        if self.lanczos.epsilon <= _EPSILON or worst > _SETTLED:
            return False
        return 2 * self.lanczos.epsilon * self.lanczos.largest_value() > 8 * self.goal * smallest
