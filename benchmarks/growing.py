#!/usr/bin/env python3
"""Fits after 1% of the interactions were new: passes and seconds, from the old model and afresh.

Usage: python benchmarks/growing.py --large MATRIX.npz [--gowalla FOLDER] [--rank 64] [--scratch FOLDER]

One value in a hundred, at random, is held back from a store and appended to it; then the store is compacted. The values
that both fits find are compared.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from common import read_gowalla, table

import recscale_dask as rs

TOLERANCES = (1e-2, 1e-3, 1e-4)
SCALED = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its seconds."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def grown_store(rows: Any, folder: Path) -> tuple[rs.UserItemMatrix, rs.UserItemMatrix]:
    """Store 99 in 100 of the values, append the others; return the matrix before and after, and print the times."""
    rows = rows.tocoo()
    users, items = rows.coords
    held_back = np.random.default_rng(0).random(rows.nnz) < 0.01
    kept = scipy.sparse.csr_array((rows.data[~held_back], (users[~held_back], items[~held_back])), shape=rows.shape)
    matrix = rs.UserItemMatrix.from_scipy(kept)
    _, saving = timed(lambda: matrix.save(folder / "store"))
    columns = {"user": users[held_back], "item": items[held_back], "value": rows.data[held_back]}
    new = rs.read_interactions(pa.table(columns))
    before = rs.UserItemMatrix.open(folder / "store")
    after, appending = timed(lambda: before.append(new))
    size = sum(each.stat().st_size for each in (folder / "store" / "deltas").rglob("*.arrow"))
    print(
        f"{before.nnz:,} values saved in {saving:.2f} s; {len(new):,} appended in {appending:.2f} s: "
        f"{size / 1e6:.0f} MB"
    )
    return before, after


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, required=True, metavar="MATRIX.npz")
    parser.add_argument("--gowalla", type=Path, metavar="FOLDER")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--scratch", type=Path, help="Where stores are written for a while.")
    args = parser.parse_args()
    cases = [("large", scipy.sparse.load_npz(args.large), {}), ("large, scaled", None, SCALED)]
    if args.gowalla:
        cases.append(("gowalla, scaled", read_gowalla(args.gowalla), SCALED))
    lines = []
    folder = Path(tempfile.mkdtemp(dir=args.scratch))
    try:
        for number, (name, rows, options) in enumerate(cases):
            if rows is not None:
                (folder / str(number)).mkdir()
                before, after = grown_store(rows, folder / str(number))
            for tol in TOLERANCES:
                settings = {"rank": args.rank, "tol": tol, "executor": "threads", **options}
                model = rs.factorize(before, **settings)
                fresh, fresh_seconds = timed(lambda: rs.factorize(after, **settings))  # noqa: B023
                warm, warm_seconds = timed(lambda: rs.factorize(after, **settings, warm_start=model))  # noqa: B023
                off = np.abs(warm.singular_values / fresh.singular_values - 1).max()
                certificates = fresh.certificate, warm.certificate
                passes = [each.passes for each in certificates]
                lines.append(
                    (
                        name,
                        f"{tol:g}",
                        *(str(each) for each in passes),
                        f"{passes[0] / passes[1]:.1f}",
                        f"{fresh_seconds:.2f}",
                        f"{warm_seconds:.2f}",
                        f"{certificates[1].max_residual:.1e}",
                        f"{off:.0e}",
                    )
                )
                print(lines[-1], flush=True)
        compact, seconds = timed(after.compact)
        print(f"{compact.nnz:,} values compacted in {seconds:.2f} s")
    finally:
        shutil.rmtree(folder)
    head = ("case", "tol", "passes, fresh", "warm", "ratio", "s, fresh", "s, warm", "residual", "values differ by")
    print("\n".join(table(head, lines)))


if __name__ == "__main__":
    main()
