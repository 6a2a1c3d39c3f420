"""What the parts of a fit found, one after another: kept in checkpoints, and given back to a fit that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.checkpoint import Checkpoints, State

_PART = "part-{}-"


class Journal:
    """Finished parts of a fit, and the state of the one at work.

    A fit is a row of parts. To go on, it is run again from the start with the same arguments: parts that were
    finished give what they found then, and the one at work begins where it was.

    Parameters
    ----------
    checkpoints : Checkpoints, optional
        Where states are written; without, nothing is kept.
    state : State, optional
        What `Checkpoints.begin` returned.
    """

    def __init__(self, checkpoints: Checkpoints | None = None, state: State | None = None) -> None:
        self._checkpoints = checkpoints
        self._parts: list[State] = []
        self._current = 0
        self._written = 0
        self.begun: State | None = None
        if state is not None:
            self._written = state.values["number"]
            found = [_part(values, number, state.arrays) for number, values in enumerate(state.values["parts"])]
            if state.values["at_work"]:
                self.begun = found.pop()
            self._parts = found

    @classmethod
    def of(cls, problem: Problem, fingerprint: str, options: Mapping[str, Any]) -> Self:
        """Return the journal of a problem, with what was found of the same one before.

        Parameters
        ----------
        problem : Problem
        fingerprint : str
            Of the matrix.
        options : mapping
            Those of the solver.

        Raises
        ------
        CheckpointError
            If there is a checkpoint of another problem, or none that is whole.
        """
        if problem.checkpoints is None:
            return cls()
        named = ("rank", "weighting", "user_scaling", "item_scaling", "tol", "seed")
        identity = {"data": fingerprint, **{name: getattr(problem, name) for name in named}, **options}
        identity["warm_start"] = problem.warm_start and problem.warm_start.factors_sha256()
        return cls(problem.checkpoints, problem.checkpoints.begin(identity))

    @property
    def kept(self) -> bool:
        """Whether anything is kept."""
        return self._checkpoints is not None

    def finished(self) -> State | None:
        """Return what the next part found, if it was finished before; else it begins now."""
        if self._current == len(self._parts):
            return None
        part = self._parts[self._current]
        self._parts[self._current] = _forgotten(part)
        self._current += 1
        return part

    def keep(self, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the state of the part at work."""
        self.begun = None
        self._write(State(values, arrays))

    def finish(self, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write what the part at work found."""
        self.begun = None
        if self._checkpoints is None:
            return
        self._parts.append(State(values, arrays))
        self._current += 1
        self._write(None)
        self._parts[-1] = _forgotten(self._parts[-1])

    def _write(self, at_work: State | None) -> None:
        if self._checkpoints is None:
            return
        states = [*self._parts, *([] if at_work is None else [at_work])]
        self._written += 1
        arrays = {
            _PART.format(number) + name: array
            for number, part in enumerate(states)
            for name, array in part.arrays.items()
        }
        values = {
            "number": self._written,
            "at_work": at_work is not None,
            "parts": [dict(part.values) for part in states],
        }
        self._checkpoints.write(self._written, State(values, arrays))


def _forgotten(part: State) -> State:
    """Return a part without its arrays, which are on disk: memory is for the fit."""
    return State(part.values, dict.fromkeys(part.arrays))


def _part(values: Mapping[str, Any], number: int, arrays: Mapping[str, NDArray[Any]]) -> State:
    prefix = _PART.format(number)
    return State(
        values, {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    )
