#!/usr/bin/env python3
"""The parts of `recommend_to.py` that run in a process of their own: make a large model, recommend from it.

Usage: python benchmarks/recommend_scale.py make MODEL [--users 5000000] [--items 200000] [--rank 64]
       python benchmarks/recommend_scale.py run MODEL OUT [--users 500000] [--k 10] [--executor processes]

`make` draws factors: Gaussian, with a spectrum that falls like that of ratings (1 / sqrt(j)) and lengths of
items spread as popularity is (log-normal); each user has seen 20 items. `run` opens the executor, writes a few
partitions to warm up, then a tenth of the users and all of them, each to a data set of its own under OUT, and
prints one JSON object of seconds. The model is memory-mapped and not verified, which would read all of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import recscale_dask as rs
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.io.model_store import save_model
from recscale_dask.model import Factors, SeenItems

SEEN = 20  # items of each user
WARM_UP = 65536  # users: a partition or two for each worker
_CHUNK = 1 << 18  # rows


def make(path: Path, n_users: int, n_items: int, rank: int) -> None:
    """Write a model of drawn factors."""
    rng = np.random.default_rng(0)
    spectrum = (np.arange(1, rank + 1) ** -0.25).astype(np.float32)  # on both sides: 1 / sqrt(j) in the product
    lengths = rng.lognormal(sigma=0.75, size=(n_items, 1)).astype(np.float32)
    items = rng.standard_normal((n_items, rank), dtype=np.float32) * spectrum * lengths
    users = np.empty((n_users, rank), np.float32)
    seen = np.empty((n_users, SEEN), np.int32)
    for start in range(0, n_users, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n_users))
        users[rows] = rng.standard_normal((rows.stop - start, rank), dtype=np.float32) * spectrum
        seen[rows] = _ascending(rng, rows.stop - start, n_items)
    model = Factors(
        user_factors=users,
        item_factors=items,
        singular_values=np.arange(1, rank + 1) ** -0.5,
        users=Vocabulary.range(n_users),
        items=Vocabulary.range(n_items),
        seen=SeenItems(np.arange(n_users + 1, dtype=np.int64) * SEEN, seen.reshape(-1)),
        provenance={"solver": "drawn"},
    )
    save_model(model, path, overwrite=True)


def _ascending(rng: np.random.Generator, n: int, n_items: int) -> NDArray[np.int32]:
    """Return different ascending items for each of n users: one of each of `SEEN` equal ranges."""
    width = n_items // SEEN
    drawn: NDArray[np.int32] = (
        rng.integers(0, width, (n, SEEN), dtype=np.int32) + np.arange(SEEN, dtype=np.int32) * width
    )
    return drawn


def run(path: Path, out: Path, n_users: int, k: int, name: str) -> dict[str, float]:
    """Return the seconds of opening, of a tenth of the users, and of all."""
    start = time.perf_counter()
    model = rs.load_model(path, verify=False)
    seconds = {}
    with rs.open_executor(name) as executor:
        model.recommend_to(out / "warm-up", range(WARM_UP), k, executor=executor)
        seconds["open"] = time.perf_counter() - start
        for what, count in (("tenth", n_users // 10), ("all", n_users)):
            start = time.perf_counter()
            model.recommend_to(out / what, range(count), k, executor=executor)
            seconds[what] = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds


def main() -> None:
    """Make a model, or recommend from one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "run"))
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--executor", default="processes")
    args = parser.parse_args()
    if args.what == "make":
        make(args.model, args.users or 5_000_000, args.items, args.rank)
        return
    args.out.mkdir()
    print(json.dumps(run(args.model, args.out, args.users or 500_000, args.k, args.executor)))


if __name__ == "__main__":
    main()
