"""The kit on Ray, the answers of serial, and what is special to Ray."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, IncompleteRun, OptionError
from recscale_dask.execution.contract import Executor, Job
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.faults import Fault, FaultyExecutor, attempts
from recscale_dask.testing.leftovers import wait_until
from recscale_dask.testing.same_answer import answers_of
from recscale_dask_ray import health
from recscale_dask_ray.nodes import RayCluster

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)


def make_ray(**options: object) -> Executor:
    # Imported late: without ray these tests skip.
    from recscale_dask_ray.executor import RayExecutor

    if "address" not in options:
        options = {"n_workers": 2, "object_store_bytes": 100_000_000, **options}
    return RayExecutor(**options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A cluster that executors join: they open in a second, where a Ray of their own takes several."""
    with RayCluster(2) as cluster:
        yield cluster


class TestRayContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self, cluster: RayCluster) -> Callable[[], Executor]:
        return lambda: make_ray(address=cluster.address)


@pytest.fixture(scope="module")
def ray(cluster: RayCluster) -> Iterator[Executor]:
    """An executor that adds up on its workers."""
    with make_ray(address=cluster.address, folds=True) as executor:
        yield executor


@pytest.mark.parametrize("folds", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["driver", "workers"])
def test_ray_gives_the_bytes_of_serial(cluster: RayCluster, folds: bool) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with make_ray(address=cluster.address, folds=folds) as executor:  # which says where sums are added up
        assert answers_of(executor) == expected


def a_matrix() -> rs.UserItemMatrix:
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


def test_fit_under_faults_has_the_bytes_of_serial(cluster: RayCluster, tmp_path: Path) -> None:
    matrix = a_matrix()
    expected = rs.factorize(matrix, rank=16, executor="serial").factors_sha256()
    faults = (Fault(0, "raise", attempt=2), Fault(1, "kill", attempt=3), Fault(0, "sleep", attempt=4, seconds=0.2))
    with FaultyExecutor(make_ray(address=cluster.address), faults, tmp_path) as executor:
        assert rs.factorize(matrix, rank=16, executor=executor).factors_sha256() == expected
    assert min(attempts(tmp_path)[block] for block in (0, 1)) > 3, "the faults were not met"


@pytest.mark.parametrize("folds", [False, True], ids=["driver", "workers"])
def test_fit_with_an_answer_that_comes_twice_ends_in_the_error(
    cluster: RayCluster, tmp_path: Path, folds: bool
) -> None:
    inner = make_ray(address=cluster.address, folds=folds)
    with FaultyExecutor(inner, (Fault(0, "twice", attempt=2),), tmp_path) as executor, pytest.raises(IncompleteRun):
        rs.factorize(a_matrix(), rank=16, executor=executor)


def test_sum_on_workers_has_the_bits_of_serial(ray: Executor) -> None:
    for n_blocks in (1, 2, 7, 33):
        expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(n_blocks))
        assert fold_blocks(ray, tasks.float32_partial, range(n_blocks)).tobytes() == expected.tobytes()


def test_sum_of_large_partials_on_workers_that_map_files_has_the_bits_of_serial(cluster: RayCluster) -> None:
    expected = fold_blocks(SerialExecutor(), two_mebibytes, range(9))
    with make_ray(address=cluster.address, shared_files=True, folds=True) as executor:
        assert executor.capabilities.shared_files
        assert fold_blocks(executor, two_mebibytes, range(9)).tobytes() == expected.tobytes()


def two_mebibytes(block: int) -> np.ndarray:
    return np.random.default_rng(block).normal(size=(1 << 18))


# -- giving up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["map", "sum"])
def test_run_that_is_given_up_holds_no_worker(cluster: RayCluster, tmp_path: Path, how: str) -> None:
    with make_ray(address=cluster.address, folds=how == "sum") as executor:
        if how == "map":
            outcomes = cast(Any, executor.outcomes(SleepOn(0, tmp_path), (Job(i, i) for i in range(8)), {}))
            assert next(outcomes).index != 0
            outcomes.close()
        else:
            with pytest.raises(KeyboardInterrupt), interrupted_once(tmp_path / "0"):
                executor.fold(SleepOn(0, tmp_path), max, (Job(i, i) for i in range(8)), {})
        # On both workers at once: each block waits for the other.
        assert list(map_blocks(executor, MeetOther(tmp_path), range(2))) == [0, 1]
        assert not (tmp_path / "slept").exists(), "this waited for the run that was given up"


@dataclass(frozen=True)
class SleepOn:
    """Echo blocks; on one of them, sleep for long after leaving a mark."""

    slow: int
    folder: Path

    def __call__(self, block: int) -> int:
        if block == self.slow:
            (self.folder / str(block)).touch()
            time.sleep(60)
            (self.folder / "slept").touch()
        return block


@dataclass(frozen=True)
class MeetOther:
    """Return the block once the other of two blocks runs too."""

    folder: Path

    def __call__(self, block: int) -> int:
        (self.folder / f"here-{block}").touch()
        while not (self.folder / f"here-{1 - block}").exists():
            time.sleep(0.01)
        return block


@contextmanager
def interrupted_once(mark: Path) -> Iterator[None]:
    """Do what Ctrl-C does once there is a mark."""

    def interrupt() -> None:
        wait_until(mark.exists, 60)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


# -- how it is opened ----------------------------------------------------------------------------------


def test_cluster_of_this_process_is_used_and_left_open(cluster: RayCluster) -> None:
    import ray as engine

    engine.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        for options in ({}, {"address": cluster.address}):
            with make_ray(**{"n_workers": None, "object_store_bytes": None, **options}) as executor:
                assert executor.parallelism == 2
                assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
            assert engine.is_initialized()
    finally:
        engine.shutdown()


def test_options_of_a_ray_of_our_own_do_not_go_with_an_address() -> None:
    with pytest.raises(OptionError, match="leave them out with an address"):
        make_ray(address="auto", n_workers=2)


def test_plugin_is_found_by_name() -> None:
    offers = {offer.spec.name: offer for offer in PluginManager().offers("executors")}
    assert offers["ray"].package == "recscale-dask-ray"
    assert offers["ray"].unavailable() == MISSING


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_wrong_address_fails_fast(address: str) -> None:
    with pytest.raises(ExecutorUnavailable, match="nobody answers"), make_ray(address=address):
        pass


def raylets() -> set[psutil.Process]:
    return {each for each in psutil.Process().children(recursive=True) if each.name() == "raylet"}


class TestRayOfOurOwn:
    def test_nothing_is_left_and_nothing_global_changed(self) -> None:
        environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
        before = set(psutil.Process().children(recursive=True))
        with make_ray() as executor:
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
        left = set(psutil.Process().children(recursive=True)) - before
        assert not [each for each in left if "resource_tracker" not in " ".join(each.cmdline())]
        assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == (environment, handler)

    def test_node_that_dies_ends_in_an_error_and_the_executor_opens_again(self) -> None:
        executor, others = make_ray(), raylets()
        with executor:
            for each in raylets() - others:
                each.kill()
            with pytest.raises(ExecutorUnavailable, match="Ray has stopped"):
                list(map_blocks(executor, tasks.echo_late_ones_first, range(10_000)))
        with executor:
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


@pytest.mark.slow
class TestRayOfOurOwnContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return make_ray
