#!/usr/bin/env python3
"""Speed and memory of the SVD against its peers: the same matrix, taken in turns, medians.

Usage: python benchmarks/svd.py [CASE ...] [--large MATRIX.npz] [--gowalla FOLDER] [--ml FOLDER]
                                [--repeats 5] [--dense-rows 200000] [--json OUT]

MATRIX.npz is a SciPy CSR matrix such as one of MovieLens-20M's shape; --gowalla is a folder with the
train.txt of the NGCF/LightGCN split; --ml one with the ratings.csv of ml-latest-small.

Without CASE all of these run: large, large-tight (tol 1e-6), gowalla, gowalla-tight, kernel (the product
that each pass is made of), memory, dense (a Dask array), ml-small. ARPACK runs as users call it,
to working precision, and we to the tolerance of the case: the worst residual of each is printed below the
table. Lines appear on stderr as they are ready, and the table on stdout at the end.

Use a quiet machine: the table's last column says how many cores other processes used meanwhile, and peers
that use several BLAS threads suffer from them much more than we do.

Residuals in certificates are computed again by SciPy in float64; exit code 1 if they differ. A missed
target is only a "no".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse.linalg
from common import Report, Row, Runs, interleave, read_gowalla, read_movielens, triplet_residuals, worst_residual
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

import recscale_dask as rs
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.execution.placement import placed_blocks
from recscale_dask.solvers.operator import BlockOperator
from recscale_dask.solvers.svd import singular_triplets

OURS = "recscale_dask"
ARPACK = "scipy ARPACK"
ARPACK_ONE_THREAD = "scipy ARPACK, one BLAS thread"
RANDOMIZED = "sklearn randomized"
RANK = 64
TOL = 1e-3
WARM_UP_ROWS = 4096
SHORT_REPEATS = 21  # at least, of runs that take milliseconds


def _arpack(A: Any, k: int) -> Any:
    return scipy.sparse.linalg.svds(A, k, rng=np.random.default_rng(0))


def _arpack_one_thread(A: Any, k: int) -> Any:
    with threadpool_limits(1, "blas"):
        return _arpack(A, k)


def _randomized(A: Any, k: int) -> Any:
    return randomized_svd(A, k, n_iter=7, random_state=0)


PEERS: dict[str, Callable[..., Any]] = {
    ARPACK: _arpack,
    ARPACK_ONE_THREAD: _arpack_one_thread,
    RANDOMIZED: _randomized,
}


@dataclass(frozen=True)
class Inputs:
    """What the command line gives; matrices are read when a case first wants them."""

    large_path: Path | None
    gowalla_folder: Path | None
    ml_folder: Path | None
    dense_rows: int
    repeats: int

    @cached_property
    def large(self) -> Any:
        """The matrix of --large as CSR."""
        return scipy.sparse.load_npz(self.large_path).tocsr()

    @cached_property
    def gowalla(self) -> Any:
        """Gowalla, binary and degree-normalised."""
        return read_gowalla(self.gowalla_folder or Path())

    @cached_property
    def ml(self) -> Any:
        """Ratings of ml-latest-small."""
        return read_movielens(self.ml_folder or Path())


# -- cases -------------------------------------------------------------------------------------------


def large(report: Report, inputs: Inputs) -> None:
    """Compare on a large sparse matrix, also with a randomized method that stops far from the truth."""
    _compare(report, "large", inputs.large, RANK, TOL, {ARPACK: 5, RANDOMIZED: 4}, inputs.repeats)


def large_tight(report: Report, inputs: Inputs) -> None:
    """Compare on it at a tight tolerance."""
    _compare(report, "large-tight", inputs.large, RANK, 1e-6, {ARPACK: 3}, inputs.repeats)


def gowalla(report: Report, inputs: Inputs) -> None:
    """Compare where the dense algebra weighs more than the sparse products."""
    _compare(report, "gowalla", inputs.gowalla, 256, TOL, {ARPACK: 3}, inputs.repeats)


def gowalla_tight(report: Report, inputs: Inputs) -> None:
    """Compare there at a tight tolerance."""
    _compare(report, "gowalla-tight", inputs.gowalla, 256, 1e-6, {ARPACK: 2}, inputs.repeats)


def ml_small(report: Report, inputs: Inputs) -> None:
    """Compare on a small matrix: in float32 at ARPACK's accuracy there, and in float64 to working precision.

    ARPACK has one BLAS thread too: on matrices this small, two can be slower than one.
    """
    repeats, targets = max(inputs.repeats, SHORT_REPEATS), {ARPACK: 1.0, ARPACK_ONE_THREAD: 1.0}
    _compare(report, "ml-small", inputs.ml, 32, 1e-6, targets, repeats)
    _compare(report, "ml-small float64 tol=0", inputs.ml.astype(np.float64), 32, 0, targets, repeats)


def kernel(report: Report, inputs: Inputs) -> None:
    """Time ``A' (A Q)`` as a pass of the solver makes it, over blocks on two threads."""
    A = inputs.large
    matrix = rs.UserItemMatrix.from_scipy(A)
    rng = np.random.default_rng(0)
    with rs.open_executor("threads", n_workers=2) as executor, placed_blocks(executor, matrix.sources) as blocks:
        for width in (32, 64, 128):
            Q = rng.standard_normal((A.shape[1], width), dtype=np.float32)
            operator = BlockOperator(executor, blocks, matrix)
            contenders: dict[str, Callable[[Any], Any]] = {
                OURS: operator.gram,
                "scipy": lambda basis: A.T @ (A @ basis),
            }
            case = f"kernel, {width} columns"
            runs = interleave(contenders, Q, warm_up=Q, repeats=inputs.repeats)
            report.measured(case, runs)
            _speed_row(report, case, runs, "scipy", 2.5)
            ours, theirs = runs[OURS].result, runs["scipy"].result
            difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
            report.check(case, difference < 1e-4, f"relative difference from SciPy's product {difference:.1e}")


def memory(report: Report, inputs: Inputs) -> None:
    """Measure the peak memory beyond the matrix, in a fresh process."""
    script = Path(__file__).with_name("svd_memory.py")
    command = [sys.executable, str(script), str(inputs.large_path), "--k", str(RANK), "--tol", str(TOL)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    report.measured("memory", {}, **found)
    report.row(
        Row(
            case="memory: peak beyond the matrix",
            ours=found["peak_growth"] / 1e6,
            peer=None,
            target=600,
            at_most=True,
            absolute=True,
            unit="MB",
        )
    )
    report.note(f"memory: {found['libraries'] / 1e6:.0f} MB of that are imports and compiled kernels")


def dense(report: Report, inputs: Inputs) -> None:
    """Compare on a dense Dask array, at a residual that is no worse than that of Dask's randomized SVD."""
    k, peer = 20, "dask svd_compressed"

    def theirs(x: Any) -> Any:
        return dask.compute(*da.linalg.svd_compressed(x, k, n_power_iter=4, iterator="QR", seed=0), scheduler="threads")

    x = _decaying(inputs.dense_rows)
    A = x.compute()
    tol = min(TOL, worst_residual(A, theirs(x)))
    contenders = {OURS: lambda x: rs.svds(x, k, tol=tol), peer: theirs}
    runs = interleave(contenders, x, warm_up=x[: x.chunks[0][0]], repeats=inputs.repeats)
    _report_accuracy(report, "dense", A, runs)
    _speed_row(report, "dense", runs, peer, 2)
    wide = A.astype(np.float64)
    truth = np.sqrt(np.linalg.eigvalsh(wide.T @ wide)[-k:])
    _certify(report, "dense", A, DenseMatrix.from_dask_array(x).loaded(), tol, runs[OURS].result, truth)


CASES: dict[str, tuple[Callable[[Report, Inputs], None], str | None]] = {
    "large": (large, "large"),
    "large-tight": (large_tight, "large"),
    "gowalla": (gowalla, "gowalla"),
    "gowalla-tight": (gowalla_tight, "gowalla"),
    "kernel": (kernel, "large"),
    "memory": (memory, "large"),
    "dense": (dense, None),
    "ml-small": (ml_small, "ml"),
}
"""Cases by name, and the option that each needs."""


# -- what cases share --------------------------------------------------------------------------------


def _compare(report: Report, case: str, A: Any, k: int, tol: float, targets: Mapping[str, float], repeats: int) -> None:
    """Time `svds` against the peers that have a target, say how accurate each is, and check our certificate."""
    contenders: dict[str, Callable[[Any], Any]] = {OURS: lambda A: rs.svds(A, k, tol=tol)}
    contenders |= {name: partial(PEERS[name], k=k) for name in targets}
    runs = interleave(contenders, A, warm_up=A[:WARM_UP_ROWS], repeats=repeats)
    _report_accuracy(report, case, A, runs)
    for peer, target in targets.items():
        _speed_row(report, case, runs, peer, target)
    _certify(report, case, A, rs.UserItemMatrix.from_scipy(A), tol, runs[OURS].result, runs[ARPACK].result[1])


def _speed_row(report: Report, case: str, runs: Mapping[str, Runs], peer: str, target: float) -> None:
    ours, theirs = runs[OURS], runs[peer]
    row = Row(case=f"{case}: {peer}", ours=ours.median, peer=theirs.median, target=target, others=ours.others)
    report.row(row)


def _report_accuracy(report: Report, case: str, A: Any, runs: Mapping[str, Runs]) -> None:
    """Report the passes that we needed, and the worst residual of everyone's result as it was returned."""
    passes = runs[OURS].result.certificate.passes
    worst = {name: worst_residual(A, each.result) for name, each in runs.items()}
    report.measured(case, runs, passes=passes, worst_residual=worst)
    others = [
        f"{name} {each:.1e} ({each / worst[OURS]:.3g} times ours)" for name, each in worst.items() if name != OURS
    ]
    report.note(f"{case}: {passes} passes, worst residual {worst[OURS]:.1e}; {', '.join(others)}")


def _certify(
    report: Report,
    case: str,
    A: Any,
    matrix: rs.UserItemMatrix,
    tol: float,
    result: Any,
    expected: NDArray[Any],
) -> None:
    """Check a result: its certificate against residuals by SciPy, its values against the `expected` ones.

    `svds` rounds vectors to float32 for a float32 matrix, which shows in small residuals. So they are taken from
    one more run in float64, which must give the same bytes once it is rounded.
    """
    with rs.open_executor("threads") as executor:
        found = singular_triplets(matrix, len(expected), tol=tol, executor=executor)
    in_order = (found.left[:, ::-1], found.values[::-1], found.right.T[::-1])
    same = all(np.array_equal(given, each.astype(given.dtype)) for given, each in zip(result, in_order, strict=True))
    claimed, measured = found.certificate.residuals, triplet_residuals(A, found.left, found.values, found.right.T)
    above_rounding = np.maximum(claimed, measured) > 1e-9
    difference = float(np.max(np.abs(claimed / measured - 1)[above_rounding], initial=0.0))
    values = float(np.max(np.abs(np.sort(expected)[::-1] / found.values - 1)))
    report.check(
        f"{case}: certificate",
        same and difference <= 0.1 and bool(measured.max() <= found.certificate.tol) and values <= max(tol, 1e-5),
        f"worst residual {claimed.max():.2e} claimed, {measured.max():.2e} measured, tol {found.certificate.tol:g}; "
        f"they differ by {difference:.1%} at most; singular values differ by {values:.1e} from another method's; "
        f"{'the same' if same else 'NOT THE SAME'} bytes as the result that was timed",
    )
    report.measured(case, {}, claimed=claimed.tolist(), recomputed=measured.tolist())


def _decaying(n_rows: int, n_columns: int = 500, rank: int = 100) -> Any:
    """Return a dense float32 Dask array in memory: singular values that fall slowly, and noise."""
    rng = da.random.default_rng(0)
    n_rows_of_chunk = min(20_000, n_rows)
    left = rng.standard_normal((n_rows, rank), chunks=(n_rows_of_chunk, rank))
    right = rng.standard_normal((rank, n_columns), chunks=(rank, n_columns))
    noise = rng.standard_normal((n_rows, n_columns), chunks=(n_rows_of_chunk, n_columns))
    strength = np.arange(1, rank + 1) ** -0.75
    return ((left * strength) @ right + noise).astype(np.float32).persist(scheduler="threads")


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--large", type=Path, metavar="MATRIX.npz")
    parser.add_argument("--gowalla", type=Path, metavar="FOLDER")
    parser.add_argument("--ml", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dense-rows", type=int, default=200_000)
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    for name in (cases := args.cases or list(CASES)):
        if name not in CASES:
            parser.error(f"there is no case {name!r}; the cases are: {', '.join(CASES)}")
        if (needed := CASES[name][1]) and getattr(args, needed) is None:
            parser.error(f"case {name!r} needs --{needed}")
    inputs = Inputs(args.large, args.gowalla, args.ml, args.dense_rows, args.repeats)
    report = Report(args.json)
    for name in cases:
        CASES[name][0](report, inputs)
        report.save()
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
