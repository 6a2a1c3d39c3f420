"""The kit on pools of several kinds, and what is special to pools."""

import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import loky
import numpy as np
import pytest
import scipy.sparse
from distributed import Client, LocalCluster

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, OptionError, WorkerLost
from recscale_dask.execution.contract import Executor, Job
from recscale_dask.execution.futures import FuturesExecutor
from recscale_dask.execution.futures_worker import look
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


class BusyPool(ThreadPoolExecutor):
    """Its only thread has something else to do until it is told to end."""

    def __init__(self, n_workers: int = 1) -> None:
        super().__init__(n_workers)
        self.end = threading.Event()
        self.submit(self.end.wait)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("whose", ["the caller's", "our own"])
def test_pool_that_never_answers_says_so(whose: str) -> None:
    made = [BusyPool()]
    executor = FuturesExecutor(made[0] if whose == "the caller's" else lambda: made[0], timeout=0.2)
    try:
        with pytest.raises(ExecutorUnavailable, match=r"1 of 1 tasks .* after 0.2 s.*larger timeout"), executor:
            pass
    finally:
        made[0].end.set()
    if whose == "the caller's":
        assert made[0].submit(abs, -3).result() == 3
    made[0].shutdown()


def test_pool_of_the_caller_is_left_open(pool: ProcessPoolExecutor) -> None:
    with FuturesExecutor(pool) as executor:
        assert executor.parallelism == 2
        assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))
    assert pool.submit(abs, -3).result() == 3


def test_run_that_goes_on_after_its_executor_was_closed_says_so(pool: ProcessPoolExecutor) -> None:
    with FuturesExecutor(pool) as executor:
        answers = executor.outcomes(tasks.echo, (Job(index, index) for index in range(50)), {})
        assert next(answers).error is None
    with pytest.raises(ExecutorUnavailable, match="'futures' is not open"):
        list(answers)


def test_pool_goes_in_where_an_executor_does() -> None:
    matrix = rs.UserItemMatrix.from_scipy(
        scipy.sparse.random_array((300, 40), density=0.2, rng=np.random.default_rng(0))
    )
    expected = rs.factorize(matrix, rank=3, executor="serial").factors_sha256()
    with ThreadPoolExecutor(2) as pool:
        assert rs.factorize(matrix, rank=3, executor=pool).factors_sha256() == expected


def test_pool_of_a_dask_client() -> None:
    matrix = rs.UserItemMatrix.from_scipy(scipy.sparse.random_array((300, 40), density=0.2, rng=0))
    expected = rs.factorize(matrix, rank=3, executor="serial")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        pool = client.get_executor()
        assert rs.factorize(matrix, rank=3, executor=pool).factors_sha256() == expected.factors_sha256()
        with FuturesExecutor(pool, n_workers=2, shared_files=False) as executor:
            model = rs.factorize(matrix, rank=3, executor=executor)
            recommendations = model.recommend(k=3, executor=executor)
    assert model.factors_sha256() == expected.factors_sha256()
    assert recommendations.equals(expected.recommend(k=3, executor="serial"))


class OnTwoMachines(ThreadPoolExecutor):
    """Every second task is done where the files of the driver are not, and by a copy of the task."""

    n_tasks = 0

    def submit(self, function: Any, /, *arguments: Any) -> Any:
        self.n_tasks += 1
        if function is look and self.n_tasks % 2 == 0:
            arguments = (arguments[0], replace(arguments[1], paths=(Path("/no/such/file"),)))
        return super().submit(pickle.loads(pickle.dumps(function)), *pickle.loads(pickle.dumps(arguments)))


def test_one_worker_without_the_files_of_the_driver_is_enough_to_send_constants() -> None:
    with OnTwoMachines(2) as pool, FuturesExecutor(pool) as executor:
        assert not executor.capabilities.shared_files
        assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))


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


def grown(x: int) -> int:
    """Return the process, which keeps 320 MB from now on."""
    kept = sys.modules[tasks.__name__]
    kept.big = np.ones(40_000_000)  # type: ignore[attr-defined]
    time.sleep(1.1)  # loky looks once a second
    return os.getpid()


def test_worker_of_loky_that_keeps_much_is_not_taken_for_a_leak() -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with FuturesExecutor("loky", n_workers=1) as executor:
        assert len({next(map_blocks(executor, grown, [0])) for _ in range(2)}) == 1


def test_loky_is_the_one_of_its_own_package() -> None:
    with FuturesExecutor("loky", n_workers=1) as executor:
        assert isinstance(executor._pool, loky.ProcessPoolExecutor)
