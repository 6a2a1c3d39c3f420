"""Matrices with known answers: an exact SVD, a checkerboard, and planted tastes for the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike, NDArray

_CHUNK = 1 << 22  # keys drawn at once by `planted_tastes`


@dataclass(frozen=True, slots=True, eq=False)
class PlantedSVD:
    """A sparse matrix and its exact singular value decomposition.

    Attributes
    ----------
    matrix : csr_array of shape (n_users, n_items)
        ``user_vectors @ diag(singular_values) @ item_vectors.T``.
    user_vectors : ndarray of float64, shape (n_users, rank)
        Orthonormal columns.
    singular_values : ndarray of float64, shape (rank,)
        Descending.
    item_vectors : ndarray of float64, shape (n_items, rank)
        Orthonormal columns.
    """

    matrix: sp.csr_array
    user_vectors: NDArray[np.float64]
    singular_values: NDArray[np.float64]
    item_vectors: NDArray[np.float64]


def planted_low_rank(
    n_users: int,
    n_items: int,
    singular_values: Sequence[float],
    *,
    density: float = 0.05,
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> PlantedSVD:
    """Return a sparse matrix of low rank whose SVD is known exactly.

    Every user and every item belongs to at most one triplet, so that singular vectors of different
    triplets share no row: they are orthogonal whatever their values, and their products sparse.

    Parameters
    ----------
    n_users, n_items : int
        Shape.
    singular_values : sequence of float
        All above 0; equal ones are allowed.
    density : float
        About the share of stored values; at most ``1 / len(singular_values)``.
    seed : int
        Seeds supports and values.
    dtype : dtype
        Of the matrix; the SVD is exact up to rounding to it.

    Raises
    ------
    ValueError
        If the triplets do not fit: a density too high, or too low for one row and column each.
    """
    sigma = np.sort(np.asarray(singular_values, np.float64))[::-1]
    rank = len(sigma)
    if not rank or sigma[-1] <= 0:
        raise ValueError(f"singular_values must all be above 0; got {list(singular_values)}")
    share = float(np.sqrt(density * rank))
    if not (0 < share <= 1 and min(n_users, n_items) * share >= rank):
        raise ValueError(
            f"density must be at most 1/{rank}, and leave each of the {rank} triplets a row and a column of "
            f"the {n_users} x {n_items} matrix; got {density}"
        )
    rng = np.random.default_rng(seed)
    user_vectors = _disjoint_unit_vectors(n_users, rank, share, rng)
    item_vectors = _disjoint_unit_vectors(n_items, rank, share, rng)
    matrix = sp.csr_array(user_vectors @ sp.diags_array(sigma) @ item_vectors.T).astype(dtype)
    matrix.sort_indices()
    return PlantedSVD(matrix, user_vectors.toarray(), sigma, item_vectors.toarray())


def _disjoint_unit_vectors(n: int, rank: int, share: float, rng: np.random.Generator) -> sp.csc_array:
    used = rng.permutation(n)[: int(n * share)]
    columns = np.arange(len(used)) % rank
    values = rng.uniform(0.5, 1.5, len(used)) * rng.choice([-1.0, 1.0], len(used))
    lengths = np.sqrt(np.bincount(columns, weights=values**2, minlength=rank))
    return sp.csc_array((values / lengths[columns], (used, columns)), shape=(n, rank))


def checkerboard(n: int, dtype: DTypeLike = np.float32) -> sp.csr_array:
    """Return n users by n items where users like every other item, all but the one of their own number.

    The best unseen item of user i is item i. With n even, the singular values are ``n/2 - 1`` twice and
    ``1`` for the rest. As in the tests of `implicit`.
    """
    users, items = np.indices((n, n))
    return sp.csr_array(((users + items) % 2 == 0) & (users != items)).astype(dtype)


@dataclass(frozen=True, slots=True, eq=False)
class PlantedTastes:
    """Interactions of users who each prefer one group of items.

    Attributes
    ----------
    users, items : ndarray of int64, shape (n_interactions,)
        Ids, 0 to n - 1; no pair twice.
    values : ndarray of float32, shape (n_interactions,)
        Ratings from 0.5 to 5, in halves; higher within the preferred group.
    times : ndarray of int64, shape (n_interactions,)
        Seconds since 1970, ascending.
    user_groups : ndarray of int64, shape (n_users,)
        The group that each user prefers.
    item_groups : ndarray of int64, shape (n_items,)
        The group of each item.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float32]
    times: NDArray[np.int64]
    user_groups: NDArray[np.int64]
    item_groups: NDArray[np.int64]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the interactions as columns named user, item, value and time."""
        return {"user": self.users, "item": self.items, "value": self.values, "time": self.times}


def planted_tastes(
    n_users: int = 2000,
    n_items: int = 600,
    n_groups: int = 8,
    *,
    per_user: float = 30.0,
    loyalty: float = 0.8,
    skew: float = 0.8,
    seed: int = 0,
) -> PlantedTastes:
    """Return interactions with planted groups, popularity skew and noise.

    A user draws items without repetition, each with a weight: its popularity, times what makes the own
    group's share `loyalty`. So popularity is a baseline that finds something, and a factorization
    that finds the groups beats it clearly.

    Parameters
    ----------
    n_users, n_items, n_groups : int
        Sizes; groups have items of equal number, and users of unequal number.
    per_user : float
        Mean number of interactions of a user; at least 3 each, and few users have many.
    loyalty : float
        Share of interactions within the own group, before it runs dry.
    skew : float
        Exponent of the popularity, ``rank ** -skew``; 0 is none.
    seed : int
        Seeds everything.

    Raises
    ------
    ValueError
        If there are fewer than three items a group.
    """
    if n_items < 3 * n_groups:
        raise ValueError(f"n_items must be at least 3 a group; got {n_items} for {n_groups} groups")
    rng = np.random.default_rng(seed)
    item_groups = rng.permutation(np.arange(n_items) % n_groups)
    popularity = rng.permutation(np.arange(1.0, n_items + 1) ** -skew)
    group_sizes = rng.dirichlet(np.full(n_groups, 10.0))
    user_groups = rng.choice(n_groups, n_users, p=group_sizes)
    counts = np.clip(rng.gamma(2.0, per_user / 2.0, n_users).round(), 3, n_items // 2).astype(np.int64)

    users = np.repeat(np.arange(n_users), counts)
    items = np.empty(len(users), np.int64)
    ends = np.cumsum(counts)
    weights = _group_weights(popularity, item_groups, n_groups, loyalty)
    step = max(1, _CHUNK // n_items)
    for start in range(0, n_users, step):
        chunk = slice(start, start + step)
        # The largest of log(weight) + Gumbel noise are a draw without repetition, by weight.
        keys = np.log(weights[user_groups[chunk]]) + rng.gumbel(size=(len(counts[chunk]), n_items))
        drawn = np.argsort(-keys, axis=1)
        mine = np.arange(n_items) < counts[chunk, None]
        items[ends[start] - counts[start] : ends[chunk][-1]] = drawn[mine]

    at_home = item_groups[items] == user_groups[users]
    liking = np.where(at_home, 4.0, 2.5) + rng.normal(0, 0.8, len(items))
    values = np.clip(np.round(2 * liking) / 2, 0.5, 5).astype(np.float32)
    order = rng.permutation(len(users))
    times = 1_700_000_000 + np.sort(rng.integers(0, 365 * 86_400, len(users)))
    return PlantedTastes(users[order], items[order], values[order], times, user_groups, item_groups)


def _group_weights(
    popularity: NDArray[np.float64], item_groups: NDArray[np.int64], n_groups: int, loyalty: float
) -> NDArray[np.float64]:
    """Return one row of item weights per group, whose own items sum to `loyalty` and the rest to the rest."""
    own = item_groups == np.arange(n_groups)[:, None]
    inside = np.where(own, popularity, 0.0)
    outside = np.where(own, 0.0, popularity)
    inside *= loyalty / inside.sum(axis=1, keepdims=True)
    outside *= (1 - loyalty) / np.maximum(outside.sum(axis=1, keepdims=True), 1e-300)
    weights: NDArray[np.float64] = np.maximum(inside + outside, 1e-300)
    return weights
