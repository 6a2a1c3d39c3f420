"""The kit on pools of several kinds, and what is special to pools."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import loky
import numpy as np
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.futures import FuturesExecutor
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.faults import Fault, FaultyTask

spawning = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))


class TestLoky(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: FuturesExecutor("loky", n_workers=2)


class TestThreadPool(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: FuturesExecutor("concurrent.futures:ThreadPoolExecutor", n_workers=3)


class TestProcessPoolWithoutSharedFiles(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: FuturesExecutor(spawning, n_workers=2, shared_files=False)


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    with spawning(2) as pool:
        yield pool


def test_pool_of_the_caller_is_left_open(pool: ProcessPoolExecutor) -> None:
    with FuturesExecutor(pool) as executor:
        assert executor.parallelism == 2
        assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))
    assert pool.submit(abs, -3).result() == 3


def test_pool_goes_in_where_an_executor_does() -> None:
    matrix = rs.UserItemMatrix.from_scipy(
        scipy.sparse.random_array((300, 40), density=0.2, rng=np.random.default_rng(0))
    )
    expected = rs.factorize(matrix, rank=3, executor="serial").factors_sha256()
    with ThreadPoolExecutor(2) as pool:
        assert rs.factorize(matrix, rank=3, executor=pool).factors_sha256() == expected


def test_broken_pool_of_the_caller_is_a_lost_worker(pool: ProcessPoolExecutor) -> None:
    with FuturesExecutor(pool) as executor, pytest.raises(WorkerLost, match="futures"):
        list(map_blocks(executor, FaultyTask((Fault(1, "kill", attempt=None),), tasks.echo), range(4)))
    with pytest.raises(ExecutorUnavailable, match="no worker of the pool answers"), FuturesExecutor(pool):
        pass


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, OptionError, "pool must be a concurrent.futures.Executor"),
        ("no_such_package:Pool", ExecutorUnavailable, "pip install no_such_package"),
        ("concurrent.futures:NoSuchPool", OptionError, "Give 'package.module:function'"),
        (dict, OptionError, "pool makes a dict"),
    ],
)
def test_what_is_no_pool_says_so(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), FuturesExecutor(given):
        pass


def test_loky_is_the_one_of_its_own_package() -> None:
    with FuturesExecutor("loky", n_workers=1) as executor:
        assert isinstance(executor._pool, loky.ProcessPoolExecutor)
