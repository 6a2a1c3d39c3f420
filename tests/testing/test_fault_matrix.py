"""The short form of benchmarks/faults.py: one fit under several faults on each executor; plugins have their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, IncompleteRun
from recscale_dask.execution.events import Event, RunStarted
from recscale_dask.testing.dask_cluster import DaskCluster
from recscale_dask.testing.faults import Fault, FaultyExecutor, attempts

FAULTS = (
    Fault(0, "raise", attempt=2),
    Fault(1, "kill", attempt=3),
    Fault(0, "sleep", attempt=4, seconds=0.2),
    Fault(1, "late", attempt=5, seconds=0.2),
)
EXECUTORS = [("processes", {"n_workers": 2}), ("dask", {"n_workers": 2}), ("futures", {"pool": "loky", "n_workers": 2})]


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


@pytest.mark.parametrize(("name", "options"), EXECUTORS, ids=[name for name, _ in EXECUTORS])
def test_fit_under_faults_has_the_bytes_of_serial(
    matrix: rs.UserItemMatrix, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    expected = rs.factorize(matrix, rank=16, executor="serial").factors_sha256()
    with FaultyExecutor(rs.open_executor(name, **options), FAULTS, tmp_path) as executor:
        assert rs.factorize(matrix, rank=16, executor=executor).factors_sha256() == expected
    assert min(attempts(tmp_path)[block] for block in (0, 1)) >= 5, "the faults were not met"


@pytest.mark.parametrize(("name", "options"), EXECUTORS, ids=[name for name, _ in EXECUTORS])
def test_fit_with_an_answer_that_comes_twice_ends_in_the_error(
    matrix: rs.UserItemMatrix, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    with (
        FaultyExecutor(rs.open_executor(name, **options), (Fault(0, "twice", attempt=2),), tmp_path) as executor,
        pytest.raises(IncompleteRun),
    ):
        rs.factorize(matrix, rank=16, executor=executor)


@pytest.mark.slow
def test_fit_whose_dask_scheduler_is_killed_ends_in_the_error(matrix: rs.UserItemMatrix) -> None:
    killed = []

    def kill(event: Event) -> None:
        if isinstance(event, RunStarted) and event.label == "svd pass 3":
            cluster.scheduler.kill()
            killed.append(event.label)

    with DaskCluster() as cluster:
        for _ in range(2):
            cluster.add_worker("--no-nanny")
        cluster.client(2).close()
        with rs.open_executor("dask", address=cluster.address, timeout=30) as executor:
            with pytest.raises(ExecutorUnavailable, match="connection to the Dask scheduler is lost"):
                rs.factorize(matrix, rank=16, executor=executor, progress=kill)
            assert killed == ["svd pass 3"]
