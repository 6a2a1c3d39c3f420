#!/usr/bin/env python3
"""A billion interactions on one machine: what the command line needs for them, in time and memory.

Usage: python benchmarks/scale.py generate --interactions 100M --out FOLDER [--users N] [--items N] [--seed 0]
       python benchmarks/scale.py CASE --interactions 100M [--folder FOLDER] [--json OUT] ...
       python benchmarks/scale.py predict

Cases, each in fresh processes whose memory is sampled with that of all processes below them (`process_tree.py`):

    ingest     rows to a store, against DuckDB merely sorting them by user, with the same memory and threads
    fit        an SVD from the store, against its plan, and against the same fit with the matrix in memory
    recommend  the best 10 unseen items of the first million users, as a folder of Parquet files
    append     passes of a refit from the model before the last 1% of the rows were appended
    resume     fits killed with `kill -9`, resumed on another executor: the same factors?
    all        the lot

What a case needs and is not in FOLDER yet, it makes there first. Lines appear on stderr as they are ready, and the
table on stdout at the end. Exit code 1 if a check failed; a missed target is only a "no". Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import Report
from generator import Interactions
from scale_cases import Setting, append, fit, ingest, recommend
from scale_kills import resume

CASES: dict[str, Callable[[Report, Setting], None]] = {
    "ingest": ingest,
    "fit": fit,
    "recommend": recommend,
    "append": append,
    "resume": resume,
}
_SUFFIXES = {"k": 10**3, "M": 10**6, "B": 10**9}


def generate(args: argparse.Namespace) -> int:
    """Write drawn interactions."""
    interactions = Interactions.of_size(args.interactions, args.users, args.items, args.seed)
    start = time.perf_counter()

    def show(rows: int) -> None:
        seconds = time.perf_counter() - start
        print(f"{rows:,} of {interactions.n_rows:,} rows, {rows / seconds:,.0f} a second", file=sys.stderr, flush=True)

    interactions.write(args.out, progress=show)
    return 0


def run(args: argparse.Namespace) -> int:
    """Run one case, or all."""
    args.folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        n_rows=args.interactions,
        folder=args.folder.absolute(),
        rank=args.rank,
        tol=args.tol,
        memory_limit=args.memory_limit,
        kills=args.kills,
        n_resume=args.resume_interactions,
        baseline=args.baseline,
        seed=args.seed,
    )
    report = Report(args.json)
    for name in CASES if args.case == "all" else [args.case]:
        CASES[name](report, setting)
        report.save()
    return report.finish()


def count(text: str) -> int:
    """Return a number such as 100M."""
    number, factor = (text[:-1], _SUFFIXES[text[-1]]) if text[-1:] in _SUFFIXES else (text, 1)
    return int(float(number) * factor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="case")
    command = commands.add_parser("generate", help="write drawn interactions as Parquet")
    command.add_argument("--interactions", type=count, required=True, metavar="N", help="such as 10M, 100M, 1B")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--users", type=count)
    command.add_argument("--items", type=count)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=generate)
    for name in [*CASES, "all"]:
        command = commands.add_parser(name, help="every case" if name == "all" else CASES[name].__doc__)
        command.add_argument("--interactions", type=count, default="100M", metavar="N", help="such as 10M, 100M, 1B")
        command.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "scale"))
        command.add_argument("--rank", type=int, default=64)
        command.add_argument("--tol", type=float, default=1e-2)
        command.add_argument("--memory-limit", default="2GiB", help="of ingests")
        command.add_argument("--kills", type=int, default=10)
        command.add_argument("--resume-interactions", type=count, default="10M", metavar="N", help="of the case resume")
        command.add_argument("--baseline", type=Path, metavar="JSON", help="of a smaller run, to compare rates with")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--json", type=Path, metavar="OUT")
        command.set_defaults(run=run)
    return parser


def main() -> None:
    """Run the command that is asked for."""
    args = _parser().parse_args()
    raise SystemExit(args.run(args))


if __name__ == "__main__":
    main()
