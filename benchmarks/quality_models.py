"""Models that are judged, and the options that each may choose from, by data set.

To have another solver in the table, add a `Contender` to the data sets that it can carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

Options = Mapping[str, Any]


def grid(**values: Sequence[Any]) -> list[Options]:
    """Return all combinations of the values of some options."""
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


@dataclass(frozen=True, slots=True)
class Contender:
    """A solver and its options.

    Attributes
    ----------
    name : str
        In the table.
    solver : str
    start : mapping
        Options of `rs.factorize` to begin with; what no stage has is not chosen.
    stages : sequence of sequences of mappings
        Options that are tried on the validation part, one stage after another; each begins with the best of the
        one before.
    """

    name: str
    solver: str
    start: Options = field(default_factory=dict)
    stages: Sequence[Sequence[Options]] = ()


_BINARY: dict[str, Any] = {"weighting": "binary"}
_SCALED: dict[str, Any] = {**_BINARY, "user_scaling": 0.5, "item_scaling": 0.5}
_POPULARITY = Contender("popularity", "popularity")

_EXPONENTS = grid(user_exponent=[0.3, 0.4, 0.5], item_exponent=[0.4, 0.5])


def _gf_cf(ranks: Sequence[int], low_pass: Sequence[float]) -> Contender:
    start = {**_BINARY, "rank": ranks[-1], "low_pass": 0.3}
    return Contender("gf-cf", "gf-cf", start, [_EXPONENTS, grid(rank=ranks, low_pass=low_pass)])


def _bspm(ranks: Sequence[int], low_pass: Sequence[float], sharpen_time: Sequence[float]) -> Contender:
    start = {**_BINARY, "rank": ranks[-1], "low_pass": 0.2, "sharpen_time": 2.5}
    stages = [_EXPONENTS, grid(rank=ranks, low_pass=low_pass, sharpen_time=sharpen_time)]
    return Contender("bspm", "bspm", start, stages)


def _symmetric_bspm(rank: int, low_pass: Sequence[float], sharpen_time: Sequence[float]) -> Contender:
    """Return bspm with the degrees divided by as Choi et al. define it: exponents of a half, which are not chosen."""
    start = {**_BINARY, "rank": rank, "low_pass": 0.2, "sharpen_time": 2.5}
    return Contender("bspm-symmetric", "bspm", start, [grid(low_pass=low_pass, sharpen_time=sharpen_time)])


def _als(rank: int, alphas: Sequence[float], weights: Sequence[float]) -> Contender:
    """Return als-implicit with the penalties of Rendle et al. (2021) with exponent 0.5; `quality_als` has others."""
    tried = [
        {"alpha": each["alpha"], "regularization": each["weight"] * each["alpha"], "offset": 1 / each["alpha"]}
        for each in grid(alpha=alphas, weight=weights)
    ]
    return Contender(
        "als-implicit", "als-implicit", {**_BINARY, "rank": rank, "exponent": 0.5, "max_sweeps": 12}, [tried]
    )


def _svds(ranks: Sequence[int]) -> tuple[Contender, ...]:
    """Return the SVD of the matrix divided by the roots of its degrees, and of the matrix as it is (PureSVD)."""
    tried = [grid(rank=ranks)]
    return Contender("svd", "svd", _SCALED, tried), Contender("puresvd", "svd", _BINARY, tried)


def _knn(neighbors: Sequence[int]) -> Contender:
    return Contender("item-knn", "item-knn", _BINARY, [grid(neighbors=neighbors, shrinkage=[0, 20])])


CONTENDERS: dict[str, tuple[Contender, ...]] = {
    "gowalla": (
        _bspm([448], [0.1, 0.2, 0.3], [2.0, 2.5]),
        _symmetric_bspm(448, [0.1, 0.2, 0.3], [2.0, 2.5, 3.0]),
        _gf_cf([448], [0.1, 0.2, 0.3]),
        *_svds([64, 128, 256]),
        _als(128, [20.0, 50.0, 100.0], [0.03, 0.1]),
        _knn([50, 200]),
        _POPULARITY,
    ),
    "movielens": (
        _bspm([32, 64], [0.2, 1.0], [1.0, 2.5]),
        _gf_cf([16, 32, 64], [0.3, 1.0, 3.0]),
        *_svds([8, 16, 32, 64]),
        _als(32, [3.0, 10.0, 30.0], [0.03, 0.1, 0.3]),
        _knn([20, 100]),
        Contender("ease", "ease", _BINARY, [grid(ridge=[50, 200, 500])]),
        _POPULARITY,
    ),
    "planted": (
        _bspm([16, 32], [0.2, 1.0], [1.0, 2.5]),
        _gf_cf([16, 32], [0.3, 1.0]),
        *_svds([16, 32]),
        _als(32, [3.0, 10.0, 30.0], [0.03, 0.1, 0.3]),
        _knn([50, 200]),
        Contender("ease", "ease", _BINARY, [grid(ridge=[100, 500])]),
        _POPULARITY,
    ),
}

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "gf-cf": ("gf-cf", {**_BINARY, "rank": 256, "low_pass": 0.3}),
    "bspm": ("bspm", {**_BINARY, "rank": 448, "low_pass": 0.2, "sharpen_time": 2.5}),
}
"""Solvers and options of the papers, for Gowalla: Shen et al. (2021), Choi et al. (2023)."""

RATED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("als-explicit", {"rank": 64}),
    ("als-explicit", {"rank": 8}),
)
"""Models of ratings, with defaults but for the rank."""
