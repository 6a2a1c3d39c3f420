#!/usr/bin/env python3
"""The same fit and the same recommendations on every executor: time against threads, what travels, same bytes.

Usage: python benchmarks/executors.py [EXECUTOR ...] --large MATRIX.npz [--job JOB ...] [--repeats 5] [--json OUT]

MATRIX.npz is a SciPy CSR matrix such as one of MovieLens-20M's shape.

Without EXECUTOR: processes, dask, spark, ray and futures (a pool of loky's), with two workers each. By name also
dask-sent, spark-sent and futures-sent: the same engines, told that workers do not see the driver's files, as workers
on other machines do not. An executor that is not installed is skipped, and said why.

The jobs: fit (SVD of rank 64, tol 1e-3, binary and degree-scaled), recommend (the best 10 of all users as a table
here) and recommend_to (the same as a data set that workers write, of a saved model). Each is run in turns with threads
in the same process, once the engine has started and both have done a small job of the kind; then once more, untimed,
to count what travels (see traffic.py). Targets are 1.3 times threads for processes and Dask on one machine and 2
times for the others.

Use a quiet machine, for times and for bytes. Exit code 1 if two executors give other factors or recommendations. A
missed target is only a "no". Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from common import Report, Row, interleave, table
from traffic import Traffic, measure_traffic

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, UnknownNameError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer

RANK = 64
TOL = 1e-3
K = 10
WARM_UP_ROWS = 4096
WARM_UP_USERS = 65_536
GRAPHS_MB = 1.0  # all graphs of a pass together, at most
TASKS = 3  # a block and pass, at most


@dataclass(frozen=True, slots=True)
class Engine:
    """An executor with its options, and how many times the time of threads it may take."""

    executor: str
    target: float
    options: Mapping[str, Any] = field(default_factory=lambda: {"n_workers": 2})


ENGINES = {
    "processes": Engine("processes", 1.3),
    "dask": Engine("dask", 1.3),
    "spark": Engine("spark", 2.0, {"master": "local[2]"}),
    "ray": Engine("ray", 2.0),
    "futures": Engine("futures", 2.0, {"pool": "loky", "n_workers": 2}),
    "dask-sent": Engine("dask", 2.0, {"n_workers": 2, "shared_files": False}),
    "spark-sent": Engine("spark", 2.0, {"master": "local[2]", "shared_files": False}),
    "futures-sent": Engine("futures", 2.0, {"pool": "loky", "n_workers": 2, "shared_files": False}),
}
DEFAULT = ("processes", "dask", "spark", "ray", "futures")


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do on each executor.

    Attributes
    ----------
    run : callable
        Gets an executor, an observer or False, and the problem; returns the answer.
    problem, warm_up : object
        What is timed, and a small one of the kind.
    digest : callable
        Returns the SHA-256 of an answer.
    """

    run: Callable[[Executor, Observer | bool, Any], Any]
    problem: Any
    warm_up: Any
    digest: Callable[[Any], str]


# -- jobs ------------------------------------------------------------------------------------------------


def make_jobs(large: Path, folder: Path) -> dict[str, Job]:
    """Return the jobs by name; recommendations are those of one model, which is made and saved here."""
    A = scipy.sparse.load_npz(large).tocsr()
    matrix, small = rs.UserItemMatrix.from_scipy(A), rs.UserItemMatrix.from_scipy(A[:WARM_UP_ROWS])

    def fit(executor: Executor, progress: Observer | bool, matrix: rs.UserItemMatrix) -> rs.FactorModel:
        scaling = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}
        return rs.factorize(matrix, rank=RANK, tol=TOL, **scaling, executor=executor, progress=progress)

    with rs.open_executor("threads") as threads:
        fit(threads, False, matrix).save(folder / "model")
    model = rs.load_model(folder / "model")

    def recommend(executor: Executor, progress: Observer | bool, users: range | None) -> Any:
        return model.recommend(users, K, executor=executor, progress=progress)

    def recommend_to(executor: Executor, progress: Observer | bool, users: range | None) -> Path:
        out = folder / f"recs of {executor.name}"
        if out.exists():
            shutil.rmtree(out)  # a data set that is there already would not be made again
        model.recommend_to(out, users, K, executor=executor, progress=progress)
        return out

    everyone, few = None, range(WARM_UP_USERS)
    return {
        "fit": Job(fit, matrix, small, rs.FactorModel.factors_sha256),
        "recommend": Job(recommend, everyone, few, _sha256_of_table),
        "recommend_to": Job(recommend_to, everyone, few, _sha256_of_folder),
    }


def _sha256_of_table(recommendations: Any) -> str:
    digest = hashlib.sha256()
    for name in recommendations.column_names:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(recommendations[name].to_numpy()).tobytes())
    return digest.hexdigest()


def _sha256_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


# -- engines ---------------------------------------------------------------------------------------------


def compare(report: Report, name: str, jobs: Mapping[str, Job], repeats: int) -> dict[str, dict[str, str]]:
    """Time an engine against threads; return the digests of both by job."""
    engine = ENGINES[name]
    digests: dict[str, dict[str, str]] = {job: {} for job in jobs}
    traffic: dict[str, Traffic] = {}
    with ExitStack() as stack:
        threads = stack.enter_context(rs.open_executor("threads", n_workers=2))
        begun = time.perf_counter()
        try:
            executor = stack.enter_context(rs.open_executor(engine.executor, **engine.options))
        except (ExecutorUnavailable, UnknownNameError) as error:
            for job in jobs:
                report.row(Row(case=f"{job}: {name}", ours=None, peer=None, target=engine.target, at_most=True))
            report.note(f"{name} is skipped: {error}")
            return digests
        start = time.perf_counter() - begun
        for job, each in jobs.items():
            contenders = {"threads": partial(each.run, threads, False), name: partial(each.run, executor, False)}
            runs = interleave(contenders, each.problem, warm_up=each.warm_up, repeats=repeats)
            ours, theirs = runs[name], runs["threads"]
            row = Row(case=f"{job}: {name}", ours=ours.median, peer=theirs.median, target=engine.target, at_most=True)
            report.row(replace(row, others=ours.others))
            digests[job] = {name: each.digest(ours.result), f"threads beside {name}": each.digest(theirs.result)}
            traffic[job] = measure_traffic(executor, partial(_run, each, executor))
            facts = {"start_seconds": start, "sha256": digests[job], "traffic": traffic[job].facts()}
            report.measured(f"{job}: {name}", runs, **facts)
            if engine.executor == "dask":
                _graph_rows(report, f"{job}: {name}", traffic[job])
        way = "mapped files" if executor.capabilities.shared_files else "the engine"
    report.note(f"{name}: started in {start:.1f} s; blocks and constants travel by {way}")
    for line in table(_HEAD, [_cells(job, each) for job, each in traffic.items()]):
        report.note(f"  {line}")
    return digests


def _run(job: Job, executor: Executor, observer: Observer) -> Any:
    return job.run(executor, observer, job.problem)


_HEAD = (
    *("MB moved", "TCP, all processes", "driver wrote (files, pipes)", "driver read", "Dask's graphs of a pass"),
    *("passes", "blocks"),
)


def _cells(job: str, traffic: Traffic) -> tuple[str, ...]:
    moved = (f"{each / 1e6:.1f}" for each in (traffic.tcp, traffic.written, traffic.read))
    graphs = f"{traffic.graph_bytes / 1e6:.3f}" if traffic.graph_bytes else "-"
    return job, *moved, graphs, str(len(traffic.passes)), str(max(each.n_blocks for each in traffic.passes))


def _graph_rows(report: Report, case: str, traffic: Traffic) -> None:
    row = Row(case=case, ours=None, peer=None, target=TASKS, at_most=True, absolute=True, unit="tasks")
    report.row(replace(row, case=f"{case}, a block and pass", ours=traffic.tasks_per_block))
    graphs = replace(row, case=f"{case}, graphs of a pass", ours=traffic.graph_bytes / 1e6, target=GRAPHS_MB, unit="MB")
    report.row(graphs)


def main() -> None:
    """Compare the engines that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executors", nargs="*", metavar="EXECUTOR", help=", ".join(ENGINES))
    parser.add_argument("--large", type=Path, metavar="MATRIX.npz", required=True)
    parser.add_argument("--job", action="append", choices=["fit", "recommend", "recommend_to"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    for name in (names := args.executors or DEFAULT):
        if name not in ENGINES:
            parser.error(f"there is no executor {name!r} here; there are: {', '.join(ENGINES)}")
    report = Report(args.json)
    with tempfile.TemporaryDirectory() as folder:
        jobs = make_jobs(args.large, Path(folder))
        jobs = {name: job for name, job in jobs.items() if name in (args.job or jobs)}
        digests: dict[str, dict[str, str]] = {job: {} for job in jobs}
        for name in names:
            for job, found in compare(report, name, jobs, args.repeats).items():
                digests[job] |= found
            report.save()
    for job, found in digests.items():
        detail = ", ".join(f"{name} {digest[:12]}" for name, digest in found.items())
        report.check(f"{job}: the same bytes", len(set(found.values())) == 1, detail)
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
