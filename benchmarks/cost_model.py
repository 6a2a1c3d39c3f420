"""What a fit would take on a cluster, from what fits on this machine took: docs/guide/how-large.md has the formulas.

Rates are per core and stored value (passes, user factors) or per item (the driver's algebra); they are measured by the
case `fit` of `scale.py`, and those of a pass are taken to grow with the logarithm of the number of items, as
the rows of the basis that a value needs are ever less often in a cache.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, log10
from pathlib import Path
from typing import Any

import numpy as np
from generator import Interactions

_VALUE_BYTES = 8  # a code and a float32
_RANK = 64
_BASIS_BYTES = 1 << 29  # of a Krylov basis on the driver, or what `2 rank + 4 block` vectors take if that is more


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Workers that are all alike, and a driver that is like one of them.

    Attributes
    ----------
    n_workers, cores : int
        Machines, and cores of each.
    memory : float
        Bytes of each.
    network : float
        Bytes a second, each way, of each.
    disk : float
        Bytes a second that a worker reads of its blocks when they are not in memory.
    remote : float
        Bytes a second that a worker reads from where the store is, once.
    """

    n_workers: int
    cores: int
    memory: float
    network: float
    disk: float
    remote: float

    def __str__(self) -> str:
        return (
            f"{self.n_workers} workers x {self.cores} cores x {self.memory / 2**30:.0f} GiB, "
            f"{self.network * 8 / 1e9:g} Gbit/s, disks of {self.disk / 1e9:g} GB/s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was measured.

    Attributes
    ----------
    items, values : tuple of float
        Numbers of items, and core seconds per stored value and pass, of each fit.
    user_factors : float
        Core seconds per stored value, of the largest fit.
    look : float
        Core seconds per stored value of the first look at the blocks, for their fingerprint; of the largest fit.
    driver : float
        Seconds per item and pass of the driver's algebra, of the largest fit.
    save : float
        Seconds per stored value of writing a model, which holds the training data; of the largest fit.
    share : float
        Stored values per row of interactions.
    passes, block_size : int
        Of the largest fit.
    """

    items: tuple[float, ...]
    values: tuple[float, ...]
    user_factors: float
    look: float
    driver: float
    save: float
    share: float
    passes: int
    block_size: int

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Rates:
        """Return those of runs of `scale.py` that had the case `fit`, by their JSON."""
        found = []
        for path in paths:
            cases = json.loads(path.read_text())["facts"].values()
            found += [(facts["n_rows"], facts["in_memory_answer"]) for facts in cases if "in_memory_answer" in facts]
        if not found:
            raise SystemExit("none of these files has a fit in memory; run `scale.py fit --json` first")
        found.sort(key=lambda each: each[1]["n_stored"])
        per_value = [each["cores"] * each["kinds"]["passes"] / each["passes"] / each["n_stored"] for _, each in found]
        n_rows, last = found[-1]
        return cls(
            items=tuple(float(each["n_items"]) for _, each in found),
            values=tuple(per_value),
            user_factors=last["cores"] * last["kinds"]["user factors"] / last["n_stored"],
            look=last["cores"] * last["kinds"]["first look"] / last["n_stored"],
            driver=last["kinds"]["driver"] / last["passes"] / last["n_items"],
            save=last["seconds"]["save"] / last["n_stored"],
            share=last["n_stored"] / n_rows,
            passes=last["passes"],
            block_size=last["plan"]["block_size"],
        )

    def value(self, n_items: int) -> float:
        """Return the core seconds per stored value and pass, at so many items."""
        if len(self.items) == 1:
            return self.values[0]
        slope, level = np.polyfit(np.log10(self.items), self.values, 1)
        return float(max(level + slope * log10(n_items), max(self.values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a fit would take.

    Attributes
    ----------
    interactions : Interactions
    seconds : mapping of str to float
        By what they go into, in all.
    bytes_moved : float
        In and out of the busiest machine, per pass.
    worker_bytes, driver_bytes : mapping of str to float
        Of the arrays that each holds at once; blocks of a worker are its page cache, and need not fit.
    """

    interactions: Interactions
    seconds: dict[str, float]
    bytes_moved: float
    worker_bytes: dict[str, float]
    driver_bytes: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        names = ("seconds", "bytes_moved", "worker_bytes", "driver_bytes")
        return {"interactions": self.interactions.n_rows, **{name: getattr(self, name) for name in names}}


def predict(interactions: Interactions, rates: Rates, cluster: Cluster) -> Prediction:
    """Return what an SVD of rank 64 to the tolerance of the measured fits would take."""
    stored = rates.share * interactions.n_rows
    n_users, n_items = interactions.n_users, interactions.n_items
    cores = cluster.n_workers * cluster.cores
    passes = rates.passes
    blocks = _VALUE_BYTES * stored / cluster.n_workers
    in_memory = blocks < cluster.memory / 2
    partial = 4.0 * n_items * rates.block_size
    # A tree of messages there, and one back.
    moved = 2 * (log2(cluster.n_workers) + 1) * partial
    basis = max(_BASIS_BYTES, 4.0 * n_items * (2 * _RANK + 4 * rates.block_size))
    seconds = {
        "passes": passes * stored * rates.value(n_items) / cores,
        "exchange": passes * moved / cluster.network,
        "driver": passes * n_items * rates.driver,
        "reading": blocks / cluster.remote + (0.0 if in_memory else passes * blocks / cluster.disk),
        "first look": stored * rates.look / cores,
        "user factors": stored * rates.user_factors / cores + 4 * _RANK * n_users / cluster.network,
        "saving": stored * rates.save,
    }
    return Prediction(
        interactions=interactions,
        seconds=seconds,
        bytes_moved=moved,
        worker_bytes={"basis": partial, "partial sums": 2 * cluster.cores * partial, "blocks": blocks},
        driver_bytes={
            "Krylov basis": basis,
            "vectors of the certificate": 3 * 8.0 * n_items * _RANK,
            "user factors": 4.0 * n_users * _RANK,
            "ids": 8.0 * (n_users + n_items),
        },
    )
