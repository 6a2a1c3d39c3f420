"""What may be recommended, prepared once for all rows that look for the best of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recscale_dask.linalg.panel_scores import PANEL, UNROLLED


class Candidates(NamedTuple):
    """Factors to choose from, as `prepare_candidates` makes them: a tuple, because kernels take tuples.

    Attributes
    ----------
    factors : ndarray of float32, shape (n_candidates, rank)
        As given: scores are defined by these.
    norms : ndarray of float64, shape (n_candidates,)
        Their lengths.
    exponent : int
        Panels are scaled by ``2**-exponent``, so that the longest candidate has a length in [0.5, 1).
    codes : ndarray of int32, shape (n_panels * 16,)
        Positions in `factors`, the longest first, and then n_candidates for the rest of the last panel.
    panels : ndarray of float32, flat
        Factors in the order of `codes`, scaled, sixteen candidates a panel: shape (n_panels, width, 16), padded
        with zeros.
    lengths : ndarray of float64, shape (n_panels * 16,)
        Scaled lengths in the order of `codes`.
    """

    factors: NDArray[np.float32]
    norms: NDArray[np.float64]
    exponent: int
    codes: NDArray[np.int32]
    panels: NDArray[np.float32]
    lengths: NDArray[np.float64]


def padded(rank: int) -> int:
    """Return the width of padded rows of factors."""
    return -(-rank // UNROLLED) * UNROLLED


def prepare_candidates(factors: NDArray[np.float32]) -> Candidates:
    """Return candidates ready for any number of queries.

    Parameters
    ----------
    factors : ndarray of float32, shape (n_candidates, rank)
        Finite numbers.
    """
    factors = np.ascontiguousarray(factors, np.float32).view()
    n, rank = factors.shape
    norms = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
    order = np.argsort(-norms, kind="stable").astype(np.int32)
    _, exponent = math.frexp(float(norms.max(initial=0.0)))
    n_panels, width = -(-n // PANEL), padded(rank)
    codes, lengths = np.full(n_panels * PANEL, n, np.int32), np.zeros(n_panels * PANEL)
    codes[:n], lengths[:n] = order, np.ldexp(norms[order], -exponent)
    ordered = np.zeros((n_panels * PANEL, width), np.float32)
    ordered[:n, :rank] = np.ldexp(factors[order], -exponent)
    panels = np.ascontiguousarray(ordered.reshape(n_panels, PANEL, width).transpose(0, 2, 1)).ravel()
    for array in (factors, norms, codes, panels, lengths):
        array.flags.writeable = False
    return Candidates(factors, norms, exponent, codes, panels, lengths)
