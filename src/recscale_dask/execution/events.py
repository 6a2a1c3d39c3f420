"""Frozen records of what happens in a run; progress, logs and plugin observers feed on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


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
    """One pass of a solver: how many triplets (or factors) have converged, and the worst residual."""

    solver: str
    passes: int
    max_passes: int
    converged: int
    wanted: int
    residual: float


Event: TypeAlias = RunStarted | BlockDone | RunFinished | SolverStep
Observer: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Observe nothing: the default observer."""
