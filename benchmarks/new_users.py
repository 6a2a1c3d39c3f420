#!/usr/bin/env python3
"""New users: what drift expects of them against what is found, and how long `fold_in` takes.

Usage: python benchmarks/new_users.py [--ml RATINGS.csv] [--gowalla FOLDER] [--large MATRIX.npz] [--rank 64]

Each data set is split into 80% and 20% of its users at random, fitted to the 80%, and the others are folded in:
users of the same kind, so nothing should be advised. `expected` is what the model says it explains of such
users, from the fit alone; `in training` what it explains of those it was fitted to. Times of `fold_in` are medians,
of all users at once and of one user, executor "threads".
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes

OPTIONS: dict[str, dict[str, Any]] = {
    "values": {},
    "binary": {"weighting": "binary"},
    "binary, scaled": {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5},
    "bm25, centred": {"weighting": "bm25", "center": "items"},
}


def matrices(args: argparse.Namespace) -> dict[str, sp.csr_array]:
    """Return the data sets that were asked for, users by items."""
    tastes = rs.read_interactions(pa.table(planted_tastes(2000, 600, 8).columns()))
    found = {"planted": rs.UserItemMatrix.from_interactions(tastes).to_scipy()}
    if args.ml:
        found["MovieLens"] = rs.UserItemMatrix.from_interactions(rs.read_interactions(args.ml)).to_scipy()
    if args.gowalla:
        data = rs.read_interactions(args.gowalla / "train.txt", format="adjacency")
        found["Gowalla"] = rs.UserItemMatrix.from_interactions(data).to_scipy()
    if args.large:
        found["large"] = sp.csr_array(sp.load_npz(args.large))
    return found


def median_seconds(call: Any, repeats: int) -> float:
    """Return the median time of a call, after one that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Print one line for each data set and way to weight it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml", type=Path)
    parser.add_argument("--gowalla", type=Path)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(f"{'data':<10}{'fit':<16}{'in training':>12}{'expected':>10}{'found':>8}{'+-':>7}{'loss':>7}  refit", end="")
    print(f"{'all users':>15}{'ms':>9}{'one user, ms':>14}")
    for name, rows in matrices(args).items():
        order = np.random.default_rng(0).permutation(rows.shape[0])
        cut = int(0.8 * len(order))
        fitted, new = (rows[np.sort(part)] for part in (order[:cut], order[cut:]))
        for fit, options in OPTIONS.items():
            with rs.open_executor("threads") as executor:
                model = rs.factorize(fitted, rank=args.rank, executor=executor, **options)
                everyone = rs.UserItemMatrix.from_scipy(rows)
                all_seconds = median_seconds(lambda: model.fold_in(everyone, executor=executor), args.repeats)  # noqa: B023
                one = new[[0]].indices.tolist()
                one_seconds = median_seconds(lambda: model.fold_in(one, executor=executor), args.repeats)  # noqa: B023
                drift = model.drift(new, executor=executor)
            advice = "advised" if drift.refit_advised else "no"
            print(
                f"{name:<10}{fit:<16}{drift.explained_in_training:>12.3f}{drift.expected:>10.3f}{drift.explained:>8.3f}"
                f"{drift.standard_error:>7.3f}{drift.loss:>7.0%}  {advice:<8}",
                f"{rows.shape[0]:>11}{1e3 * all_seconds:>9.0f}{1e3 * one_seconds:>14.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
