"""Three steps of the usual tutorial and what they become here, side by side, with equal numbers.

1. `scipy.sparse.linalg.svds` and a dense `U @ diag(s) @ Vt`   ->  `rs.svds` and a lazy `reconstruct`
2. `multiprocessing.Pool.map` over users                       ->  `executor="processes"`
3. a `SparkContext` and `rdd.map(...).collect()`               ->  `executor="spark"`
"""

import os
import sys
from multiprocessing import Pool

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes

RANK, K = 8, 5


def best_scores(row: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the K best predictions of a user among the items without a rating: a task for Pool and Spark."""
    predicted, ratings = row
    return np.sort(np.where(ratings > 0, -np.inf, predicted))[::-1][:K]


def ratings_matrix() -> sp.csr_array:
    plant = planted_tastes(600, 300, RANK)
    return sp.csr_array((plant.values.astype(np.float64), (plant.users, plant.items)), shape=(600, 300))


def step_one(ratings: sp.csr_array) -> tuple[np.ndarray, rs.FactorModel]:
    u, s, vt = scipy.sparse.linalg.svds(ratings, k=RANK)
    dense = u @ np.diag(s) @ vt  # all users x all items in memory

    _, ours, _ = rs.svds(ratings, k=RANK)
    model = rs.factorize(ratings, rank=RANK, tol=1e-6)
    lazy = model.reconstruct()  # a Dask array: nothing is computed yet

    assert np.allclose(ours, s, rtol=1e-6)
    assert np.allclose(lazy[10:13, 20:24].compute(), dense[10:13, 20:24], atol=1e-4)
    print(f"1. singular values {s[::-1][:3].round(3)}, and rs.svds: {ours[::-1][:3].round(3)}")
    return dense, model


def step_two(dense: np.ndarray, ratings: sp.csr_array, model: rs.FactorModel) -> None:
    with Pool(2) as pool:
        theirs = pool.map(best_scores, zip(dense, ratings.toarray(), strict=True))

    recommendations = model.recommend(k=K, executor="processes")

    ours = recommendations["score"].to_numpy().reshape(-1, K)
    assert np.allclose(ours, theirs, atol=1e-4)
    print(f"2. best scores of user 0 by Pool.map {theirs[0][:3].round(3)}, and by processes: {ours[0][:3].round(3)}")


def step_three(dense: np.ndarray, ratings: sp.csr_array, model: rs.FactorModel) -> None:
    listed = next((each for each in rs.list_executors() if each.name == "spark"), None)
    if listed is None or not listed.available:
        reason = listed.reason if listed else "pip install recscale-dask-spark"
        print(f"3. skipped: executor 'spark' cannot run here: {reason}")
        return
    from pyspark import SparkContext

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    context = SparkContext("local[2]")
    rows = context.parallelize(list(zip(dense, ratings.toarray(), strict=True)))
    theirs = rows.map(best_scores).collect()  # users x items travel to Spark, and the answers to one list

    recommendations = model.recommend(k=K, executor="spark")  # in the Spark that is running
    context.stop()

    ours = recommendations["score"].to_numpy().reshape(-1, K)
    assert np.allclose(ours, theirs, atol=1e-4)
    print(f"3. best scores of user 0 by rdd.map {theirs[0][:3].round(3)}, and by spark: {ours[0][:3].round(3)}")


def main() -> None:
    ratings = ratings_matrix()
    dense, model = step_one(ratings)
    step_two(dense, ratings, model)
    step_three(dense, ratings, model)


if __name__ == "__main__":
    main()
