#!/usr/bin/env python3
"""A billion interactions on one machine: what the command line needs for them, in time and memory.

Usage: python benchmarks/scale.py generate --interactions 100M --out FOLDER [--users N] [--items N] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from generator import Interactions

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


def count(text: str) -> int:
    """Return a number such as 100M."""
    number, factor = (text[:-1], _SUFFIXES[text[-1]]) if text[-1:] in _SUFFIXES else (text, 1)
    return int(float(number) * factor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("generate", help="write drawn interactions as Parquet")
    command.add_argument("--interactions", type=count, required=True, metavar="N", help="such as 10M, 100M, 1B")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--users", type=count)
    command.add_argument("--items", type=count)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=generate)
    return parser


def main() -> None:
    """Run the command that is asked for."""
    args = _parser().parse_args()
    raise SystemExit(args.run(args))


if __name__ == "__main__":
    main()
