"""A Python worker of Spark that is killed in the middle of a fit changes nothing."""

import contextlib
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
    """An observer that kills one Python worker of Spark from the fourth pass on, as soon as there is one."""

    def __init__(self) -> None:
        self.killed: list[int] = []
        self._ended = threading.Event()
        self._hunt: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.label == "svd pass 4" and self._hunt is None:
            self._hunt = threading.Thread(target=self._kill_one)
            self._hunt.start()

    def join(self) -> None:
        self._ended.set()
        assert self._hunt is not None, "the fit ended before its fourth pass"
        self._hunt.join()

    def _kill_one(self) -> None:
        # Workers come and go between stages, and a process may end while it is looked at: look until one is met.
        while not self.killed and not self._ended.wait(0.01):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if is_daemon(process) and (parent := process.parent()) is not None and is_daemon(parent):
                        process.kill()
                        self.killed.append(process.pid)
                        break


def is_daemon(process: psutil.Process) -> bool:
    """Whether it is Spark's Python daemon, or a worker that the daemon forked."""
    return "pyspark.daemon" in process.cmdline()


@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
def test_fit_ends_with_the_same_bytes_and_leaves_nothing() -> None:
    random = sp.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = rs.UserItemMatrix.from_scipy(random)
    expected = rs.factorize(matrix, rank=16, executor="serial", progress=False).factors_sha256()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    kills = KillsOnePythonWorker()
    with rs.open_executor("spark", master="local[2]") as executor:
        model = rs.factorize(matrix, rank=16, executor=executor, progress=kills)
    kills.join()
    assert len(kills.killed) == 1
    assert model.factors_sha256() == expected
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
