"""What tuning may try of a solver: ranges of its options, which each solver declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class _When:
    """Options that hold only beside others.

    Attributes
    ----------
    when : mapping of str to tuple
        Names of options before this one, and the values of each with which this one is tried; by default always.
    """

    when: Mapping[str, tuple[Any, ...]] | None = None

    def applies(self, chosen: Mapping[str, Any]) -> bool:
        """Return whether this is tried beside what was chosen."""
        return all(chosen.get(name) in values for name, values in (self.when or {}).items())


@dataclass(frozen=True, slots=True)
class Whole(_When):
    """Whole numbers from `low` to `high`, both included; evenly on a logarithmic scale if `log`."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Real(_When):
    """Numbers from `low` to `high`; evenly on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice(_When):
    """One of some values: None, truth values, numbers or text."""

    values: tuple[Any, ...]


Space: TypeAlias = Mapping[str, Whole | Real | Choice]
"""Names of arguments of `factorize`, among them the options of the solver, and what to try of each, in order."""
