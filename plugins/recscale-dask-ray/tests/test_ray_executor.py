"""The kit on Ray, the answers of serial, and what is special to Ray."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.faults import Fault, FaultyExecutor, attempts
from recscale_dask.testing.same_answer import answers_of
from recscale_dask_ray import health

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)


def make_ray(**options: object) -> Executor:
    # Imported late: without ray these tests skip.
    from recscale_dask_ray.executor import RayExecutor

    return RayExecutor(**{"n_workers": 2, "object_store_bytes": 500_000_000, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def _ray_of_the_process() -> Iterator[None]:
    """A Ray that executors find and leave open: they start in no time, where one of their own takes seconds."""
    from recscale_dask_ray.session import start_ray

    with ExitStack() as undo:
        start_ray(2, 500_000_000, undo)
        yield


@pytest.mark.usefixtures("_ray_of_the_process")
class TestRayContract(ExecutorContract):
    test_nothing_is_left_behind = None  # what this Ray does meanwhile is not the executor's: see below

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return make_ray


@pytest.fixture(scope="module")
def ray(_ray_of_the_process: None) -> Iterator[Executor]:
    """An executor that adds up on its workers."""
    with make_ray(folds=True) as executor:
        yield executor


@pytest.mark.usefixtures("_ray_of_the_process")
@pytest.mark.parametrize("folds", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["driver", "workers"])
def test_ray_gives_the_bytes_of_serial(folds: bool) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with make_ray(folds=folds) as executor:  # which says where sums are added up
        assert answers_of(executor) == expected


def test_fit_under_faults_has_the_bytes_of_serial(ray: Executor, tmp_path: Path) -> None:
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    matrix = rs.UserItemMatrix.from_scipy(random)
    expected = rs.factorize(matrix, rank=16, executor="serial").factors_sha256()
    faults = (Fault(0, "raise", attempt=2), Fault(1, "kill", attempt=3), Fault(0, "sleep", attempt=4, seconds=0.2))
    with FaultyExecutor(make_ray(), faults, tmp_path) as executor:
        assert rs.factorize(matrix, rank=16, executor=executor).factors_sha256() == expected
    assert min(attempts(tmp_path)[block] for block in (0, 1)) > 3, "the faults were not met"


def test_sum_on_workers_has_the_bits_of_serial(ray: Executor) -> None:
    for n_blocks in (1, 2, 7, 33):
        expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(n_blocks))
        assert fold_blocks(ray, tasks.float32_partial, range(n_blocks)).tobytes() == expected.tobytes()


def test_ray_of_the_process_is_used_and_left_open(ray: Executor) -> None:
    import ray as engine

    for _ in range(2):
        with make_ray() as executor:
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
        assert engine.is_initialized()
    assert list(map_blocks(ray, tasks.echo, range(3))) == [0, 1, 2]


def test_address_beside_a_connection_is_refused(ray: Executor) -> None:
    with pytest.raises(ExecutorUnavailable, match="connected to a Ray already"), make_at("127.0.0.1:1"):
        pass


def make_at(address: str) -> Executor:
    return make_ray(address=address, n_workers=None, object_store_bytes=None)


def test_options_of_a_ray_of_our_own_do_not_go_with_an_address() -> None:
    with pytest.raises(OptionError, match="leave them out with an address"):
        make_ray(address="auto")


def test_plugin_is_found_by_name() -> None:
    offers = {offer.spec.name: offer for offer in PluginManager().offers("executors")}
    assert offers["ray"].package == "recscale-dask-ray"
    assert offers["ray"].unavailable() == MISSING


@pytest.fixture(scope="class")
def _no_ray() -> None:
    """For tests after those above, which share one."""
    import ray as engine

    engine.shutdown()


@pytest.mark.usefixtures("_no_ray")
class TestRayOfOurOwn:
    @pytest.mark.parametrize(
        ("address", "message"), [("127.0.0.1:1", "nobody answers"), ("ray://127.0.0.1:10001", "Ray Client")]
    )
    def test_wrong_address_fails_fast(self, address: str, message: str) -> None:
        with pytest.raises(ExecutorUnavailable, match=message), make_at(address):
            pass

    def test_nothing_is_left_and_nothing_global_changed(self, tmp_path: Path) -> None:
        environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
        before = set(psutil.Process().children(recursive=True))
        with make_ray() as executor:
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
            assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == (environment, handler)
        assert set(psutil.Process().children(recursive=True)) <= before
        assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == (environment, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_ray")
class TestRayOfOurOwnContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return make_ray
