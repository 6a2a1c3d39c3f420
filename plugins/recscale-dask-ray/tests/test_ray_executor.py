"""The kit on Ray, the answers of serial, and what is special to Ray."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, OptionError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.same_answer import answers_of
from recscale_dask_ray import health

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)


def make_ray(**options: object) -> Executor:
    # Imported late: without ray these tests skip.
    from recscale_dask_ray.executor import RayExecutor

    return RayExecutor(**{"n_workers": 2, "object_store_bytes": 500_000_000, **options})  # type: ignore[arg-type]


class TestRayContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return make_ray


@pytest.fixture(scope="module")
def ray() -> Iterator[Executor]:
    """An executor that adds up on its workers; the caller's Ray to those opened meanwhile."""
    with make_ray(folds=True) as executor:
        yield executor


def test_ray_gives_the_bytes_of_serial(ray: Executor) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with make_ray() as plain:  # adds up on the driver, on the same Ray
        assert answers_of(plain) == expected
    assert answers_of(ray) == expected


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


class TestRayOfOurOwn:
    """Each opens Ray anew, or not at all: after the tests above, which share one."""

    @pytest.fixture(autouse=True)
    def _no_ray(self) -> None:
        import ray as engine

        engine.shutdown()

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
