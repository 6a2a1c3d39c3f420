#!/usr/bin/env python3
"""Quality on Gowalla, and one fit on every executor with the hash of its factors.

Usage: python benchmarks/gowalla.py FOLDER [--rank 256] [--json OUT]

FOLDER holds train.txt and test.txt of the NGCF/LightGCN split (one line a user: ``user item item ...``).
Prints recall@20 and ndcg@20 with and without degree scaling, the time of `scipy.sparse.linalg.svds` in
the same run, and one line per executor. Every figure is one run: compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse.linalg

import recscale_dask as rs

SAME_FIT: list[tuple[str, dict[str, Any]]] = [
    ("serial", {}),
    ("threads", {}),
    ("processes", {"n_workers": 1}),
    ("processes", {"n_workers": 2}),
    ("dask", {"n_workers": 2}),
    ("spark", {"master": "local[2]"}),
]


def scaled(matrix: rs.UserItemMatrix, exponent: float) -> Any:
    """Return the binary matrix, divided by powers of its degrees, as SciPy CSR."""
    A = matrix.to_scipy()
    A.data[:] = 1
    if exponent:
        users, items = A.sum(axis=1), A.sum(axis=0)
        A = scipy.sparse.diags_array(users**-exponent) @ A @ scipy.sparse.diags_array(items**-exponent)
    return A.tocsr().astype(np.float32)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {"quality": [], "executors": []}

    train = rs.read_interactions(args.folder / "train.txt", format="adjacency")
    test = rs.read_interactions(args.folder / "test.txt", format="adjacency")
    matrix = rs.UserItemMatrix.from_interactions(train)
    print(f"{matrix}\n")
    print(f"{'scaling':>8}{'fit s':>8}{'scipy s':>9}{'recall@20':>11}{'ndcg@20':>9}{'residual':>10}{'passes':>8}")
    for exponent in (0.5, 0.0):
        start = time.perf_counter()
        options = {"weighting": "binary", "user_scaling": exponent, "item_scaling": exponent}
        model = rs.factorize(matrix, rank=args.rank, progress=False, **options)
        fitted = time.perf_counter() - start
        start = time.perf_counter()
        scipy.sparse.linalg.svds(scaled(matrix, exponent), args.rank, rng=np.random.default_rng(0))
        peer = time.perf_counter() - start
        metrics = rs.evaluate(model, test, progress=False).metrics
        row = {
            "scaling": exponent,
            "fit_seconds": fitted,
            "scipy_seconds": peer,
            **metrics,
            "max_residual": model.certificate.max_residual,
            "passes": model.certificate.passes,
        }
        results["quality"].append(row)
        print(
            f"{exponent:>8}{fitted:>8.1f}{peer:>9.1f}{metrics['recall@20']:>11.4f}{metrics['ndcg@20']:>9.4f}"
            f"{row['max_residual']:>10.1e}{row['passes']:>8}"
        )

    print(f"\n{'executor':<24}{'fit s':>8}  factors_sha256 (rank 32)")
    for name, options in SAME_FIT:
        with rs.open_executor(name, **options) as executor:
            start = time.perf_counter()
            model = rs.factorize(matrix, rank=32, weighting="binary", executor=executor, progress=False)
            seconds = time.perf_counter() - start
        label = name + "".join(f" {value}" for value in options.values())
        results["executors"].append({"executor": label, "seconds": seconds, "sha256": model.factors_sha256()})
        print(f"{label:<24}{seconds:>8.1f}  {model.factors_sha256()}")
    same = len({row["sha256"] for row in results["executors"]}) == 1
    print("the same bytes on all" if same else "NOT THE SAME")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
