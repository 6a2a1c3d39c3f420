"""The short form of benchmarks/faults.py on Spark, with files and without; one session for all."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import IncompleteRun
from recscale_dask.testing.faults import Fault, FaultyExecutor, attempts
from recscale_dask_spark import health

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
FAULTS = (Fault(0, "raise", attempt=2), Fault(1, "kill", attempt=3), Fault(0, "sleep", attempt=4, seconds=0.2))
ways = pytest.mark.parametrize("shared_files", [True, False], ids=["mapped files", "broadcast variables"])


@pytest.fixture(scope="module", autouse=True)
def _session() -> Iterator[None]:
    """What executors find that are opened meanwhile."""
    with rs.open_executor("spark", master="local[2]"):
        yield


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    random = sp.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


@ways
def test_fit_under_faults_has_the_bytes_of_serial(
    matrix: rs.UserItemMatrix, shared_files: bool, tmp_path: Path
) -> None:
    expected = rs.factorize(matrix, rank=16, executor="serial").factors_sha256()
    with FaultyExecutor(rs.open_executor("spark", shared_files=shared_files), FAULTS, tmp_path) as executor:
        assert executor.capabilities.folds is not shared_files
        assert rs.factorize(matrix, rank=16, executor=executor).factors_sha256() == expected
    assert min(attempts(tmp_path)[block] for block in (0, 1)) > 3, "the faults were not met"


@ways
def test_fit_with_an_answer_that_comes_twice_ends_in_the_error(
    matrix: rs.UserItemMatrix, shared_files: bool, tmp_path: Path
) -> None:
    inner, twice = rs.open_executor("spark", shared_files=shared_files), (Fault(0, "twice", attempt=2),)
    with FaultyExecutor(inner, twice, tmp_path) as executor, pytest.raises(IncompleteRun):
        rs.factorize(matrix, rank=16, executor=executor)
