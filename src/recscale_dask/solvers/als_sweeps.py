"""Sweeps of alternating least squares: the rows of users against those of items, and then the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.dense import RowBlock
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, SolverStep
from recscale_dask.execution.portable import add
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.tall import TallAlgebra
from recscale_dask.solvers.als_kinds import Against, Kind
from recscale_dask.solvers.als_rows import EXACT, Method, RowSystem, Sums, gram_of, solve_rows
from recscale_dask.solvers.journal import Journal
from recscale_dask.solvers.products import BlockWithRows
from recscale_dask.tree import fold_tree
from recscale_dask.types import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The blocks of users by items, or of items by users, where workers read them.

    Attributes
    ----------
    noun : str
        ``"users"`` or ``"items"``.
    blocks : sequence of Recipe of Block
        Sparse ones.
    bounds : ndarray of int64, shape (n_blocks + 1,)
        Rows where they begin.
    """

    noun: str
    blocks: Sequence[Recipe[RowBlock]]
    bounds: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Progress:
    """Where a fit is.

    Attributes
    ----------
    users, items : ndarray of float32, shape (n, n_unknowns)
    items_gram : ndarray of float64, shape (n_unknowns, n_unknowns)
        ``items' items``.
    items_penalty : float
    objectives : list of float
        After each sweep.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    items_gram: NDArray[np.float64]
    items_penalty: float
    objectives: list[float]

    @property
    def change(self) -> float:
        """Relative decrease of the objective in the last sweep; 1 if there is none to compare with."""
        if len(self.objectives) < 2:
            return 1.0
        before, after = self.objectives[-2:]
        return (before - after) / after if after > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sweeps:
    """Runs sweeps on an executor.

    Attributes
    ----------
    solver : str
        For events.
    kind : Kind
    users, items : Side
    method : Method
    executor : Executor
    observer : callable
    algebra : TallAlgebra
    """

    solver: str
    kind: Kind
    users: Side
    items: Side
    method: Method
    executor: Executor
    observer: Observer
    algebra: TallAlgebra

    def run(self, progress: Progress, max_sweeps: int, tol: float, journal: Journal) -> bool:
        """Sweep until the objective falls by no more than `tol` of itself; return whether it did.

        The state is kept in `journal` after each sweep.
        """
        while True:
            converged = len(progress.objectives) > 1 and progress.change <= tol
            if converged or len(progress.objectives) >= max_sweeps:
                return converged
            self._sweep(progress)
            if journal.kept:
                number = len(progress.objectives)
                values = {"objectives": progress.objectives, "items_penalty": progress.items_penalty}
                journal.keep(
                    values,
                    {
                        f"users-{number}": progress.users,
                        f"items-{number}": progress.items,
                        f"gram-{number}": progress.items_gram,
                    },
                )
            self._tell(progress, max_sweeps, tol)

    def solved_users(self, system: RowSystem) -> tuple[NDArray[np.float32], Sums]:
        """Return the rows of users exactly, for items that are final."""
        rotation = np.eye(len(system.gram), dtype=np.float32)
        method = Method(nonnegative=True) if self.method.nonnegative else EXACT
        return self._solved(self.users, system, rotation, None, method, "user factors")

    def _sweep(self, progress: Progress) -> None:
        number = len(progress.objectives) + 1
        items = self.kind.against(progress.items, progress.items_gram, self.algebra)
        label = f"{self.solver} sweep {number}, "
        progress.users, of_users = self._half(self.users, items, progress.users, label)
        users = self.kind.against(progress.users, of_users.gram, self.algebra)
        progress.items, of_items = self._half(self.items, users, items.columns, label)
        progress.users = users.columns
        progress.items_gram, progress.items_penalty = of_items.gram, of_items.penalty
        progress.objectives.append(of_items.objective + of_users.penalty)

    def _half(
        self, side: Side, against: Against, rows: NDArray[np.float32], label: str
    ) -> tuple[NDArray[np.float32], Sums]:
        before = rows if self.method.warm else None
        return self._solved(side, against.system, against.rotation, before, self.method, label + side.noun)

    def _solved(
        self,
        side: Side,
        system: RowSystem,
        rotation: NDArray[np.float32],
        before: NDArray[np.float32] | None,
        method: Method,
        label: str,
    ) -> tuple[NDArray[np.float32], Sums]:
        solved = np.empty((int(side.bounds[-1]), len(rotation)), np.float32)
        spans = list(pairwise(side.bounds.tolist()))
        payloads: Sequence[Any] = side.blocks
        if before is not None:
            rows = (before[first:last] for first, last in spans)
            payloads = [BlockWithRows(*each) for each in zip(side.blocks, rows, strict=True)]
        constants = {"system": system, "rotation": rotation, "method": method}

        def sums() -> Iterator[Sums]:
            found = map_blocks(self.executor, solve_rows, payloads, constants, label=label, observer=self.observer)
            for (first, last), (part, added) in zip(spans, found, strict=True):
                solved[first:last] = part
                yield added

        return solved, fold_tree(sums(), add)

    def _tell(self, progress: Progress, max_sweeps: int, tol: float) -> None:
        rank = progress.items.shape[1]
        self.observer(
            SolverStep(
                solver=self.solver,
                passes=2 * len(progress.objectives),
                max_passes=2 * max_sweeps,
                converged=rank if progress.change <= tol else 0,
                wanted=rank,
                residual=max(progress.change, 0.0),
                goal=tol,
            )
        )


def first_progress(kind: Kind, n_users: int, n_items: int, rank: int, seed: int) -> Progress:
    """Return where a fit begins: random rows of items, zeros for users."""
    items = kind.start(n_items, rank, seed)
    users = np.zeros((n_users, items.shape[1]), np.float32)
    return Progress(users, items, gram_of(items), 0.0, [])
