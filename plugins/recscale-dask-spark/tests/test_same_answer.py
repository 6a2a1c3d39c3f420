"""Fits, top-k, pair scores, reconstruction and metrics have the bytes of the built-in executors on Spark."""

import os

import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.execution.contract import Executor
from recscale_dask.testing.matrices import planted_tastes
from recscale_dask.testing.same_answer import als_answers_of, answers_of
from recscale_dask_spark import health

MISSING = health.check()


def judged(executor: Executor) -> list[bytes | float]:
    """Return metrics of every kind, and those of each user."""
    ratings = rs.read_interactions(pa.table(planted_tastes(500, 80, 4).columns()))
    train, test = rs.split(ratings, how="per-user-random")
    model = rs.factorize(train, rank=4, executor="serial")
    found = rs.evaluate(
        model, test, metrics=["ndcg@20", "map@5", "novelty@5", "coverage@5", "gini@5", "rmse"], executor=executor
    )
    return [*found.metrics.values(), *(each.tobytes() for each in found.per_user.values())]


@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
@pytest.mark.parametrize("shared_files", [None, False], ids=["mapped files", "broadcast variables"])
def test_spark_gives_the_bytes_of_serial(shared_files: bool | None) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor), als_answers_of(executor), judged(executor)
    with rs.open_executor("spark", master="local[2]", shared_files=shared_files) as executor:
        assert (answers_of(executor), als_answers_of(executor), judged(executor)) == expected
