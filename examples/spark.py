"""The same fit here and on Spark: `python examples/spark.py [MASTER]`, by default local[2]."""

import sys

import pyarrow

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes


def main(master: str) -> None:
    spark = next((each for each in rs.list_executors() if each.name == "spark"), None)
    if spark is None or not spark.available:
        reason = spark.reason if spark else "pip install recscale-dask-spark"
        print(f"skipped: executor 'spark' cannot run here: {reason}")
        return
    ratings = rs.read_interactions(pyarrow.table(planted_tastes(1000, 400, 8).columns()))
    here = rs.factorize(ratings, rank=8, executor="serial")
    with rs.open_executor("spark", master=master) as executor:
        there = rs.factorize(ratings, rank=8, executor=executor)
        recommendations = there.recommend(k=5, executor=executor)
    assert there.factors_sha256() == here.factors_sha256()
    assert recommendations.equals(here.recommend(k=5, executor="serial"))
    print(f"{there} on Spark at {master}: the same bytes as here, {there.factors_sha256()[:16]}...")
    print(recommendations.slice(0, 3).to_pylist())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "local[2]")
