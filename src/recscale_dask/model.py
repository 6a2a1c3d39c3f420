"""The record of a fitted factorization: factors, ids, what was seen, where it came from, what it proves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """How far each singular triplet is from true, measured with real products.

    Attributes
    ----------
    residuals : ndarray of float64, shape (rank,)
        ``sqrt(|A v - s u|^2 + |A' u - s v|^2) / s`` per triplet, of the weighted and scaled matrix A,
        with an allowance for rounding, so never below the true one. Where s is zero to working
        precision, it is relative to the largest s instead.
    tol : float
        What was asked for.
    passes : int
        How often all blocks were read.
    """

    residuals: NDArray[np.float64]
    tol: float
    passes: int

    @property
    def max_residual(self) -> float:
        """The worst residual; 0 if there are no triplets."""
        return float(np.max(self.residuals, initial=0.0))

    @property
    def converged(self) -> bool:
        """Whether every residual is within the tolerance."""
        return bool(np.all(self.residuals <= self.tol))


@dataclass(frozen=True, slots=True, eq=False)
class SeenItems:
    """The items of each user in the training matrix, as CSR structure.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n_users + 1,)
        Where each user's items begin.
    indices : ndarray of int32, shape (n_interactions,)
        Item codes, ascending within a user.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def rows(self, users: NDArray[np.int32]) -> SeenItems:
        """Return the structure of some users, in their order."""
        starts = self.indptr[users]
        lengths = self.indptr[users.astype(np.int64) + 1] - starts
        indptr = np.zeros(len(users) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        where = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return SeenItems(indptr, np.asarray(self.indices[where]))


@dataclass(frozen=True, eq=False)
class Factors:
    """A fitted factorization: ``user_factors @ item_factors.T`` approximates the weighted matrix.

    Attributes
    ----------
    user_factors : ndarray of float32, shape (n_users, rank)
        For an SVD, ``Du^a U sqrt(s)``: the scaling that was fitted is undone.
    item_factors : ndarray of float32, shape (n_items, rank)
        For an SVD, ``Di^b V sqrt(s)``.
    singular_values : ndarray of float64, shape (rank,)
        Descending, of the weighted and scaled matrix.
    users, items : Vocabulary
        Ids of the rows of the factors.
    seen : SeenItems
        Training interactions, left out of recommendations.
    certificate : Certificate or None
        None for solvers that have none.
    provenance : mapping
        Solver, options, seed, versions and the fingerprint of the data; plain JSON values.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    singular_values: NDArray[np.float64]
    users: Vocabulary
    items: Vocabulary
    seen: SeenItems
    certificate: Certificate | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Number of factors."""
        return int(self.user_factors.shape[1])

    @property
    def n_interactions(self) -> int:
        """Stored values of the training matrix."""
        return len(self.seen.indices)

    def factors_sha256(self) -> str:
        """Return the SHA-256 of the little-endian float32 bytes of user factors, then item factors, C order."""
        digest = hashlib.sha256()
        for factors in (self.user_factors, self.item_factors):
            digest.update(np.ascontiguousarray(factors, dtype="<f4").tobytes())
        return digest.hexdigest()
