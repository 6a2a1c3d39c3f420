#!/usr/bin/env python3
"""`kill -9` at random moments while recommendations are written: the same bytes, and no half file for a reader?

Usage: python benchmarks/recommend_faults.py [CASE ...] [--kills 20] [--users 120000] [--seed 0] [--json OUT]

Without CASE all of these run: processes-worker, dask-worker, processes-driver, dask-driver. A process of its own
writes a data set of drawn factors, to a disk that is made slow (a part takes 50 ms), so that kills fall into
writes; once a random number of its parts are there, and some random milliseconds later, a random worker or the
process itself is killed. One that lost a worker must finish; one that was killed is run again. All the while a
reader opens the data set as any reader would and reads all of it.

Exit code 1 if a finished data set differs from that of threads by a byte, has anything else in its folder, or if
the reader ever met an error or a row that does not belong there.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import fsspec
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
from common import environment, table
from recommend_scale import make
from slow_disk import SlowDisk

import recscale_dask as rs

CASES = {f"{name}-{victim}": (name, victim) for victim in ("worker", "driver") for name in ("processes", "dask")}
K = 10
N_ITEMS = 20_000
RANK = 32
_PATIENCE = 60.0  # seconds for anything to happen


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill did.

    Attributes
    ----------
    parts : int
        Finished files when it happened.
    unfinished : int
        Files that were being written right after it.
    same : bool
        Whether the folder has the bytes that it should, and nothing else.
    reads : int
        How often all of the data set was read meanwhile.
    problems : tuple of str
        What was wrong with that.
    """

    parts: int
    unfinished: int
    same: bool
    reads: int
    problems: tuple[str, ...]


def kill_once(model: Path, whole: Path, out: Path, executor: str, victim: str, rng: random.Random) -> Killed:
    """Write a data set, kill something meanwhile, see to it that it is finished, and compare it."""
    n_parts = len(list(whole.glob("*.parquet")))
    moment, delay = rng.randrange(1, n_parts - 2), rng.random() * 0.05
    expected = ds.dataset(whole, format="parquet").to_table()
    with reading(out, expected) as reader, driving(model, out, executor) as driver:
        _wait(lambda: _n_parts(out) >= moment or driver.poll() is not None)
        time.sleep(delay)
        process = psutil.Process(driver.pid)
        workers = [each for each in process.children(recursive=True) if "spawn_main" in " ".join(each.cmdline())]
        (process if victim == "driver" else rng.choice(workers)).kill()
        parts, unfinished = _n_parts(out), len(list(out.glob(".*")))
        if victim == "driver":
            driver.wait(_PATIENCE)
            psutil.wait_procs(workers, timeout=_PATIENCE)  # they end by themselves once they miss it
            with driving(model, out, executor) as second:
                code = second.wait(_PATIENCE)
        else:
            code = driver.wait(_PATIENCE)
    problems = [*reader.problems, *([f"the driver ended with {code}"] if code else [])]
    return Killed(parts, unfinished, content(out) == content(whole), reader.reads, tuple(problems))


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


def _n_parts(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


# -- the driver --------------------------------------------------------------------------------------


@contextmanager
def driving(model: Path, out: Path, executor: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this script as a process that writes the data set."""
    process = subprocess.Popen([sys.executable, __file__, "--drive", str(model), str(out), executor])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def drive(model: Path, out: Path, executor: str) -> None:
    """Write the data set: what that process does."""
    fsspec.register_implementation("slow", SlowDisk)
    with rs.open_executor(executor, n_workers=2) as opened:
        rs.load_model(model, verify=False).recommend_to(f"slow://{out}", k=K, executor=opened, progress=False)


# -- the reader --------------------------------------------------------------------------------------


class Reader:
    """Reads what there is of a data set, again and again."""

    def __init__(self, out: Path, expected: pa.Table) -> None:
        self.reads = 0
        self.problems: list[str] = []
        self._out = out
        self._expected = expected
        self._end = threading.Event()

    def run(self) -> None:
        """Read until `stop`."""
        while not self._end.wait(0.01):
            if not _n_parts(self._out):
                continue
            try:
                found = ds.dataset(self._out, format="parquet").to_table()
            except Exception as error:  # whatever a reader would see
                self.problems.append(f"{type(error).__name__}: {error}")
                continue
            self.reads += 1
            # Users are 0, 1, ...: their rows are where they begin in the whole, and are all there or none.
            first = found["user"].to_numpy() * K + found["rank"].to_numpy() - 1
            if len(found) % K or not self._expected.take(pa.array(first)).equals(found):
                self.problems.append("rows that do not belong there")

    def stop(self) -> None:
        """End `run`."""
        self._end.set()


@contextmanager
def reading(out: Path, expected: pa.Table) -> Iterator[Reader]:
    """Read a data set in a thread meanwhile."""
    reader = Reader(out, expected)
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        yield reader
    finally:
        reader.stop()
        thread.join()


# -- the table ---------------------------------------------------------------------------------------


def line(case: str, kills: list[Killed]) -> tuple[str, ...]:
    """Return a case as a line of text."""
    parts = [each.parts for each in kills]
    return (
        case,
        str(len(kills)),
        f"{min(parts)} to {max(parts)}",
        str(sum(each.unfinished for each in kills)),
        f"{sum(each.same for each in kills)} of {len(kills)}",
        str(sum(each.reads for each in kills)),
        str(sum(len(each.problems) for each in kills)),
    )


def main() -> None:
    """Kill, as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--users", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        drive(Path(args.drive[0]), Path(args.drive[1]), args.drive[2])
        return
    if unknown := set(args.cases) - set(CASES):
        parser.error(f"there is no case {unknown.pop()!r}; the cases are: {', '.join(CASES)}")
    results: dict[str, list[Killed]] = {}
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        model, whole = Path(folder) / "model", Path(folder) / "whole"
        make(model, args.users, N_ITEMS, RANK)
        rs.load_model(model).recommend_to(whole, k=K, executor="threads", progress=False)
        for case in args.cases or CASES:
            results[case] = []
            for number in range(args.kills):
                out = Path(folder) / f"{case} {number}"
                results[case].append(kill_once(model, whole, out, *CASES[case], rng))
                print(case, number, results[case][-1], file=sys.stderr, flush=True)
    if args.json:
        kills = {case: [asdict(each) for each in kills] for case, kills in results.items()}
        args.json.write_text(json.dumps({"environment": environment(), "kills": kills}, indent=2) + "\n")
    head = ("case", "kills", "parts there", "half-written then", "same bytes", "reads", "bad reads or ends")
    print("\n".join(table(head, [line(case, kills) for case, kills in results.items()])))
    good = all(each.same and not each.problems for kills in results.values() for each in kills)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
