"""The same fit here and on the workers of MPI: `mpiexec -n 3 python -m mpi4py.futures examples/mpi.py`.

The first process runs this program, the others are its workers. `pip install mpi4py mpich` brings all that it needs.
"""

import pyarrow

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes

if __name__ == "__main__":
    ratings = rs.read_interactions(pyarrow.table(planted_tastes(1000, 400, 8).columns()))
    here = rs.factorize(ratings, rank=8, executor="serial")
    # Processes of MPI may be on several machines, so that constants travel as messages and not as files.
    with rs.open_executor("futures", pool="mpi4py", shared_files=False) as executor:
        there = rs.factorize(ratings, rank=8, executor=executor)
        recommendations = there.recommend(k=5, executor=executor)
        print(f"{there} on {executor.parallelism} workers of MPI", end=": ")
    assert there.factors_sha256() == here.factors_sha256()
    assert recommendations.equals(here.recommend(k=5, executor="serial"))
    print(f"the same bytes as here, {there.factors_sha256()[:16]}...")
