"""A Python worker of Spark that is killed in the middle of a fit changes nothing."""

import os
import threading

import numpy as np
import psutil
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.execution.events import Event, RunStarted
from recscale_dask_spark import health

MISSING = health.check()


class KillsOnePythonWorker:
    """An observer that kills one Python worker of Spark while the fourth pass runs."""

    def __init__(self) -> None:
        self.killed: list[int] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.label == "svd pass 4":
            threading.Timer(0.05, self._kill).start()

    def _kill(self) -> None:
        daemons = [
            child
            for child in psutil.Process().children(recursive=True)
            if "pyspark.daemon" in " ".join(child.cmdline()) and child.children()
        ]
        worker = daemons[0].children()[0]
        worker.kill()
        self.killed.append(worker.pid)


@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
def test_fit_ends_with_the_same_bytes_and_leaves_nothing() -> None:
    random = sp.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = rs.UserItemMatrix.from_scipy(random)
    expected = rs.factorize(matrix, rank=16, executor="serial", progress=False).factors_sha256()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    kills = KillsOnePythonWorker()
    with rs.open_executor("spark", master="local[2]") as executor:
        model = rs.factorize(matrix, rank=16, executor=executor, progress=kills)
    assert len(kills.killed) == 1
    assert model.factors_sha256() == expected
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
