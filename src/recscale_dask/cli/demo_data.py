"""The data of the demo: planted tastes with names, or the user's file; and the held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recscale_dask.data.interactions import Interactions
from recscale_dask.evaluation.split import split
from recscale_dask.testing.matrices import planted_tastes

_TASTES = (
    *("ambient", "bebop", "blues", "chanson", "cumbia", "disco", "fado", "flamenco", "folk", "funk"),
    *("gospel", "grunge", "house", "jazz", "opera", "polka", "reggae", "salsa", "techno", "waltz"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """What was planted: the taste of each user and of each item, by id."""

    users: Mapping[str, str]
    items: Mapping[str, str]

    def share(self, recommendations: pa.Table) -> float:
        """Return the share of recommendations that are of their user's own taste."""
        pairs = zip(recommendations["user"].to_pylist(), recommendations["item"].to_pylist(), strict=True)
        return float(np.mean([self.users[user] == self.items[item] for user, item in pairs]))


def planted() -> tuple[Interactions, Tastes]:
    """Return interactions of 6,000 listeners who each prefer one of 20 styles, and those preferences."""
    plant = planted_tastes(6000, 2000, len(_TASTES), per_user=40.0, seed=0)
    users = np.array([f"listener-{number:04d}" for number in range(len(plant.user_groups))])
    styles = np.array(_TASTES)[plant.item_groups]
    numbers = np.zeros(len(styles), np.int64)  # each item's number within its style
    for group in range(len(_TASTES)):
        members = plant.item_groups == group
        numbers[members] = np.arange(members.sum())
    items = np.array([f"{style}-{number:02d}" for style, number in zip(styles, numbers, strict=True)])
    table = pa.table({**plant.columns(), "user": users[plant.users], "item": items[plant.items]})
    tastes = Tastes(
        dict(zip(users.tolist(), np.array(_TASTES)[plant.user_groups].tolist(), strict=True)),
        dict(zip(items.tolist(), styles.tolist(), strict=True)),
    )
    return Interactions.from_arrow(table, user="user", item="item", value="value", time="time"), tastes


def held_out(interactions: Interactions) -> tuple[str, Interactions, Interactions]:
    """Return how the rows were split, those to fit on, and those to judge by.

    The latest fifth, if there are times and half of its users have earlier rows; else a fifth at random.
    """
    if interactions.times is not None:
        train, test = split(interactions, "temporal")
        known = train.users.codes(test.users.ids, missing="ignore") >= 0
        if 2 * np.count_nonzero(known) >= len(known):
            return "the latest fifth", train, test
    return "a fifth at random", *split(interactions, "random")
