"""What benchmarks share: interleaved timing, residuals, real matrices, and a report of rows and checks."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import scipy.sparse
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

import recscale_dask as rs
from recscale_dask.execution.machine import cpu_count

_PACKAGES = (
    *("recscale-dask", "recscale-dask-spark", "recscale-dask-ray", "numpy", "scipy", "numba", "scikit-learn"),
    *("dask", "distributed", "pyspark", "ray", "loky"),
)
_BUSY = 0.1  # cores of other processes
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

T = TypeVar("T")


# -- timing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one contender.

    Attributes
    ----------
    seconds : tuple of float
        Single times, in the order they were taken.
    result : object
        What the last run returned.
    others : float
        Cores that other processes of the machine used meanwhile. Libraries whose BLAS threads wait for one
        another lose far more than their share to them (50 times was seen), so figures of a busy machine flatter
        whoever uses one BLAS thread: us.
    """

    seconds: tuple[float, ...]
    result: Any
    others: float

    @property
    def median(self) -> float:
        """The median time."""
        return statistics.median(self.seconds)

    @property
    def steady(self) -> bool:
        """Whether the slowest run took less than one and a half times the fastest."""
        return max(self.seconds) < 1.5 * min(self.seconds)


def interleave(
    contenders: Mapping[str, Callable[[T], Any]], problem: T, *, warm_up: T, repeats: int
) -> dict[str, Runs]:
    """Return the times of each contender on a problem, taken in turns: all of them once, then again, ...

    Before that each runs once on `warm_up`, untimed: a small problem of the same kind, so that imports
    and compilation are done.
    """
    for run in contenders.values():
        run(warm_up)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, Any] = {}
    begun, others = time.perf_counter(), _seconds_of_others()
    for _ in range(repeats):
        for name, run in contenders.items():
            results.pop(name, None)  # no run has the result of the one before in its way
            gc.collect()
            start = time.perf_counter()
            results[name] = run(problem)
            seconds[name].append(time.perf_counter() - start)
    others = max(0.0, (_seconds_of_others() - others) / (time.perf_counter() - begun))
    return {name: Runs(tuple(seconds[name]), results[name], others) for name in contenders}


def _seconds_of_others() -> float:
    """Return the processor time that was not idle and not ours, since some time in the past."""
    machine = psutil.cpu_times()
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # counted as user time too
    this = psutil.Process()
    ours = sum(this.cpu_times()[:4])  # with children that ended
    for child in this.children(recursive=True):
        with suppress(psutil.Error):  # it may have just ended
            ours += sum(child.cpu_times()[:4])
    return float(sum(machine) - guests - idle - ours)


# -- accuracy ----------------------------------------------------------------------------------------


def triplet_residuals(A: Any, u: NDArray[Any], s: NDArray[Any], vh: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``sqrt(|A v - s u|^2 + |A' u - s v|^2) / s`` of each triplet, in float64 and by nothing of ours."""
    A, u, s, vh = (each.astype(np.float64) for each in (A, u, s, vh))
    left = np.linalg.norm(A @ vh.T - u * s, axis=0)
    right = np.linalg.norm(A.T @ u - vh.T * s, axis=0)
    residuals: NDArray[np.float64] = np.hypot(left, right) / s
    return residuals


def worst_residual(A: Any, triplets: tuple[Any, Any, Any]) -> float:
    """Return the largest of the `triplet_residuals`."""
    return float(triplet_residuals(A, *triplets).max())


# -- matrices ----------------------------------------------------------------------------------------


def read_gowalla(folder: Path) -> Any:
    """Return Gowalla's training matrix: binary, divided by the roots of its degrees; float32 CSR."""
    train = rs.read_interactions(folder / "train.txt", format="adjacency")
    A = rs.UserItemMatrix.from_interactions(train).to_scipy()
    A.data[:] = 1
    users, items = A.sum(axis=1), A.sum(axis=0)
    A = scipy.sparse.diags_array(users**-0.5) @ A @ scipy.sparse.diags_array(items**-0.5)
    return _with_short_indices(A.tocsr().astype(np.float32))


def read_movielens(folder: Path) -> Any:
    """Return the ratings of a MovieLens folder; float32 CSR."""
    ratings = rs.read_interactions(folder / "ratings.csv")
    return _with_short_indices(rs.UserItemMatrix.from_interactions(ratings).to_scipy())


def _with_short_indices(A: Any) -> Any:
    """Return a CSR matrix with the int32 indices that it has when SciPy makes it: peers are faster on those."""
    return scipy.sparse.csr_array((A.data, A.indices.astype(np.int32), A.indptr.astype(np.int32)), shape=A.shape)


# -- report ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: our figure, that of the peer, and what was aimed at.

    Attributes
    ----------
    case : str
        What was measured, and against whom.
    ours : float or None
        Median; None if it could not be measured.
    peer : float or None
        Median; None if there is none.
    target : float
        At least this peer / ours; with `at_most`, at most this ours / peer; with `absolute`, at most or at least
        this in our unit.
    at_most : bool
        Whether less is better.
    absolute : bool
        Whether the target is on our figure itself.
    unit : str
        Of our figure and the peer's.
    others : float or None
        Cores that other processes used meanwhile, if that was measured; see `Runs`.
    """

    case: str
    ours: float | None
    peer: float | None
    target: float
    at_most: bool = False
    absolute: bool = False
    unit: str = "s"
    others: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster we are; with `at_most`, how many times slower."""
        if self.ours is None or self.peer is None:
            return None
        return self.ours / self.peer if self.at_most else self.peer / self.ours

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        figure = self.ours if self.absolute else self.ratio
        if figure is None:
            return False
        return figure <= self.target if self.at_most else figure >= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the line as text."""
        ours, peer = ("-" if each is None else f"{each:.4g} {self.unit}" for each in (self.ours, self.peer))
        sign = "<=" if self.at_most else ">="
        unit = f" {self.unit}" if self.absolute else "x"
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}x"
        target, met = f"{sign} {self.target:g}{unit}", "yes" if self.met else "no"
        return self.case, ours, peer, ratio, target, met, "-" if self.others is None else f"{self.others:.2f}"


_HEAD = ("case", "ours", "peer", "ratio", "target", "met", "others' cores")


@dataclass(slots=True)
class Report:
    """Rows, facts and checks of a benchmark; each is shown on stderr when it is there, and saved.

    Attributes
    ----------
    path : Path or None
        JSON file, written anew after each case: what is measured is not lost when a later case fails.
    """

    path: Path | None = None
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=lambda: environment())

    def row(self, row: Row) -> None:
        """Take a line of the table."""
        self.rows.append(row)
        _show("  ".join(row.cells()))

    def note(self, text: str) -> None:
        """Take a remark that is shown below the table."""
        self.notes.append(text)
        _show(text)

    def check(self, name: str, passed: bool, detail: str) -> None:
        """Take a check; one that failed fails the benchmark."""
        self.checks.append({"name": name, "passed": bool(passed), "detail": detail})
        _show(_check_line(self.checks[-1]))

    def measured(self, case: str, runs: Mapping[str, Runs], **facts: Any) -> None:
        """Take the single times of a case, and other figures; remark on times that mean little."""
        self.seconds.setdefault(case, {}).update({name: each.seconds for name, each in runs.items()})
        self.facts.setdefault(case, {}).update(facts)
        others = max((each.others for each in runs.values()), default=0.0)
        if others > _BUSY:
            self.note(f"{case}: NOT QUIET, other processes used {others:.2f} cores: measure again")
        for name, each in runs.items():
            if not each.steady:
                self.note(f"{case}: unsteady, {name} took {min(each.seconds):.3g} to {max(each.seconds):.3g} s")

    def save(self) -> None:
        """Write the JSON file, if there is one."""
        if self.path is None:
            return
        rows = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in self.rows]
        keys = ("environment", "checks", "notes", "seconds", "facts")
        content = {"rows": rows, **{key: getattr(self, key) for key in keys}}
        self.path.write_text(json.dumps(content, indent=2) + "\n")

    def finish(self) -> int:
        """Save, print the table with all notes and checks on stdout, and return the exit code."""
        self.save()
        print("\n".join([*table(_HEAD, [row.cells() for row in self.rows]), "", *self.notes, ""]))
        print("\n".join(_check_line(check) for check in self.checks))
        return 0 if all(check["passed"] for check in self.checks) else 1


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return aligned lines: the first column to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for first, *rest in lines:
        numbers = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        aligned.append("  ".join([first.ljust(widths[0]), *numbers]))
    return aligned


def environment() -> dict[str, Any]:
    """Return what times depend on: processor, cores, versions, BLAS and its threads."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    blas = [{key: each.get(key) for key in ("prefix", "version", "num_threads")} for each in threadpool_info()]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": cpu_count(),
        "load_average": os.getloadavg(),
        "versions": versions,
        "thread_pools": blas,
        "variables": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _check_line(check: Mapping[str, Any]) -> str:
    return f"{'passed' if check['passed'] else 'FAILED'}: {check['name']}: {check['detail']}"


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
