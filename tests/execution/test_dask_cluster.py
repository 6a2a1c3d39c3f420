"""Real schedulers and workers: who joins, who leaves, what travels, and which versions they have."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client, LocalCluster, SchedulerPlugin, get_client

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, VersionsDifferWarning, WorkerLost
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.events import Event, RunStarted
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor

# Workers cannot import this module: its functions travel as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

BASIS = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)


def scaled(x: float, basis: np.ndarray) -> np.ndarray:
    return (basis * np.float32(x)).astype(np.float32)


def slowly(x: int) -> int:
    time.sleep(0.1)
    return x


def matrix_of(n_users: int = 4000, n_items: int = 800, density: float = 0.02) -> rs.UserItemMatrix:
    random = sp.random_array((n_users, n_items), density=density, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


def fingerprint(matrix: rs.UserItemMatrix, executor: Any = "serial", progress: Any = False) -> str:
    return rs.factorize(matrix, rank=8, executor=executor, progress=progress).factors_sha256()


class At:
    """An observer that does things when passes of a fit start."""

    def __init__(self, **what: Callable[[], object]) -> None:
        self._what = {name.replace("_", " "): action for name, action in what.items()}

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and (action := self._what.pop(event.label, None)) is not None:
            action()

    @property
    def done(self) -> bool:
        return not self._what


@pytest.fixture(scope="module")
def own(dask_processes: Any) -> Iterator[Any]:
    """A scheduler of this module's, and a worker that no nanny starts again."""
    processes = dask_processes()
    processes.add_worker("--no-nanny")
    processes.client(1).close()
    yield processes
    processes.close()


# -- inside a task ----------------------------------------------------------------------------------------


def fit_in_a_task(way: str) -> tuple[str, int]:
    options = {"found": {}, "given": {"client": get_client(), "shared_files": False}}[way]
    with DaskExecutor(**options) as executor:
        return fingerprint(matrix_of(), executor), executor.parallelism


@pytest.mark.parametrize("way", ["found", "given"])
def test_fit_inside_a_task_of_the_only_worker_runs_on_that_cluster(own: Any, way: str) -> None:
    expected = fingerprint(matrix_of())
    with own.client(1) as client:
        assert client.submit(fit_in_a_task, way, pure=False).result(timeout=60) == (expected, 1)
        # The place of that task is given back: one thread, one task at a time.
        assert client.gather(client.map(slowly, range(4), pure=False)) == [0, 1, 2, 3]


def test_default_client_of_the_process_is_used_and_left_open(own: Any) -> None:
    with Client(own.address) as client:
        with DaskExecutor() as executor:
            assert executor.client is client
            assert list(map_blocks(executor, slowly, range(3))) == [0, 1, 2]
        assert client.status == "running"


# -- workers come and go ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_files", [True, False])
def test_workers_that_come_and_go_in_mid_fit_leave_the_same_bytes(own: Any, shared_files: bool) -> None:
    matrix = matrix_of()
    first = own.add_worker("--no-nanny", "--name", "first")
    later: list[subprocess.Popen[bytes]] = []

    def join() -> None:
        later.append(own.add_worker("--no-nanny"))
        own.client(3).close()

    with own.client(2) as client:
        at = At(svd_pass_2=join, svd_pass_4=first.terminate, svd_pass_5=lambda: later[0].kill())
        with DaskExecutor(client=client, shared_files=shared_files) as executor:
            assert fingerprint(matrix, executor, at) == fingerprint(matrix)
    assert at.done
    first.wait(20)
    later[0].wait(20)


@pytest.mark.slow
def test_adaptive_cluster_starts_workers_for_a_fit() -> None:
    matrix = matrix_of(1000, 200)
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        cluster.adapt(minimum=0, maximum=2, interval="200ms")  # gone after 0.6 s without work; Dask's default is 3 s
        with DaskExecutor(client=client, timeout=60) as executor:
            assert fingerprint(matrix, executor) == fingerprint(matrix)
            deadline = time.monotonic() + 30
            while client.nthreads() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not client.nthreads()
            assert list(map_blocks(executor, slowly, range(3))) == [0, 1, 2]


@pytest.mark.slow
def test_all_workers_gone_is_worker_lost_after_the_stated_time(dask_processes: Any) -> None:
    processes = dask_processes()
    only = processes.add_worker("--no-nanny")
    with processes.client(1) as client, DaskExecutor(client=client, timeout=1) as executor:
        threading.Timer(0.5, only.kill).start()
        with pytest.raises(WorkerLost, match=r"workers .* died|all Dask workers are gone"):
            list(map_blocks(executor, slowly, range(50)))
    processes.close()


# -- what travels -------------------------------------------------------------------------------------------


class CountsTasks(SchedulerPlugin):
    """Counts the tasks of each graph that a scheduler gets."""

    name = "counts tasks"

    def __init__(self) -> None:
        self.counts: list[int] = []

    def update_graph(self, scheduler: Any, *, keys: Any, **_: Any) -> None:
        self.counts.append(len(keys))


def graphs(dask_scheduler: Any) -> list[int]:
    counts: list[int] = dask_scheduler.plugins["counts tasks"].counts
    return counts


def test_a_pass_has_at_most_three_tasks_a_block_and_small_graphs(scheduler: str, counting_proxy: Any) -> None:
    blocks = [i / 7 for i in range(64)]
    expected = fold_blocks(SerialExecutor(), scaled, blocks, {"basis": BASIS})
    proxy = counting_proxy(scheduler)
    with (
        Client(proxy.address, set_as_default=False) as client,
        DaskExecutor(client=client, shared_files=False) as executor,
    ):
        basis = executor.broadcast(BASIS)
        fold_blocks(executor, scaled, blocks[:2], {"basis": basis})  # sends the constant
        client.register_plugin(CountsTasks())
        sent, received = proxy.sent, proxy.received
        assert fold_blocks(executor, scaled, blocks, {"basis": basis}).tobytes() == expected.tobytes()
        sent, received = proxy.sent - sent, proxy.received - received
        counts = client.run_on_scheduler(graphs)
        assert list(map_blocks(executor, slowly, range(10))) == list(range(10))
        both = client.run_on_scheduler(graphs)
        client.unregister_scheduler_plugin("counts tasks")
    assert sum(counts) <= 3 * len(blocks)
    assert sum(both) - sum(counts) == 10
    assert sent < 1 << 20  # all graphs of the pass
    assert received < 2 * BASIS.nbytes  # the sum, and not what it is of


@pytest.mark.parametrize("saved", [True, False])
def test_graphs_of_recommendations_say_where_users_begin_and_end(
    scheduler: str, counting_proxy: Any, tmp_path: Path, saved: bool
) -> None:
    model = rs.factorize(matrix_of(50_000, 30), rank=2, executor="serial")
    if saved:
        model.save(tmp_path / "model")
        model = rs.load_model(tmp_path / "model")
    proxy = counting_proxy(scheduler)
    with DaskExecutor(proxy.address, shared_files=True) as executor:
        sent = proxy.sent
        found = model.recommend(k=2, executor=executor, progress=False)
        model.recommend_to(tmp_path / "recs", k=2, executor=executor, progress=False)
        sent = proxy.sent - sent
    assert found.equals(model.recommend(k=2, executor="serial"))
    assert sent < 50_000  # all graphs of both: codes alone would be 200,000 each


def test_stored_blocks_are_read_by_workers_and_never_pass_the_driver(
    scheduler: str, counting_proxy: Any, tmp_path: Path
) -> None:
    matrix_of(20_000, 400, 0.1).save(tmp_path / "store")
    stored = rs.UserItemMatrix.open(tmp_path / "store")
    size = sum(each.stat().st_size for each in (tmp_path / "store").rglob("*") if each.is_file())
    proxy = counting_proxy(scheduler)
    passes = Counter[str]()
    with DaskExecutor(proxy.address, shared_files=False) as executor:
        found = fingerprint(stored, executor, lambda event: passes.update([type(event).__name__]))
    assert found == fingerprint(stored)
    assert passes["RunStarted"] > 5
    assert proxy.sent + proxy.received < size / 3


def test_blocks_in_memory_are_sent_once_for_all_passes(scheduler: str, counting_proxy: Any) -> None:
    matrix = matrix_of(20_000, 400, 0.1)
    proxy = counting_proxy(scheduler)
    with DaskExecutor(proxy.address, shared_files=False) as executor:
        assert fingerprint(matrix, executor) == fingerprint(matrix)
    assert proxy.sent < 1.5 * 8 * matrix.nnz


# -- versions -----------------------------------------------------------------------------------------------


def environment_with(folder: Path, package: str, version: str) -> dict[str, str]:
    """Return an environment in which a package says that it has a version."""
    told = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def joined_by(own: Any, tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    """What lets a worker with another version of a package join."""
    joined: list[subprocess.Popen[bytes]] = []

    def join(package: str, version: str) -> None:
        joined.append(own.add_worker("--no-nanny", environment=environment_with(tmp_path, package, version)))
        own.client(2).close()

    yield join
    for each in joined:
        each.terminate()
        each.wait(20)


@pytest.mark.filterwarnings("ignore:Mismatched versions")  # Dask's own, of numpy
@pytest.mark.parametrize(("package", "version"), [("recscale-dask", "0.0.1"), ("numpy", "1.26.4")])
def test_worker_that_cannot_run_our_tasks_is_refused_by_name(
    own: Any, joined_by: Callable[[str, str], None], package: str, version: str
) -> None:
    joined_by(package, version)
    expected = rf"worker at tcp://\S+ has {version[:1]}.* {package}.*Install"
    with pytest.raises(ExecutorUnavailable, match=expected), DaskExecutor(own.address):
        pass


def test_worker_that_may_compute_other_bits_is_told_before_work(
    own: Any, joined_by: Callable[[str, str], None]
) -> None:
    joined_by("scipy", "1.0.0")
    executor = DaskExecutor(own.address)
    with pytest.warns(VersionsDifferWarning, match=r"scipy 1\.0\.0 at tcp://.* last bits"), executor:
        pass


@pytest.mark.slow
def test_worker_that_joins_with_another_version_is_refused_in_mid_run(
    own: Any, joined_by: Callable[[str, str], None]
) -> None:
    with own.client(1) as client, DaskExecutor(client=client) as executor:
        results = map_blocks(executor, slowly, range(200))
        assert next(results) == 0
        joined_by("recscale-dask", "0.0.1")
        with pytest.raises(ExecutorUnavailable, match=r"0\.0\.1 recscale-dask"):
            list(results)
