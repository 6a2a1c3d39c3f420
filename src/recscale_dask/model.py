"""The record of a fitted factorization: factors, ids, what was seen, where it came from, what it proves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocked_array import BlockedArray, parts_of
from recscale_dask.data.blocks import Block
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.item_operators.base import ItemOperator
from recscale_dask.types import Recipe


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
        Item codes, ascending within a user. Of a matrix in a store it is a `BlockedArray`.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        blocks: Sequence[Recipe[Block]],
        *,
        stored: bool = False,
        lengths: Sequence[NDArray[np.int64]] | None = None,
    ) -> Self:
        """Return the structure of a matrix, given its row blocks, and how many items each of their rows has, if known.

        Of stored blocks the items stay where they are.
        """
        if lengths is None:
            lengths = [np.diff(block.load().indptr) for block in blocks]
        indptr = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
        if not stored:
            return cls(indptr, np.concatenate([np.zeros(0, np.int32), *[block.load().indices for block in blocks]]))
        ends = np.cumsum([0, *[len(each) for each in lengths]])
        return cls(indptr, cast(NDArray[np.int32], BlockedArray(blocks, indptr[ends], "indices", np.dtype(np.int32))))

    def rows(self, users: NDArray[np.int32]) -> SeenItems:
        """Return the structure of some users, in their order."""
        indptr, where = self.places(users)
        return SeenItems(indptr, np.array(self.indices[where]))

    def places(self, users: NDArray[np.int32]) -> tuple[NDArray[np.int64], slice | NDArray[np.int64]]:
        """Return where some users begin in a structure of them alone, and where their items are in this one."""
        if consecutive(users):
            indptr = self.indptr[users[0] : int(users[-1]) + 2]
            return indptr - indptr[0], slice(int(indptr[0]), int(indptr[-1]))
        starts = self.indptr[users]
        lengths = self.indptr[users.astype(np.int64) + 1] - starts
        indptr = np.zeros(len(users) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        return indptr, np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)


class StoredModel(Protocol):
    """The files of a saved model, as what travels to workers that can map them; small, and picklable."""

    @property
    def fingerprint(self) -> str | None:
        """`Factors.fingerprint` of the model that was saved, if it is known."""

    def arrays(self, *names: str) -> tuple[NDArray[Any], ...]:
        """Return arrays of the model, memory-mapped: ``user_factors``, ``seen_indptr``, ...

        Raises
        ------
        ModelFormatError
            If the files are not there, or no longer those that were loaded.
        """

    def users(self) -> Vocabulary:
        """Return the users of the model, memory-mapped; raises what `arrays` does."""


def stored_values(blocks: Sequence[Recipe[Block]], seen: SeenItems) -> NDArray[Any]:
    """Return the values of a matrix, given its row blocks and their structure; one if they are all equal.

    Those of stored blocks stay where they are, as the items do.
    """
    indices: Any = seen.indices
    offsets = indices.offsets if isinstance(indices, BlockedArray) else None
    first: NDArray[Any] = np.zeros(0, np.float32)
    for block in blocks:
        values = block.load().values
        if not len(values):
            continue
        first = first if len(first) else values[:1].copy()
        if values.min() != first[0] or values.max() != first[0]:
            if offsets is not None:
                return cast(NDArray[Any], BlockedArray(blocks, offsets, "values", values.dtype))
            return np.concatenate([block.load().values for block in blocks])
    return first


@dataclass(frozen=True, eq=False)
class Factors:
    """A fitted model: ``user_factors @ item_factors.T`` approximates the weighted matrix.

    With an item operator W, the score of user u and item i is ``user_factors[u] @ item_factors[i] + (r_u W)[i]``, where
    r_u is the row of the user in the training data: its items in `seen`, its values in `training`.

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
    training : mapping of str to ndarray
        What the solver keeps of the training data for its closed form; the names are its own, but for ``"energy"`` (a
        `recscale_dask.closed_form.Energy`) and ``"values"`` (of the interactions, in the order of `seen`; one if
        they are all equal).
    item_operator : ItemOperator or None
        What scores have besides products of factors, of which there may then be none (rank 0).
    stored : StoredModel or None
        The files that the arrays are maps of. Set on loading alone, so that a copy with other arrays
        (`dataclasses.replace`) has none.
    """

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    singular_values: NDArray[np.float64]
    users: Vocabulary
    items: Vocabulary
    seen: SeenItems
    certificate: Certificate | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    item_operator: ItemOperator | None = None
    stored: StoredModel | None = field(default=None, init=False, repr=False)

    @property
    def rank(self) -> int:
        """Number of factors."""
        return int(self.user_factors.shape[1])

    @property
    def rank_asked(self) -> int | None:
        """The rank that the fit was given; None of solvers that have none.

        Those of ratings have more factors than that, of means and biases.
        """
        asked = self.provenance.get("options", {}).get("rank")
        return asked if asked is not None and asked <= self.rank else None

    @property
    def n_interactions(self) -> int:
        """Stored values of the training matrix."""
        return len(self.seen.indices)

    def factors_sha256(self) -> str:
        """Return the SHA-256 of the little-endian float32 bytes of user factors, then item factors, C order."""
        return sha256_of(self.user_factors, self.item_factors)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 (hex) of all that recommendations depend on: factors, ids, seen items; operator and values.

        That of a saved model is in its manifest, so nothing is read for it.
        """
        if self.stored is not None and self.stored.fingerprint is not None:
            return self.stored.fingerprint
        seen = sha256_of(self.seen.indptr, self.seen.indices)
        parts = [self.factors_sha256(), self.users.fingerprint(), self.items.fingerprint(), seen]
        if self.item_operator is not None:
            parts += [self.item_operator.fingerprint(), sha256_of(self.training["values"])]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def consecutive(codes: NDArray[np.int32]) -> bool:
    """Return whether codes are lo, lo + 1, ..., hi: rows that are one slice of an array."""
    if not len(codes) or int(codes[-1]) - int(codes[0]) != len(codes) - 1:
        return False
    return bool((np.diff(codes) == 1).all())


def sha256_of(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of the little-endian bytes of arrays, C order, one after another."""
    digest = hashlib.sha256()
    for array in arrays:
        for part in parts_of(array):
            digest.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
