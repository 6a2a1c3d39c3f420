#!/usr/bin/env python3
"""Recommendations for many users, written by the workers, of a model larger than its share of memory.

Usage: python benchmarks/recommend_to.py [--executor processes] [--folder FOLDER] [--json OUT]

A model of 5 million users, 200,000 items and rank 64 is drawn and stored under FOLDER (by default a temporary one),
which wants 3 GB; then its first 500,000 users, and a tenth of them, get their best 10. Lines appear on stderr as they
are ready, and the table on stdout at the end. `executors.py` compares executors on this and other jobs.

Memory is that of the process and all its children: see `process_tree.py`. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Report, Row
from process_tree import measure


def scale(report: Report, folder: Path, executor: str) -> None:
    """Recommend to a part of very many users; memory of all processes, and time per user against fewer users."""
    model = folder / "drawn model"
    _child("make", model)
    seconds, peak = _child("run", model, folder / "recs", "--executor", executor)
    case = f"scale, {executor}"
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
    """Run the case on an executor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", default="processes")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    report = Report(args.json)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        scale(report, Path(folder), args.executor)
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
