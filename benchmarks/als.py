#!/usr/bin/env python3
"""Alternating least squares against peers: time per sweep at equal objectives, and quality with options tuned alike.

Usage: python benchmarks/als.py [CASE ...] [--large MATRIX.npz] [--gowalla FOLDER] [--ml FOLDER] [--json OUT]

Peers are not needed otherwise: pip install implicit scikit-surprise pandas pyspark

MATRIX.npz is a SciPy CSR matrix such as one of MovieLens-20M's shape; --gowalla is a folder with train.txt and test.txt
of the NGCF/LightGCN split, --ml one with MovieLens' ratings.csv. Without CASE all of these run:

  implicit   implicit's ALS on the large matrix, rank 64 and 128: same start, penalty, confidence and sweeps
  spark      Spark's ALS on a tenth of its users, rank 64, with Spark's penalty and confidence
  explicit   Surprise's SVD and SVD++ on five seeded folds of MovieLens
  gowalla    implicit's ALS, both tuned on a validation part of the training data; judged on the test set

A sweep solves for all users and all items. Objectives are computed here, from the factors, by nothing of ours. Use a
quiet machine for the first two: the last column says how many cores other processes used meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from common import Report, Row
from numpy.typing import NDArray
from quality_als import explicit, gowalla
from threadpoolctl import threadpool_limits

import recscale_dask as rs
from recscale_dask.api.factor_model import FactorModel
from recscale_dask.execution.events import SolverStep
from recscale_dask.model import Factors, SeenItems

SWEEPS = 5
SPARK_SWEEPS = 3
REGULARIZATION = 10.0
SPARK_REGULARIZATION = 0.1


@dataclass(frozen=True)
class Fit:
    """Factors after some sweeps, and the seconds of each.

    Attributes
    ----------
    users, items : ndarray of shape (n, rank)
    seconds : tuple of float
        Of each sweep but the first, in which things are compiled and allocated.
    reported : float or None
        The objective after these sweeps, if the contender says.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    seconds: tuple[float, ...]
    reported: float | None = None


def objective(A: Any, users: NDArray[Any], items: NDArray[Any], regularization: float, exponent: float) -> float:
    """Return the objective with a confidence of 1 + value, in float64."""
    users, items = users.astype(np.float64), items.astype(np.float64)
    total = float(((users.T @ users) * (items.T @ items)).sum())
    rows = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    for first in range(0, A.nnz, 1 << 20):
        part = slice(first, first + (1 << 20))
        scores = np.einsum("ij,ij->i", users[rows[part]], items[A.indices[part]])
        total += float(((1 + A.data[part]) * (1 - scores) ** 2 - scores**2).sum())
    for factors, counts in ((users, np.diff(A.indptr)), (items, np.bincount(A.indices, minlength=A.shape[1]))):
        total += regularization * float((counts.astype(np.float64) ** exponent * (factors**2).sum(axis=1)).sum())
    return total


def start(shape: tuple[int, int], rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return first factors of users and items, of the size that implicit has them."""
    rng = np.random.default_rng(0)
    return rng.random((shape[0], rank), np.float32) / 100, rng.random((shape[1], rank), np.float32) / 100


def ours(A: Any, rank: int, sweeps: int, regularization: float, exponent: float, method: str = "auto") -> Fit:
    """Fit ours from `start`; timed from the end of one sweep to that of the next."""
    matrix = rs.UserItemMatrix.from_scipy(A)
    users, items = start(A.shape, rank)
    nothing = SeenItems(np.zeros(A.shape[0] + 1, np.int64), np.zeros(0, np.int32))
    provenance = {"solver": "als-implicit"}
    begun = FactorModel.of(
        Factors(users, items, np.ones(rank), matrix.users, matrix.items, nothing, provenance=provenance)
    )
    ends: list[float] = []
    model = rs.factorize(
        matrix,
        solver="als-implicit",
        rank=rank,
        regularization=regularization,
        exponent=exponent,
        max_sweeps=sweeps,
        method=method,
        tol=0,
        executor="threads",
        warm_start=begun,
        progress=lambda event: ends.append(time.perf_counter()) if isinstance(event, SolverStep) else None,
    )
    reported = model.provenance["objective"][-2]  # before the users are solved for once more
    return Fit(model.user_factors, model.item_factors, tuple(np.diff(ends).tolist()), float(reported))


def implicit_als(A: Any, rank: int, sweeps: int, regularization: float) -> Fit:
    """Fit implicit's, which has conjugate gradients of three steps, on all cores."""
    from implicit.als import AlternatingLeastSquares

    confidence = scipy.sparse.csr_matrix((1 + A.data, A.indices, A.indptr), shape=A.shape)
    model = AlternatingLeastSquares(factors=rank, regularization=regularization, alpha=1.0, iterations=sweeps)
    model.user_factors, model.item_factors = start(A.shape, rank)
    seconds: list[float] = []
    with threadpool_limits(1, "blas"):  # as it asks for
        model.fit(confidence, show_progress=False, callback=lambda _, elapsed, *loss: seconds.append(elapsed))
    return Fit(model.user_factors, model.item_factors, tuple(seconds[1:]))


def spark_als(A: Any, rank: int, sweeps: int, regularization: float) -> Fit:
    """Fit Spark's with two local threads; a sweep is timed as the difference of fits with more and with one."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    settings = {"spark.driver.memory": "6g", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4"}
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        import pyarrow as pa

        rows = np.repeat(np.arange(A.shape[0], dtype=np.int32), np.diff(A.indptr))
        table = pa.table({"user": rows, "item": A.indices.astype(np.int32), "rating": A.data})
        frame = spark.createDataFrame(table).cache()
        frame.count()
        options = {"rank": rank, "regParam": regularization, "alpha": 1.0, "implicitPrefs": True, "seed": 0}
        seconds, model = {}, None
        for iterations in (1, sweeps):
            begun = time.perf_counter()
            als = ALS(maxIter=iterations, userCol="user", itemCol="item", ratingCol="rating", **options)
            model = als.fit(frame)
            model.userFactors.count()
            seconds[iterations] = time.perf_counter() - begun
        factors = []
        for size, found in zip(A.shape, (model.userFactors, model.itemFactors), strict=True):
            rows = np.zeros((size, rank), np.float32)
            collected = found.toArrow()
            rows[collected["id"].to_numpy()] = np.stack(collected["features"].to_numpy(zero_copy_only=False))
            factors.append(rows)
    finally:
        spark.stop()
    return Fit(*factors, ((seconds[sweeps] - seconds[1]) / (sweeps - 1),))


def compared(
    report: Report, case: str, A: Any, mine: Fit, peer: Fit, name: str, penalty: tuple[float, float], target: float
) -> None:
    """Take the rows of times and objectives."""
    ours_seconds, peer_seconds = statistics.median(mine.seconds), statistics.median(peer.seconds)
    report.row(Row(case=f"{case}: {name}, a sweep", ours=ours_seconds, peer=peer_seconds, target=target))
    reached = objective(A, peer.users, peer.items, *penalty)
    assert mine.reported is not None
    row = Row(case=f"{case}: objective", ours=mine.reported, peer=reached, target=1.001, at_most=True, unit="")
    report.row(row)
    final = objective(A, mine.users, mine.items, *penalty)
    report.note(f"{case}: objective of ours with the users solved for once more, as the model has them: {final:.6g}")
    report.check(f"{case}: objective", final <= mine.reported * (1 + 1e-5), f"{final:.6g} after {mine.reported:.6g}")
    report.facts[case] = {
        "ours": mine.seconds,
        "peer": peer.seconds,
        "ours_objective": mine.reported,
        "peer_objective": reached,
    }


def implicit(report: Report, inputs: argparse.Namespace) -> None:
    """Time ours and implicit's."""
    A = scipy.sparse.csr_array(scipy.sparse.load_npz(inputs.large)).astype(np.float32)
    small = A[:2000]
    for rank in (64, 128):
        for method in ("auto", "cholesky"):
            ours(small, rank, 2, REGULARIZATION, 0.0, method)  # compiled
        peer = implicit_als(A, rank, SWEEPS, REGULARIZATION)
        mine = ours(A, rank, SWEEPS, REGULARIZATION, 0.0)
        exact = ours(A, rank, SWEEPS, REGULARIZATION, 0.0, "cholesky")
        compared(report, f"implicit, rank {rank}", A, mine, peer, "implicit", (REGULARIZATION, 0.0), 1.3)
        report.note(
            f"implicit, rank {rank}: with Cholesky factors {statistics.median(exact.seconds):.3g} s a sweep, objective "
            f"{exact.reported:.6g}"
        )


def spark(report: Report, inputs: argparse.Namespace) -> None:
    """Time ours and Spark's."""
    A = scipy.sparse.csr_array(scipy.sparse.load_npz(inputs.large)).astype(np.float32)
    chosen = np.sort(np.random.default_rng(0).choice(A.shape[0], A.shape[0] // 10, replace=False))
    A = A[chosen]
    ours(A[:2000], 64, 2, SPARK_REGULARIZATION, 1.0)  # compiled
    mine = ours(A, 64, SPARK_SWEEPS, SPARK_REGULARIZATION, 1.0)
    peer = spark_als(A, 64, SPARK_SWEEPS, SPARK_REGULARIZATION)
    compared(report, "spark, rank 64", A, mine, peer, "Spark", (SPARK_REGULARIZATION, 1.0), 20)


CASES: dict[str, tuple[Callable[[Report, argparse.Namespace], None], str]] = {
    "implicit": (implicit, "large"),
    "spark": (spark, "large"),
    "explicit": (explicit, "ml"),
    "gowalla": (gowalla, "gowalla"),
}
"""Cases by name, and the option that each needs."""


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--large", type=Path, metavar="MATRIX.npz")
    parser.add_argument("--gowalla", type=Path, metavar="FOLDER")
    parser.add_argument("--ml", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    for name in (cases := args.cases or list(CASES)):
        if name not in CASES:
            parser.error(f"there is no case {name!r}; the cases are: {', '.join(CASES)}")
        if getattr(args, needed := CASES[name][1]) is None:
            parser.error(f"case {name!r} needs --{needed}")
    report = Report(args.json)
    for name in cases:
        CASES[name][0](report, args)
        report.save()
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
