"""Clusters of several Ray nodes, each with an object store of its own, on this machine: joined, and met by faults."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, VersionsDifferWarning
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Event, RunStarted
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import ExecutorContract, tasks
from recscale_dask.testing.leftovers import wait_until
from recscale_dask.testing.same_answer import answers_of
from recscale_dask_ray import health
from recscale_dask_ray.nodes import RayCluster

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("grpc") is None and not os.environ.get("CI"), reason="Ray Client needs grpcio"
)


@pytest.fixture
def expected(matrix: rs.UserItemMatrix) -> str:
    return rs.factorize(matrix, rank=16, executor="serial").factors_sha256()


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    random = scipy.sparse.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


class At:
    """Act once, when a pass of the fit begins."""

    def __init__(self, n_pass: int, act: Callable[[], object]) -> None:
        self._label, self._act = f"svd pass {n_pass}", act
        self.done = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.label == self._label and not self.done:
            self.done = True
            self._act()


# -- two nodes -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[RayCluster]:
    with RayCluster(1) as cluster:
        cluster.add_node()
        with rs.open_executor("ray", address=cluster.address) as executor:
            assert wait_until(lambda: executor.parallelism == 2, 60), "the second node did not join"
        yield cluster


@pytest.mark.slow
class TestTwoNodesContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self, two_nodes: RayCluster) -> Callable[[], Executor]:
        return lambda: rs.open_executor("ray", address=two_nodes.address)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [False, True], ids=["driver", "workers"])
def test_two_nodes_give_the_bytes_of_serial(two_nodes: RayCluster, folds: bool) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with rs.open_executor("ray", address=two_nodes.address, folds=folds) as executor:
        assert not executor.capabilities.shared_files, "the test is about nodes that share no files"
        assert answers_of(executor) == expected


@pytest.mark.parametrize("folds", [False, True], ids=["driver", "workers"])
def test_node_that_is_killed_in_a_fit_changes_nothing(matrix: rs.UserItemMatrix, expected: str, folds: bool) -> None:
    with RayCluster(1) as cluster:
        node = cluster.add_node()
        with rs.open_executor("ray", address=cluster.address, folds=folds) as executor:
            assert wait_until(lambda: executor.parallelism == 2, 60), "the second node did not join"
            kill = At(3, lambda: cluster.kill(node))
            assert rs.factorize(matrix, rank=16, executor=executor, progress=kill).factors_sha256() == expected
            assert kill.done


@pytest.mark.slow
@pytest.mark.parametrize(("package", "version"), [("recscale-dask", "0.0.1"), ("scipy", "1.0.0")])
def test_node_of_other_versions_is_told_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    told = tmp_path / f"{package.replace('-', '_')}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    with RayCluster(2) as cluster:
        with monkeypatch.context() as there:
            there.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
            cluster.add_node()
        executor = rs.open_executor("ray", address=cluster.address)
        if package == "scipy":
            with pytest.warns(VersionsDifferWarning, match=r"scipy 1\.0\.0 at \S+, node .* last bits"):
                opens_until_it_has(executor, 3)
        else:
            expected = r"Ray worker at \S+, node \w+, has 0\.0\.1 recscale-dask.*Install recscale-dask"
            with pytest.raises(ExecutorUnavailable, match=expected):
                opens_until_it_has(executor, 3)


def opens_until_it_has(executor: Executor, n_cpus: int) -> None:
    """Open an executor again and again until all nodes joined, and once more."""

    def is_there() -> bool:
        with executor:
            return executor.parallelism == n_cpus

    assert wait_until(is_there, 60)
    with executor:
        pass


# -- tokens --------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a token, as a first `ray.init()` of any program leaves it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789" * 4)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_cluster_that_asks_for_the_token_of_the_user_is_joined() -> None:
    with RayCluster(1, token=None) as cluster, rs.open_executor("ray", address=cluster.address) as executor:
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_cluster_that_asks_for_another_token_is_an_error_that_says_so() -> None:
    with RayCluster(1, token="9876543210" * 4) as cluster:
        executor = rs.open_executor("ray", address=cluster.address)
        with pytest.raises(ExecutorUnavailable, match="asks for a token: set RAY_AUTH_MODE=token"), executor:
            pass


# -- Ray Client ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_client() -> Iterator[RayCluster]:
    with RayCluster(2, client=True) as cluster:
        yield cluster


@pytest.mark.slow
@needs_client
def test_ray_client_gives_the_bytes_of_serial(by_client: RayCluster) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with rs.open_executor("ray", address=by_client.client_address) as executor:
        assert answers_of(executor) == expected


@pytest.mark.slow
@needs_client
def test_connection_of_ray_client_that_is_cut_ends_in_an_error(
    by_client: RayCluster, matrix: rs.UserItemMatrix
) -> None:
    cut = At(3, lambda: by_client.kill(by_client.nodes[0]))
    executor = rs.open_executor("ray", address=by_client.client_address)
    with executor, pytest.raises(ExecutorUnavailable, match="Ray has stopped"):
        rs.factorize(matrix, rank=16, executor=executor, progress=cut)
    assert cut.done
