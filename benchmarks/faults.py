#!/usr/bin/env python3
"""The fault matrix: what goes wrong on every executor in the middle of a fit, and how the fit ends.

Usage: python benchmarks/faults.py [EXECUTOR ...] [--fault NAME ...] [--json CELLS] [--page FILE]

Without EXECUTOR: processes, dask, spark, ray. Each cell runs in a process of its own, with a time limit: a fit that
meets the fault from its third pass on must end in the bytes of the serial executor or in the error that is named, and
leave no process and no file. The table appears on stdout as Markdown, and in docs/plugins/faults.md with ``--page``;
exit code 1 if a cell fails. With ``--json`` cells are kept in a file, and those of earlier runs stay in the table: the
whole takes some minutes. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
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
from recscale_dask.testing.counting_proxy import CountingProxy
from recscale_dask.testing.dask_cluster import DaskCluster
from recscale_dask.testing.faults import Fault, FaultyExecutor, FaultyTask, attempts
from recscale_dask.testing.leftovers import leftovers, new_leftovers, wait_until

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
OTHERWISE = {("dask", "all workers gone"): "nobody replaces workers that were started by hand"}
"""Where an engine ends otherwise, and why."""

REASONS = {
    ("processes", "connection cut"): "there is none: a pipe that ends is a dead worker",
    ("processes", "new worker joins"): "a pool has the size that it was opened with",
}
"""Cells that cannot be, and why."""

ENDED = "the driver's process ended"
_MARK = "RECSCALE_FAULT_CELL"  # in the environment of all processes of a cell
_FOR_LIFE = ("resource_tracker", "Dask-Offload_0", "Dask-Callback-Thread_0")
"""What Python and Dask make once in a process and keep for its life; the kit holds executors to no more."""
_ACTING = "the fault comes now"  # the last words of a process that ends by it
_PATIENCE = 10.0  # seconds for what a cell started to end after it
_TABLE = "<!-- made by benchmarks/faults.py: below this line nothing is written by hand -->\n"


# -- one cell ----------------------------------------------------------------------------------------


class FaultNotMet(Exception):
    """The fit did not come to the fault, or nobody was there to be killed: the cell says nothing."""


def run_cell(name: str, fault: str) -> dict[str, Any]:
    """Run one cell in this process; return how it ended."""
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = rs.UserItemMatrix.from_scipy(random)
    expected = rs.factorize(matrix, rank=16, executor="serial", progress=False).factors_sha256()
    with tempfile.TemporaryDirectory() as marks:
        before = leftovers()
        start = time.monotonic()
        try:
            ended = _fit(name, fault, matrix, expected, Path(marks))
        except (RecscaleError, FaultNotMet) as error:
            ended = type(error).__name__
        seconds = time.monotonic() - start
        left = {each for each in new_leftovers(before, 5) if not any(name in each for name in _FOR_LIFE)}
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
        planted = any(each.kind != "twice" for each in SCENARIOS[fault].faults)
        if (act is not None and not hand.done) or (planted and attempts(marks)[1] <= PASS):
            raise FaultNotMet
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
            print(_ACTING, flush=True)
            self._act()


# -- what is done by hand ------------------------------------------------------------------------------


def _kill(match: Callable[[psutil.Process], bool]) -> None:
    killed = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if match(process):
                process.kill()
                killed += 1
    if not killed:
        raise FaultNotMet


def _killing(name: str, match: Callable[[psutil.Process], bool]) -> Any:
    @contextmanager
    def hand() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
        yield EXECUTORS[name], lambda: _kill(match)

    return hand


def _is_daemon(process: psutil.Process) -> bool:
    return "pyspark.daemon" in process.cmdline()


@contextmanager
def _dask_cluster() -> Iterator[DaskCluster]:
    """A scheduler and two workers without guardians, as processes of their own."""
    with DaskCluster() as cluster:
        cluster.add_worker("--no-nanny")
        cluster.add_worker("--no-nanny")
        cluster.client(2).close()
        yield cluster


@contextmanager
def _dask_cut() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    with _dask_cluster() as cluster, CountingProxy(cluster.address) as proxy:
        yield {"address": proxy.address, "timeout": 30}, proxy.cut


@contextmanager
def _dask_new() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    with _dask_cluster() as cluster:

        def join() -> None:
            cluster.add_worker("--no-nanny")
            cluster.client(3).close()

        yield {"address": cluster.address, "timeout": 30}, join


@contextmanager
def _dask_gone() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    with _dask_cluster() as cluster:

        def kill() -> None:
            for worker in cluster.workers:
                worker.kill()

        yield {"address": cluster.address, "timeout": 5}, kill


@contextmanager
def _spark_new() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """A standalone cluster of one worker, and then of two."""
    from recscale_dask_spark.standalone import LOOPBACK, StandaloneCluster

    with tempfile.TemporaryDirectory() as folder, StandaloneCluster(Path(folder), n_workers=1) as cluster:

        def join() -> None:
            cluster.add_worker()
            cluster.wait_for("coresused", 2)

        yield {"master": cluster.master, "config": {**LOOPBACK, "spark.executor.memory": "512m"}}, join


@contextmanager
def _ray_new() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 300_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield {"address": cluster.address}, lambda: cluster.add_node(**node)  # waits until it is there
    finally:
        cluster.shutdown()
        shutil.rmtree(Path(tempfile.gettempdir(), "ray"), ignore_errors=True)


HANDS: dict[tuple[str, str], Callable[[], Any]] = {
    ("processes", "all workers gone"): _killing("processes", lambda each: "spawn_main" in " ".join(each.cmdline())),
    ("dask", "connection cut"): _dask_cut,
    ("dask", "new worker joins"): _dask_new,
    ("dask", "all workers gone"): _dask_gone,
    ("spark", "connection cut"): _killing("spark", lambda each: each.name() == "java"),
    ("spark", "new worker joins"): _spark_new,
    ("spark", "all workers gone"): _killing("spark", _is_daemon),
    ("ray", "connection cut"): _killing("ray", lambda each: each.name() == "raylet"),
    ("ray", "new worker joins"): _ray_new,
    ("ray", "all workers gone"): _killing("ray", lambda each: each.cmdline()[:1] in (["ray::run"], ["ray::IDLE"])),
}


# -- the table -----------------------------------------------------------------------------------------


def cell(name: str, fault: str) -> dict[str, Any]:
    """Run one cell in a process of its own; return how it ended, and whether as it should."""
    if (name, fault) in REASONS:
        return {"ok": True, "ended": "n/a"}
    expected, limit = expected_of(name, fault), SCENARIOS[fault].limit
    mark = uuid.uuid4().hex
    command = [sys.executable, __file__, name, "--fault", fault, "--child"]
    # A folder of the cell's own, with a short name: Ray's sockets are in it. To files, for what outlives a cell would
    # hold a pipe open.
    with tempfile.TemporaryDirectory(prefix="f") as folder, tempfile.TemporaryFile("w+") as told, _errors() as errors:
        environment = {**os.environ, _MARK: mark, "TMPDIR": folder}
        begun = time.monotonic()
        child = subprocess.Popen(command, stdout=told, stderr=errors, env=environment, start_new_session=True)
        try:
            child.wait(limit + 30)
            seconds = time.monotonic() - begun
            wait_until(lambda: not _of_cell(child.pid, mark), _PATIENCE)
            outlived = [_command(each) for each in _of_cell(child.pid, mark)]
            told.seek(0)
            errors.seek(0)
            found = _told(told.read(), errors.read(), seconds)
            if found["ended"] != ENDED:  # else nobody was there to clean up
                found["left"] += outlived
        except subprocess.TimeoutExpired:
            found = {"ended": "no end", "seconds": limit + 30, "left": []}
        finally:
            for process in _of_cell(child.pid, mark):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            child.wait()
    ok = found["ended"] in expected.split("|") and found["seconds"] <= limit and not found["left"]
    return {**found, "ok": ok}


def expected_of(name: str, fault: str) -> str:
    """Return how a cell should end."""
    return EXPECTED.get((name, fault), SCENARIOS[fault].expected)


def _errors() -> Any:
    return tempfile.TemporaryFile("w+", errors="replace")


def _told(out: str, errors: str, seconds: float) -> dict[str, Any]:
    """Return what the process of a cell said, or how it ended without a word."""
    with contextlib.suppress(IndexError, ValueError):
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found
    last = (errors.strip().splitlines() or [""])[-1][:200]
    by_fault = out.strip() == _ACTING and "Traceback" not in errors
    return {"ended": ENDED if by_fault else f"the script failed: {last}", "seconds": seconds, "left": []}


def _of_cell(session: int, mark: str) -> list[psutil.Process]:
    """Return the processes of a cell, also those that lost their parents."""
    found = []
    for process in psutil.process_iter():
        # By both: some make a session of their own, and Ray's workers write over their environment.
        with contextlib.suppress(psutil.Error, OSError):
            ours = os.getsid(process.pid) == session or process.environ().get(_MARK) == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"process {process.pid} {' '.join(process.cmdline())[:100]}"
    return f"process {process.pid}"


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the cells as Markdown, and what is to be said about them."""
    names = [name for name in EXECUTORS if any(name in cells for cells in found.values())]
    lines = ["| fault | ends in | within | " + " | ".join(names) + " |", "|---|---|---|" + "---|" * len(names)]
    notes: list[str] = []
    for fault, scenario in SCENARIOS.items():
        cells = found.get(fault)
        if cells:
            texts = [_text(name, fault, cells[name], notes) if name in cells else "not run" for name in names]
            lines.append(f"| {fault} | {scenario.expected} | {scenario.limit:g} s | {' | '.join(texts)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}." for number, note in enumerate(notes, 1))])


def _text(name: str, fault: str, found: dict[str, Any], notes: list[str]) -> str:
    def note(text: str) -> str:
        notes.append(f"{name}, {fault}: {text}")
        return f" ({len(notes)})"

    if found["ended"] == "n/a":
        return "not there" + note(REASONS[name, fault])
    left = f", LEFT {len(found['left'])}" if found["left"] else ""
    text = f"{found['ended']}, {found['seconds']:.0f} s{left}"
    if not found["ok"]:
        return f"{text} (FAILED)"
    return text + (note(OTHERWISE[name, fault]) if (name, fault) in EXPECTED else "")


def _write_page(path: Path, text: str) -> None:
    """Put the table in the place of the one in the page."""
    head, line, _ = path.read_text().partition(_TABLE)
    packages = ("dask", "distributed", "pyspark", "ray")
    versions = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in packages)
    where = f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores."
    path.write_text(f"{head}{line}\n{text}\n\n{where}\n")


def main() -> None:
    """Run the cells that are asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executors", nargs="*", metavar="EXECUTOR", help=", ".join(EXECUTORS))
    parser.add_argument("--fault", action="append", choices=list(SCENARIOS))
    parser.add_argument("--json", type=Path, metavar="CELLS")
    parser.add_argument("--page", type=Path, metavar="FILE")
    parser.add_argument("--table", action="store_true", help="run nothing: the table of the cells in the file")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print("\n" + json.dumps(run_cell(args.executors[0], args.fault[0])), flush=True)
        os._exit(0)  # what an engine does to a process that ends is not asked here
    if args.page and (not args.page.is_file() or _TABLE not in args.page.read_text()):
        parser.error(f"{args.page} is no page with a line {_TABLE.strip()!r}, below which the table belongs")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # after the cell's processes were ended
    found: dict[str, dict[str, Any]] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    for fault in [] if args.table else args.fault or SCENARIOS:
        for name in args.executors or EXECUTORS:
            found.setdefault(fault, {})[name] = cell(name, fault)
            print(f"{fault}, {name}: {_text(name, fault, found[fault][name], [])}", file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))
    if args.page:
        _write_page(args.page, table(found))
    raise SystemExit(not all(each["ok"] for cells in found.values() for each in cells.values()))


if __name__ == "__main__":
    main()
