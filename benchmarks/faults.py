#!/usr/bin/env python3
"""The fault matrix: what goes wrong on every executor in the middle of a fit, and how the fit ends.

Usage: python benchmarks/faults.py [EXECUTOR ...] [--fault NAME ...] [--json OUT]

Without EXECUTOR: processes, dask, spark, ray. Each cell runs in a process of its own, with a time limit: a fit that
meets the fault from its third pass on must end in the bytes of the serial executor or in the error that is named, and
leave no process and no file. The table appears on stdout as Markdown; exit code 1 if a cell fails. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import RecscaleError
from recscale_dask.execution.contract import Job
from recscale_dask.execution.events import Event, RunStarted
from recscale_dask.testing.faults import Fault, FaultyExecutor, FaultyTask
from recscale_dask.testing.leftovers import leftovers, new_leftovers, private_temporary_folder

EXECUTORS: dict[str, dict[str, Any]] = {
    "processes": {"n_workers": 2},
    "dask": {"n_workers": 2},
    "spark": {"master": "local[2]"},
    "ray": {"n_workers": 2, "object_store_bytes": 500_000_000},
}
SAME = "same bytes"
PASS = 3  # when the fault happens


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the matrix.

    Attributes
    ----------
    expected : str
        ``"same bytes"`` or the name of an error, or several with "|".
    limit : float
        Seconds, with the start of the engine.
    faults : tuple of Fault
        What blocks meet.
    """

    expected: str
    limit: float
    faults: tuple[Fault, ...] = ()


SCENARIOS = {
    "task raises once": Scenario(SAME, 60, (Fault(1, "raise", PASS),)),
    "task raises always": Scenario("BlockFailed", 60, (Fault(1, "raise", None),)),
    "worker killed": Scenario(SAME, 60, (Fault(1, "kill", PASS),)),
    "worker frozen 30 s": Scenario(SAME, 90, (Fault(1, "freeze", PASS, 30),)),
    "answers twice": Scenario("IncompleteRun", 60, (Fault(1, "twice", PASS),)),
    "answer late": Scenario(SAME, 60),
    "connection cut": Scenario("ExecutorUnavailable", 90),
    "new worker joins": Scenario(SAME, 60),
    "all workers gone": Scenario(SAME, 60),
}
"""By name; `late` and what follows are done by hand below."""

EXPECTED = {("dask", "all workers gone"): "WorkerLost"}
"""Where an engine ends otherwise: nobody replaces workers that were started by hand."""

REASONS = {
    ("processes", "connection cut"): "there is none: a pipe that ends is a dead worker",
    ("processes", "new worker joins"): "a pool has the size that it was opened with",
    ("spark", "new worker joins"): "local mode has a fixed number of cores; see the plugin's tests of a cluster",
}
"""Cells that cannot be, and why."""


# -- one cell ----------------------------------------------------------------------------------------


def run_cell(name: str, fault: str) -> dict[str, Any]:
    """Run one cell in this process; return how it ended."""
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = rs.UserItemMatrix.from_scipy(random)
    expected = rs.factorize(matrix, rank=16, executor="serial", progress=False).factors_sha256()
    with tempfile.TemporaryDirectory() as marks, private_temporary_folder():
        before = leftovers()
        start = time.monotonic()
        try:
            ended = _fit(name, fault, matrix, expected, Path(marks))
        except RecscaleError as error:
            ended = type(error).__name__
        seconds = time.monotonic() - start
        # Python keeps its resource tracker for the life of the process.
        left = {each for each in new_leftovers(before, 5) if "resource_tracker" not in each}
    return {"ended": ended, "seconds": seconds, "left": sorted(left)}


def _fit(name: str, fault: str, matrix: rs.UserItemMatrix, expected: str, marks: Path) -> str:
    by_hand = HANDS.get((name, fault))
    with ExitStack() as stack:
        options, act = stack.enter_context(by_hand()) if by_hand else (EXECUTORS[name], None)
        inner = rs.open_executor(name, **options)
        executor = stack.enter_context(FaultyExecutor(inner, SCENARIOS[fault].faults, marks))
        if fault == "answer late":
            late = FaultyTask((Fault(0, "late", None, 2.0),), _tell, None)
            answers = inner.outcomes(late, (Job(index, index) for index in range(4)), {})
            next(answers)
            answers.close()  # while block 0 may be at work; its answer must not be one of the fit
        hand = Hand(act)
        model = rs.factorize(matrix, rank=16, executor=executor, progress=hand)
        if act is not None and not hand.done:
            return "the fit ended before the fault"
    return SAME if model.factors_sha256() == expected else "OTHER BYTES"


def _tell(block: int) -> int:
    return block


class Hand:
    """An observer that acts once, when a pass begins."""

    def __init__(self, act: Callable[[], None] | None) -> None:
        self._act = act
        self.done = False

    def __call__(self, event: Event) -> None:
        """Act at the beginning of the pass."""
        if isinstance(event, RunStarted) and event.label == f"svd pass {PASS}" and self._act and not self.done:
            self.done = True
            self._act()


# -- what is done by hand ------------------------------------------------------------------------------


def _kill(match: Callable[[psutil.Process], bool]) -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if match(process):
                process.kill()


def _killing(name: str, match: Callable[[psutil.Process], bool]) -> Any:
    @contextmanager
    def hand() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
        yield EXECUTORS[name], lambda: _kill(match)

    return hand


def _is_daemon(process: psutil.Process) -> bool:
    return "pyspark.daemon" in process.cmdline()


@contextmanager
def _dask_cluster() -> Iterator[tuple[dict[str, Any], list[subprocess.Popen[bytes]], Callable[[], None]]]:
    """A scheduler and two workers without guardians, as processes of their own."""
    processes: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp())
    place = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}

    def start(kind: str, *options: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_" + kind, "--scheduler-file", str(place), *options]
        processes.append(subprocess.Popen([*command, "--no-dashboard"], **quiet))  # type: ignore[call-overload]

    def worker() -> None:
        start("worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        worker()
        worker()
        while not place.exists():
            time.sleep(0.05)
        time.sleep(0.2)
        address = json.loads(place.read_text())["address"]
        yield {"address": address, "timeout": 30}, processes, worker
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _dask_cut() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    with _dask_cluster() as (options, processes, _):
        yield options, processes[0].kill


@contextmanager
def _dask_new() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    with _dask_cluster() as (options, _, worker):
        yield options, worker


@contextmanager
def _dask_gone() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    def kill() -> None:
        for process in processes[1:]:
            process.kill()

    with _dask_cluster() as (options, processes, _):
        yield {**options, "timeout": 5}, kill


@contextmanager
def _ray_new() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 300_000_000})
    try:
        yield (
            {"address": cluster.address},
            lambda: cluster.add_node(num_cpus=1, object_store_memory=300_000_000),
        )
    finally:
        cluster.shutdown()


HANDS: dict[tuple[str, str], Callable[[], Any]] = {
    ("processes", "all workers gone"): _killing("processes", lambda each: "spawn_main" in " ".join(each.cmdline())),
    ("dask", "connection cut"): _dask_cut,
    ("dask", "new worker joins"): _dask_new,
    ("dask", "all workers gone"): _dask_gone,
    ("spark", "connection cut"): _killing("spark", lambda each: each.name() == "java"),
    ("spark", "all workers gone"): _killing("spark", _is_daemon),
    ("ray", "connection cut"): _killing("ray", lambda each: each.name() == "raylet"),
    ("ray", "new worker joins"): _ray_new,
    ("ray", "all workers gone"): _killing("ray", lambda each: each.cmdline()[:1] in (["ray::run"], ["ray::IDLE"])),
}


# -- the table -----------------------------------------------------------------------------------------


def cell(name: str, fault: str) -> dict[str, Any]:
    """Run one cell in a process of its own; return how it ended, and whether as it should."""
    scenario = SCENARIOS[fault]
    expected = EXPECTED.get((name, fault), scenario.expected)
    if (name, fault) in REASONS:
        return {"ok": True, "ended": "n/a", "reason": REASONS[name, fault]}
    command = [sys.executable, __file__, name, "--fault", fault, "--child"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=scenario.limit + 30, check=False)
        found = json.loads(run.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        found = {"ended": "no end", "seconds": scenario.limit, "left": []}
    except (IndexError, ValueError):
        last = (run.stderr.strip().splitlines() or [""])[-1][:200]
        found = {"ended": f"the driver's process ended with code {run.returncode}: {last}", "seconds": 0.0, "left": []}
    ok = found["ended"] in expected.split("|") and found["seconds"] <= scenario.limit and not found["left"]
    return {**found, "ok": ok, "expected": expected, "limit": scenario.limit}


def _text(found: dict[str, Any]) -> str:
    if found["ended"] == "n/a":
        return f"not there: {found['reason']}"
    left = f", LEFT {len(found['left'])}" if found["left"] else ""
    return f"{found['ended']}, {found['seconds']:.0f} s{left}{'' if found['ok'] else ' (FAILED)'}"


def main() -> None:
    """Run the cells that are asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executors", nargs="*", metavar="EXECUTOR", help=", ".join(EXECUTORS))
    parser.add_argument("--fault", action="append", choices=list(SCENARIOS))
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print("\n" + json.dumps(run_cell(args.executors[0], args.fault[0])), flush=True)
        os._exit(0)  # what an engine does to a process that ends is not asked here
    names, faults = args.executors or list(EXECUTORS), args.fault or list(SCENARIOS)
    found: dict[str, dict[str, Any]] = {}
    for fault in faults:
        found[fault] = {}
        for name in names:
            found[fault][name] = cell(name, fault)
            print(f"{fault}, {name}: {_text(found[fault][name])}", file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=2) + "\n")
    print("| fault | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for fault, cells in found.items():
        print(f"| {fault} | " + " | ".join(_text(cells[name]) for name in names) + " |")
    raise SystemExit(not all(each["ok"] for cells in found.values() for each in cells.values()))


if __name__ == "__main__":
    main()
