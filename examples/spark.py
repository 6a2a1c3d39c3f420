"""The same fit here and on Spark: `python examples/spark.py [MASTER]`, or `spark-submit ... examples/spark.py`.

Without a master it runs on all cores of this machine.
"""

import sys

import pyarrow

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes


def main(master: str | None = None) -> None:
    spark = next((each for each in rs.list_executors() if each.name == "spark"), None)
    if spark is None or not spark.available:
        reason = spark.reason if spark else "pip install recscale-dask-spark"
        print(f"skipped: executor 'spark' cannot run here: {reason}")
        return
    ratings = rs.read_interactions(pyarrow.table(planted_tastes(1000, 400, 8).columns()))
    here = rs.factorize(ratings, rank=8, executor="serial")
    with rs.open_executor("spark", master=master) as executor:
        where = executor.context.master
        there = rs.factorize(ratings, rank=8, executor=executor)
        recommendations = there.recommend(k=5, executor=executor)
    assert there.factors_sha256() == here.factors_sha256()
    assert recommendations.equals(here.recommend(k=5, executor="serial"))
    print(f"{there} on Spark at {where}: the same bytes as here, {there.factors_sha256()[:16]}...")
    print(recommendations.slice(0, 3).to_pylist())


if __name__ == "__main__":
    main(*sys.argv[1:2])
