"""One side of alternating least squares: rows that are solved for, against the factors of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block
from recscale_dask.linalg.nonnegative import nonnegative_rows
from recscale_dask.linalg.register_tiles import LANES
from recscale_dask.linalg.ridge import ridge_rows
from recscale_dask.solvers.als_entries import Entries, Penalty

_SLAB_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Method:
    """How the system of each row is solved.

    Attributes
    ----------
    steps : int
        Of conjugate gradients; 0 is a Cholesky factor.
    exact_up_to : int
        Rows with no more entries are solved by a Cholesky factor in any case.
    nonnegative : bool
        By coordinate descent instead, to answers that are not negative.
    """

    steps: int = 0
    exact_up_to: int = 0
    nonnegative: bool = False

    @property
    def warm(self) -> bool:
        """Whether the rows that there are matter."""
        return self.steps > 0 or self.nonnegative


EXACT = Method()
"""Cholesky factors."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSystem:
    """What rows are solved against; travels to the workers.

    Attributes
    ----------
    factors : ndarray of float32, shape (n_columns, width)
        Of the columns; the width is the number of unknowns of a row, and zeros up to a multiple of 16.
    gram : ndarray of float64, shape (n_unknowns, n_unknowns)
        What all columns add to the matrix of each row: that of the factors for implicit data, else zeros. Diagonal
        unless answers are not to be negative.
    entries : Entries
    penalty : Penalty
        Of the squares of unknowns.
    bias_penalty : float or None
        Of the square of the last unknown instead, whatever the row; that may be negative where others may not.
    """

    factors: NDArray[np.float32]
    gram: NDArray[np.float64]
    entries: Entries
    penalty: Penalty
    bias_penalty: float | None = None

    @classmethod
    def of(
        cls,
        columns: NDArray[np.float32],
        gram: NDArray[np.float64],
        entries: Entries,
        penalty: Penalty,
        bias_penalty: float | None = None,
    ) -> Self:
        """Return a system, given the rows of columns, which are as wide as there are unknowns."""
        factors = _padded(columns, -(-columns.shape[1] // LANES) * LANES)
        system = cls(factors, gram, entries, penalty, bias_penalty)
        for array in (system.factors, system.gram):
            array.flags.writeable = False  # kernels are compiled once, for constants as they reach workers
        return system

    def solve(self, block: Block, start: NDArray[np.float32], method: Method) -> Solution:
        """Return the solution of the rows of a block.

        Parameters
        ----------
        block : Block
        start : ndarray of float32, shape (n_rows, n_unknowns) or (0, n_unknowns)
            What conjugate gradients and coordinate descent begin with; by default zeros.
        method : Method
        """
        width, n = self.factors.shape[1], len(self.gram)
        entries, penalties = self.entries.of(block), self.penalty.of(block)
        arrays = (block.indptr, block.indices, entries.roots, entries.targets, self.factors.reshape(-1))
        out, fits = np.empty((block.n_rows, width), np.float32), np.empty(block.n_rows)
        begun = _padded(start, width)
        shares, added = np.zeros(width, np.float32), np.zeros((width, width), np.float32)
        shares[:n], added[:n, :n] = 1.0, self.gram
        if self.bias_penalty is not None:
            shares[n - 1], added[n - 1, n - 1] = 0.0, self.bias_penalty
        if method.nonnegative:
            bounds = np.zeros(width, np.float32)
            bounds[n - 1] = 0.0 if self.bias_penalty is None else -np.inf
            nonnegative_rows(*arrays, added.reshape(-1), shares, penalties, bounds, begun, out, fits)
        else:
            curvature = np.diag(added).copy()
            ridge_rows(*arrays, curvature, shares, penalties, begun, method.steps, method.exact_up_to, out, fits)
        rows = np.ascontiguousarray(out[:, :n])
        squares = np.square(rows, dtype=np.float64)
        penalty = penalties * (squares @ shares[:n].astype(np.float64))
        if self.bias_penalty is not None:
            penalty += self.bias_penalty * squares[:, -1]
        return Solution(rows, entries.constants, fits, penalty)


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Rows that were solved for, and what they make of the objective.

    Attributes
    ----------
    rows : ndarray of float32, shape (n_rows, n_unknowns)
    constants : ndarray of float64, shape (n_stored,)
        What each entry adds to the objective with rows of zeros.
    fits : ndarray of float64, shape (n_rows,)
        What is added to that by the rows as they are, their penalties included.
    penalties : ndarray of float64, shape (n_rows,)
        Of the rows.
    """

    rows: NDArray[np.float32]
    constants: NDArray[np.float64]
    fits: NDArray[np.float64]
    penalties: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What is added up over all rows of a side; sums add up.

    Attributes
    ----------
    gram : ndarray of float64, shape (n_unknowns, n_unknowns)
        ``rows' rows``.
    objective : float
        But for the penalties of the columns.
    penalty : float
        Of the rows, which is in the objective.
    """

    gram: NDArray[np.float64]
    objective: float
    penalty: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.objective + other.objective, self.penalty + other.penalty)


def solve_rows(
    payload: Block | tuple[Block, NDArray[np.float32]],
    *,
    system: RowSystem,
    rotation: NDArray[np.float32],
    method: Method,
) -> tuple[NDArray[np.float32], Sums]:
    """Return the rows of a block, solved for, and their sums: a task for `map_blocks`.

    Parameters
    ----------
    payload : Block, or a block and its rows so far
    system : RowSystem
    rotation : ndarray of float32, shape (n_unknowns, n_unknowns)
        What takes rows so far to the axes of the system.
    method : Method
    """
    block, before = payload if isinstance(payload, tuple) else (payload, np.zeros((0, len(rotation)), np.float32))
    found = system.solve(block, before @ rotation, method)
    objective = float(found.constants.sum() + found.fits.sum())
    return found.rows, Sums(gram_of(found.rows), objective, float(found.penalties.sum()))


def gram_of(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ``rows' rows``, in slabs whose products are added in double precision."""
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for first in range(0, len(rows), _SLAB_ROWS):
        slab = rows[first : first + _SLAB_ROWS]
        gram += slab.T @ slab
    return gram


def _padded(rows: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Return rows with zeros behind them, up to a width; float32, C order."""
    padded = np.zeros((len(rows), width), np.float32)
    padded[:, : rows.shape[1]] = rows
    return padded
