"""Data sets that models are judged on: how they are read, and split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.testing.matrices import planted_tastes

Pair = tuple[Interactions, Interactions]


@dataclass(frozen=True, slots=True)
class Validation:
    """How a part of the training data is held out to choose options by.

    Attributes
    ----------
    how : str
        Of `rs.split`.
    fraction : float
        Share of the rows to hold out.
    users : int
        Evaluate this many users at most, drawn at random: choosing takes as many evaluations as there are options.
    """

    how: str = "per-user-random"
    fraction: float = 0.1
    users: int = 6_000


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set.

    Attributes
    ----------
    name : str
    load : callable
        Makes the training and the test part of a folder.
    """

    name: str
    load: Callable[[Path], Pair]

    def for_choosing(self, folder: Path, validation: Validation) -> Pair:
        """Return a part of the training interactions to fit on, and the rest, of some users, to choose options by.

        The test part is not looked at.
        """
        train, _ = self.load(folder)
        fitted, held_out = rs.split(train, how=validation.how, fraction=validation.fraction, seed=0)
        rng = np.random.default_rng(0)
        users = np.zeros(held_out.n_users, np.bool_)
        users[rng.permutation(held_out.n_users)[: validation.users]] = True
        return fitted, held_out.take(users[held_out.user_codes])


def gowalla(folder: Path) -> Pair:
    """Return train.txt and test.txt of the NGCF/LightGCN split: one line a user, ``user item item ...``."""
    train, test = (rs.read_interactions(folder / name, format="adjacency") for name in ("train.txt", "test.txt"))
    return train, test


def movielens(folder: Path) -> Pair:
    """Return 80 and 20 percent of ratings.csv, at random."""
    return rs.split(rs.read_interactions(folder / "ratings.csv"), how="random", fraction=0.2, seed=42)


def planted(_: Path) -> Pair:
    """Return 80 and 20 percent of generated interactions, at random: groups of tastes, popularity and noise."""
    tastes = planted_tastes(n_users=6000, n_items=1500, n_groups=20, seed=1)
    return rs.split(rs.read_interactions(pa.table(tastes.columns())), how="random", fraction=0.2, seed=42)


DATA_SETS = {each.__name__: DataSet(each.__name__, each) for each in (gowalla, movielens, planted)}
