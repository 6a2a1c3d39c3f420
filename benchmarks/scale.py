#!/usr/bin/env python3
"""A billion interactions on one machine: what the command line needs for them, in time and memory.

Usage: python benchmarks/scale.py generate --interactions 100M --out FOLDER [--users N] [--items N] [--seed 0]
       python benchmarks/scale.py CASE --interactions 100M [--folder FOLDER] [--json OUT] ...
       python benchmarks/scale.py predict JSON... [--workers 16 --cores 8 --memory 64 --network 10 ...]

`predict` is the cost model of docs/guide/how-large.md, with the rates that `fit` measured and wrote to the JSON
files. Cases, each in fresh processes whose memory is sampled with that of all processes below them (`process_tree.py`):

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

import cost_model
from common import Report, table
from cost_model import Cluster, Rates
from generator import Interactions
from scale_cases import Setting, append, fit, ingest, recommend, short
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
        peers=not args.without_peers,
    )
    report = Report(args.json)
    for name in CASES if args.case == "all" else [args.case]:
        CASES[name](report, setting)
        report.save()
    return report.finish()


def predict(args: argparse.Namespace) -> int:
    """Print what fits of larger data would take on a cluster."""
    rates = Rates.of(args.measured)
    cluster = Cluster(
        n_workers=args.workers,
        cores=args.cores,
        memory=args.memory * 2**30,
        network=args.network * 1e9 / 8,
        disk=args.disk * 1e9,
        remote=args.remote * 1e9,
    )
    found = [cost_model.predict(Interactions.of_size(n_rows), rates, cluster) for n_rows in args.interactions]
    minutes = [(name, *(f"{each.seconds[name] / 60:.1f} min" for each in found)) for name in found[0].seconds]
    rows = [
        *minutes,
        ("in all", *(f"{sum(each.seconds.values()) / 60:.0f} min" for each in found)),
        ("moved per pass", *(f"{each.bytes_moved / 1e9:.2f} GB" for each in found)),
    ]
    for where in ("worker_bytes", "driver_bytes"):
        place = where.partition("_")[0]
        named = [getattr(each, where) for each in found]
        rows += [(f"{place}: {name}", *(f"{each[name] / 1e9:.1f} GB" for each in named)) for name in named[0]]
    sizes = [f"{short(each.interactions.n_rows)} interactions" for each in found]
    print("\n".join([f"{cluster}; {rates.passes} passes", *table(("", *sizes), rows)]))
    return 0


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
        command = commands.add_parser(
            name, help="every case" if name == "all" else str(CASES[name].__doc__).replace("%", "%%")
        )
        command.add_argument("--interactions", type=count, default="100M", metavar="N", help="such as 10M, 100M, 1B")
        command.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "scale"))
        command.add_argument("--rank", type=int, default=64)
        command.add_argument("--tol", type=float, default=1e-2)
        command.add_argument("--memory-limit", default="2GiB", help="of ingests")
        command.add_argument("--kills", type=int, default=10)
        command.add_argument("--resume-interactions", type=count, default="10M", metavar="N", help="of the case resume")
        command.add_argument("--without-peers", action="store_true", help="measure ours only")
        command.add_argument("--baseline", type=Path, metavar="JSON", help="of a smaller run, to compare rates with")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--json", type=Path, metavar="OUT")
        command.set_defaults(run=run)
    command = commands.add_parser("predict", help="what larger data would take on a cluster")
    command.add_argument("measured", type=Path, nargs="+", metavar="JSON", help="of runs that had the case fit")
    command.add_argument("--interactions", type=count, nargs="+", default=[10**10, 10**11], metavar="N")
    command.add_argument("--workers", type=int, default=16)
    command.add_argument("--cores", type=int, default=8, help="of each worker")
    command.add_argument("--memory", type=float, default=64, help="of each worker, GiB")
    command.add_argument("--network", type=float, default=10, help="of each worker, Gbit/s")
    command.add_argument("--disk", type=float, default=2, help="of each worker, GB/s")
    command.add_argument("--remote", type=float, default=1, help="from the store to each worker, GB/s")
    command.set_defaults(run=predict)
    return parser


def main() -> None:
    """Run the command that is asked for."""
    args = _parser().parse_args()
    raise SystemExit(args.run(args))


if __name__ == "__main__":
    main()
