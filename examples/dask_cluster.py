"""The same fit here and on a Dask cluster: `python examples/dask_cluster.py [tcp://SCHEDULER:8786]`.

Without an address it starts a scheduler and two workers on this machine, as one would on several.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow

import recscale_dask as rs
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


@contextmanager
def cluster_here() -> Iterator[str]:
    """Run `dask scheduler` and twice `dask worker`, reachable from this machine only; yield the address."""
    with tempfile.TemporaryDirectory(prefix="recscale-example-") as folder:
        told = Path(folder, "scheduler.json")
        processes = [start("scheduler", "--port", "0", "--scheduler-file", str(told))]
        try:
            while not (told.exists() and told.read_text().endswith("}")):
                assert processes[0].poll() is None, "the scheduler ended"
                time.sleep(0.05)
            address = json.loads(told.read_text())["address"]
            worker = ("worker", address, "--nthreads", "1", "--local-directory", folder)
            processes += [start(*worker), start(*worker)]
            yield address
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(30)


def start(what: str, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "dask", what, *arguments, "--host", "127.0.0.1", "--no-dashboard"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with cluster_here() as address:
            main(address)
