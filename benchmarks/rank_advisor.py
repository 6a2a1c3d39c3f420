#!/usr/bin/env python3
"""What advice on the rank costs: one fit judged at every rank, against a fit for each, and against shared score blocks.

Usage: python benchmarks/rank_advisor.py TRAIN [--rank 256] [--json OUT]

TRAIN is train.txt of the NGCF/LightGCN split of Gowalla (one line a user: ``user item item ...``), of which a tenth is
held out. Prints the seconds of `advise_rank`, of a fit and an evaluation for every rank, and, for the same number of
users, of growing blocks of dense scores from rank to rank in NumPy, with a selection after each.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import recscale_dask as rs

OPTIONS: dict[str, Any] = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}
USERS = 10_000
BLOCK = 256


def grown_blocks(model: rs.FactorModel, ranks: list[int], k: int = 20) -> float:
    """Return the seconds of dense scores of some users, grown from rank to rank, and of the best k after each."""
    start = time.perf_counter()
    for first in range(0, USERS, BLOCK):
        users = model.user_factors[first : min(first + BLOCK, USERS)]
        scores = np.zeros((len(users), len(model.items)), np.float32)
        for low, high in zip([0, *ranks], ranks, strict=False):
            scores += users[:, low:high] @ model.item_factors[:, low:high].T
            np.argpartition(scores, -k, axis=1)
    return time.perf_counter() - start


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    train, test = rs.split(rs.read_interactions(args.train, format="adjacency"), fraction=0.1, seed=0)

    advice = rs.advise_rank(train, test, rank=args.rank, filters={}, progress=False, **OPTIONS)
    print(advice, "\n")
    ranks = [point.rank for point in advice.points]
    start = time.perf_counter()
    for rank in ranks:
        model = rs.factorize(train, rank=rank, progress=False, **OPTIONS)
        rs.evaluate(model, test, metrics=["ndcg@20", "recall@20"], progress=False)
    results = {
        "ranks": len(ranks),
        "fit of the largest": advice.seconds["fit"],
        "judging all ranks": advice.seconds["evaluate"],
        "a fit and an evaluation for each rank": time.perf_counter() - start,
        "growing dense blocks and selecting": grown_blocks(model, ranks),
    }
    for name, value in results.items():
        print(f"{name:<40}{value:>8.1f}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
