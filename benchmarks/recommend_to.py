#!/usr/bin/env python3
"""Recommendations for everyone, written by the workers: executors against threads, and a model larger than its share
of memory.

Usage: python benchmarks/recommend_to.py [CASE ...] [--large MATRIX.npz] [--folder FOLDER] [--repeats 5]
                                         [--scale-executor processes] [--json OUT]

MATRIX.npz is a SciPy CSR matrix such as one of MovieLens-20M's shape; models and data sets are written under
FOLDER (by default a temporary one), which wants 3 GB.

Without CASE all of these run: executors (SVD of rank 64 of the matrix, top-10 of all its users as a Parquet data
set, each executor in turns with threads, after its start), scale (5 million users, 200,000 items, rank 64, drawn
and stored: the first 500,000 users, and a tenth of them). Lines appear on stderr as they are ready, and the table
on stdout at the end.

Memory is that of the process and all its children: see `process_tree.py`. Linux only.

Exit code 1 if two executors write other bytes. A missed target is only a "no".
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import scipy.sparse
from common import Report, Row, interleave
from process_tree import measure

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, UnknownNameError

RANK = 64
K = 10
WARM_UP_USERS = 65536


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the cases run on."""

    large: Path | None
    folder: Path
    repeats: int
    scale_executor: str


def scale(report: Report, inputs: Inputs) -> None:
    """Recommend to a part of very many users; memory of all processes, and time per user against fewer users."""
    model = inputs.folder / "drawn model"
    _child("make", model)
    seconds, peak = _child("run", model, inputs.folder / "recs", "--executor", inputs.scale_executor)
    case = f"scale, {inputs.scale_executor}"
    report.row(
        Row(case=f"{case}: memory", ours=peak / 1e9, peer=None, target=3.0, at_most=True, absolute=True, unit="GB")
    )
    # Per user, in microseconds: 50,000 users and 500,000.
    few, many = seconds["tenth"] * 1e6 / 50_000, seconds["all"] * 1e6 / 500_000
    report.row(
        Row(case=f"{case}: a user of all / of a tenth", ours=many, peer=few, target=1.1, at_most=True, unit="us")
    )
    report.measured(case, {}, **seconds, peak_pss_bytes=peak)
    report.note(f"{case}: 500,000 users in {seconds['all']:.1f} s, 50,000 in {seconds['tenth']:.1f} s")


def _child(*arguments: Any) -> tuple[Any, int]:
    """Run a part of the benchmark in a process of its own; return what it printed and its peak memory."""
    measured = measure([sys.executable, Path(__file__).with_name("recommend_scale.py"), *arguments])
    return measured.answer(), measured.peak_bytes


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--large", type=Path, metavar="MATRIX.npz")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale-executor", default="processes")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    for name in (cases := args.cases or list(CASES)):
        if name not in CASES:
            parser.error(f"there is no case {name!r}; the cases are: {', '.join(CASES)}")
        if (needed := CASES[name][1]) and getattr(args, needed) is None:
            parser.error(f"case {name!r} needs --{needed}")
    report = Report(args.json)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        inputs = Inputs(args.large, Path(folder), args.repeats, args.scale_executor)
        for name in cases:
            CASES[name][0](report, inputs)
            report.save()
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
