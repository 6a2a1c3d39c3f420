"""Orthonormal columns against a basis, repeated until they are so to working precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.tall import TallAlgebra

_ROUNDS = 5
_LITTLE = 0.1
_SHRUNK = 0.4  # power of epsilon: columns that shrink by more are far from orthogonal to the rest of the basis
_WELL_CONDITIONED = 1e-6  # smallest eigenvalue of a correlation matrix that may be divided by, in float64


class Orthonormal(NamedTuple):
    """What `orthonormalize` splits a block into.

    Attributes
    ----------
    columns : ndarray of shape (n, width)
        Q.
    in_basis : ndarray of shape (p, width)
        H.
    factor : ndarray of shape (width, width)
        R.
    drift : float or None
        How far from orthogonal the columns were to those of the basis that are not near, when these were removed;
        None if they were not.
    smallest : float
        Lower bound of the norm of what was left of any direction of the block in the first round.
    """

    columns: NDArray[Any]
    in_basis: NDArray[np.float64]
    factor: NDArray[np.float64]
    drift: float | None
    smallest: float


def orthonormalize(
    algebra: TallAlgebra,
    block: NDArray[Any],
    basis: NDArray[Any] | None,
    *,
    scale: float,
    rng: np.random.Generator,
    near: int = 0,
    least: float = np.inf,
) -> Orthonormal:
    """Split a block into its part in a basis and orthonormal columns: ``block = basis H + Q R``.

    Classical block Gram-Schmidt; the columns among themselves by a Cholesky factor of their Gram matrix where it is
    well conditioned (CholeskyQR2; Yamamoto et al., 2015), else by Householder QR. Both are repeated until nothing
    is left to remove.
    Directions that vanish against `scale` become random ones, of which R has no part (its rank is that of what
    is left): so Q is orthonormal when the space is exhausted or the matrix has a low rank.

    Parameters
    ----------
    block : ndarray of shape (n, width)
        Overwritten.
    basis : ndarray of shape (n, p) or None
        Orthonormal columns, ``p + width <= n``.
    scale : float
        Norm against which a column counts as zero, such as the norm of the operator; 0: its own norm.
    rng : Generator
        Draws replacements.
    near : int
        From this column of the basis on the block has large parts in it; on the columns before there is rounding
        only, so that it is enough to remove them once, from the second round on.
    least : float
        They are removed if less than this is left of a direction in the first round; by default always.
    """
    width = block.shape[1]
    have_basis = basis is not None and basis.shape[1] > 0
    coupling = np.zeros((basis.shape[1] if basis is not None else 0, width))
    factor = np.eye(width)
    epsilon = float(np.finfo(block.dtype).eps)
    if not scale:
        scale = float(algebra.column_norms(block).max(initial=0.0))
    floor = 16 * epsilon * scale
    least = max(least, epsilon**_SHRUNK * scale)
    drift: float | None = None
    smallest, far = np.inf, False
    for number in range(_ROUNDS):
        removed, replaced = 0.0, False
        if have_basis:
            assert basis is not None
            first = 0 if far else near
            part = algebra.cross(basis[:, first:], block)
            algebra.subtract(block, basis[:, first:], part)
            coupling[first:] += part @ factor
            removed = float(np.abs(part).max(initial=0.0))
            if far and drift is None:
                drift = float(np.abs(part[: near - first]).max(initial=0.0))
        gram = algebra.cross(block, block)
        error = float(np.abs(gram - np.eye(width)).max())
        if error > 4 * epsilon:
            block, step, left, replaced = _normalize(algebra, block, gram, floor, rng)
            factor = step @ factor
            if number == 0:
                smallest = left
            # Random directions are far from orthogonal to all of the basis, and what little is left of a column
            # of the size of `scale` is largely rounding, in all directions too.
            far = far or replaced
        far = far or (number == 0 and smallest < least)
        # Unit columns of which little had to be removed are orthonormal after that: twice is enough.
        if number and max(removed, error) <= _LITTLE and not replaced:
            break
        floor = 0.0  # everything is of unit size from here on
    return Orthonormal(block, coupling, factor, drift, smallest)


def _normalize(
    algebra: TallAlgebra, block: NDArray[Any], gram: NDArray[Any], floor: float, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.float64], float, bool]:
    """Return orthonormal Q and R with ``block = Q R``, and how small what was divided by is at most.

    Also whether directions that vanished were replaced.
    """
    norms = np.sqrt(np.diag(gram))
    if norms.min() > floor:
        # A unit diagonal first: columns of very different norms keep their accuracy.
        inverse, least = _inverse_factor(gram / norms[:, None] / norms)
        if least > max(_WELL_CONDITIONED, 64 * len(gram) * float(np.finfo(block.dtype).eps)):
            smallest = float(np.sqrt(least) * norms.min())
            factor: NDArray[np.float64] = np.linalg.inv(inverse).T * norms
            return algebra.times(block, inverse.T / norms[:, None]), factor, smallest, False
    q, r = algebra.qr(block)
    # Not the diagonal of R: behind a column that depends on others, later ones have parts along its q.
    x, sizes, yt = np.linalg.svd(r.astype(np.float64))
    gone = sizes <= floor
    if gone.any():
        q, r = algebra.times(q, x), sizes[:, None] * yt
        r[gone] = 0.0
        q[:, gone] = rng.standard_normal((len(q), int(gone.sum()))) / np.sqrt(len(q))
    return q, r, float(sizes.min(initial=np.inf)), bool(gone.any())


def _inverse_factor(correlations: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return ``L^-1`` of ``L L'``, and a lower bound of the smallest eigenvalue of that; 0 if it is not definite."""
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(correlations))
    except np.linalg.LinAlgError:
        return correlations, 0.0
    sizes = np.abs(inverse)
    return inverse, 1 / float(sizes.sum(axis=0).max() * sizes.sum(axis=1).max())
