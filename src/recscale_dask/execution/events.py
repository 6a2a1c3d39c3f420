"""Frozen records of what happens in a run; progress, logs and plugin observers feed on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorChosen:
    """A call that names no executor got one; `reason` says why, as the end of a sentence."""

    executor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run over blocks begins: one pass of a fit, or one scoring job."""

    label: str
    executor: str
    n_blocks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDone:
    """One block was answered, exactly once per block; `seconds` is the time of its job on the worker."""

    label: str
    index: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """A run ended: with every block answered (`error` is None) or not."""

    label: str
    n_blocks: int
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverStep:
    """A look of a solver at what it has.

    Attributes
    ----------
    solver : str
        Its name.
    passes, max_passes : int
        Over the matrix, so far and at most.
    converged, wanted : int
        Triplets (or factors) that are known to have converged, of how many.
    residual : float
        The largest of those that have not; 0 if all have.
    goal : float
        Where residuals have to be.
    """

    solver: str
    passes: int
    max_passes: int
    converged: int
    wanted: int
    residual: float
    goal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestStep:
    """An ingest got on: some more rows are through one of its stages.

    Attributes
    ----------
    stage : str
        ``"reading"``, ``"grouping"``, ``"sorting"``, ``"filtering"`` or ``"writing"``, in this order.
    rows : int
        Through this stage so far.
    total : int or None
        Of how many, if that is known.
    """

    stage: str
    rows: int
    total: int | None


Event: TypeAlias = ExecutorChosen | RunStarted | BlockDone | RunFinished | SolverStep | IngestStep
Observer: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Observe nothing: the default observer."""
