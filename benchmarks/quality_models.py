"""Models that are judged, and the options that each may choose from, by data set.

To have another solver in the table, add a `Contender` to the data sets that it can carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any


@dataclass(frozen=True, slots=True)
class Contender:
    """A solver and its options.

    Attributes
    ----------
    name : str
        In the table.
    solver : str
    fixed : mapping
        Options of `rs.factorize` that are not chosen.
    grid : mapping of str to sequence
        Options that are: all combinations are tried on the validation part.
    """

    name: str
    solver: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def options(self) -> Iterator[dict[str, Any]]:
        """Yield all combinations."""
        for values in product(*self.grid.values()):
            yield {**self.fixed, **dict(zip(self.grid, values, strict=True))}


_BINARY: dict[str, Any] = {"weighting": "binary"}
_EXPONENTS = {"user_exponent": [0.25, 0.3, 0.4], "item_exponent": [0.3, 0.4, 0.5]}
_POPULARITY = Contender("popularity", "popularity")
_SCALED: dict[str, Any] = {**_BINARY, "user_scaling": 0.5, "item_scaling": 0.5}

CONTENDERS: dict[str, tuple[Contender, ...]] = {
    "gowalla": (
        # A wider search on another validation part (0.2 to 0.6, ranks to 800, other polynomials) led here.
        Contender("gf-cf", "gf-cf", {**_BINARY, "rank": 448, "low_pass": 0.2}, _EXPONENTS),
        Contender("bspm", "bspm", {**_BINARY, "rank": 448, "low_pass": 0.15, "sharpen_time": 2.0}, _EXPONENTS),
        Contender("item-knn", "item-knn", _BINARY, {"neighbors": [50, 200], "shrinkage": [0, 20]}),
        Contender("svd", "svd", _SCALED, {"rank": [64, 128, 256]}),
        _POPULARITY,
    ),
    "movielens": (
        Contender("gf-cf", "gf-cf", _BINARY, {"rank": [16, 32, 64], "low_pass": [0.3, 1.0, 3.0]}),
        Contender("bspm", "bspm", _BINARY, {"rank": [32, 64], "low_pass": [0.2, 1.0], "sharpen_time": [1.0, 2.5]}),
        Contender("ease", "ease", _BINARY, {"ridge": [50, 200, 500]}),
        Contender("item-knn", "item-knn", _BINARY, {"neighbors": [20, 100], "shrinkage": [0, 20]}),
        Contender("svd", "svd", _SCALED, {"rank": [8, 16, 32, 64]}),
        _POPULARITY,
    ),
    "planted": (
        Contender("gf-cf", "gf-cf", _BINARY, {"rank": [16, 32], "low_pass": [0.3, 1.0]}),
        Contender("bspm", "bspm", _BINARY, {"rank": [16, 32], "low_pass": [0.2, 1.0], "sharpen_time": [1.0, 2.5]}),
        Contender("ease", "ease", _BINARY, {"ridge": [100, 500]}),
        Contender("item-knn", "item-knn", _BINARY, {"neighbors": [50, 200], "shrinkage": [0, 20]}),
        Contender("svd", "svd", _SCALED, {"rank": [16, 32]}),
        _POPULARITY,
    ),
}

PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "gf-cf": ("gf-cf", {**_BINARY, "rank": 256, "low_pass": 0.3}),
    "bspm": ("bspm", {**_BINARY, "rank": 448, "low_pass": 0.2, "sharpen_time": 2.5}),
}
"""Solvers and options of the papers, for Gowalla: Shen et al. (2021), Choi et al. (2023)."""
