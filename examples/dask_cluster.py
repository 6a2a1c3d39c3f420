"""The same fit here and on a Dask cluster: `python examples/dask_cluster.py [tcp://SCHEDULER:8786]`.

Without an address it starts a scheduler and two workers on this machine, as one would on several.
"""

import sys

import pyarrow

import recscale_dask as rs
from recscale_dask.testing.dask_cluster import DaskCluster
from recscale_dask.testing.matrices import planted_tastes


def main(address: str) -> None:
    ratings = rs.read_interactions(pyarrow.table(planted_tastes(1000, 400, 8).columns()))
    here = rs.factorize(ratings, rank=8, executor="serial")
    with rs.open_executor("dask", address=address, timeout=60) as executor:
        there = rs.factorize(ratings, rank=8, executor=executor)
        recommendations = there.recommend(k=5, executor=executor)
    assert there.factors_sha256() == here.factors_sha256()
    assert recommendations.equals(here.recommend(k=5, executor="serial"))
    print(f"{there} on the cluster at {address}: the same bytes as here, {there.factors_sha256()[:16]}...")
    print(recommendations.slice(0, 3).to_pylist())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with DaskCluster() as cluster:  # `dask scheduler` and twice `dask worker`, reachable from this machine only
            cluster.add_worker()
            cluster.add_worker()
            cluster.client(2).close()  # once both are there
            main(cluster.address)
