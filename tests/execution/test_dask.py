import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from distributed import Client, Future, LocalCluster

from recscale_dask.errors import ExecutorUnavailable, OptionError, TaskNotPortable
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.dask import DaskBroadcast, DaskExecutor
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.execution.signs import Signs
from recscale_dask.testing import ExecutorContract, tasks

# Workers cannot import this module: its functions travel as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

BASIS = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def scaled(x: float, basis: np.ndarray) -> np.ndarray:
    return (basis * np.float32(x)).astype(np.float32)


def slowly_scaled(x: float, basis: np.ndarray) -> np.ndarray:
    time.sleep(0.02)
    return scaled(x, basis)


def sum_of(payload: object) -> float:
    return float(np.sum(payload))


def tries_to_write(x: float, basis: np.ndarray) -> bool:
    return bool(basis.flags.writeable)


def rows_of_mapped_file(x: float, basis: np.ndarray) -> bool:
    while isinstance(getattr(basis, "base", None), np.ndarray):
        basis = basis.base
    return isinstance(basis.base, memoryview)


def filled(x: float, size: int) -> np.ndarray:
    return np.full(size, x, np.float32)


def pid_and_pause(x: float) -> int:
    time.sleep(0.05)
    return os.getpid()


@pytest.fixture(scope="module")
def caller_client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


class TestOwnCluster(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: DaskExecutor(n_workers=2)


class TestSchedulerOverTcp(ExecutorContract):
    """A scheduler at an address, with constants sent and not mapped."""

    @pytest.fixture
    def make_executor(self, scheduler: str) -> Callable[[], Executor]:
        return lambda: DaskExecutor(scheduler, shared_files=False)


# -- what does not load where it was sent --------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("shared_files", [True, False])
@pytest.mark.parametrize("kind", [tasks.Unloadable, tasks.LargeUnloadable])
def test_sum_of_what_does_not_load_on_the_next_worker_is_an_error(
    scheduler: str, kind: type[tasks.Unportable], shared_files: bool
) -> None:
    with DaskExecutor(scheduler, shared_files=shared_files) as executor:
        with pytest.raises(TaskNotPortable, match="ImportError: planted: this cannot be loaded"):
            fold_blocks(executor, tasks.UnportableResultOn(2, kind), range(13), combine=tasks.paired)
        assert fold_blocks(executor, tasks.echo, range(13)) == 78


@pytest.mark.timeout(60)
@pytest.mark.parametrize("run", [map_blocks, fold_blocks])
def test_constant_that_does_not_load_on_a_worker_is_an_error(scheduler: str, run: Any) -> None:
    with DaskExecutor(scheduler, shared_files=False) as executor:
        with pytest.raises(TaskNotPortable, match="ImportError: planted: this cannot be loaded"):
            list(run(executor, tasks.scaled, range(4), {"factor": tasks.Unloadable()}))
        assert fold_blocks(executor, tasks.echo, range(13)) == 78


# -- three ways to a cluster, two ways for constants ---------------------------------------------------------


@pytest.mark.parametrize("shared_files", [True, False])
@pytest.mark.parametrize("way", ["address", "client of processes", "client of threads"])
def test_sum_has_the_bits_of_serial(scheduler: str, caller_client: Client, way: str, shared_files: bool) -> None:
    expected = fold_blocks(SerialExecutor(), scaled, [i / 7 for i in range(41)], {"basis": BASIS})
    with Client(scheduler, set_as_default=False) as client:
        options = {
            "address": {"address": scheduler},
            "client of processes": {"client": client},
            "client of threads": {"client": caller_client},
        }[way]
        with DaskExecutor(**options, shared_files=shared_files) as executor:
            got = fold_blocks(executor, scaled, [i / 7 for i in range(41)], {"basis": BASIS})
            writes = list(map_blocks(executor, tries_to_write, range(3), {"basis": BASIS}))
    assert got.tobytes() == expected.tobytes()
    assert writes == [False] * 3


def test_shared_files_are_found_and_mapped(scheduler: str) -> None:
    with DaskExecutor(scheduler) as executor:
        assert executor.capabilities.shared_files
        assert list(map_blocks(executor, rows_of_mapped_file, range(3), {"basis": BASIS})) == [True] * 3


def test_workers_that_do_not_see_our_files_get_constants_sent(
    scheduler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A worker on another machine finds no sign, or that of somebody else.
    somebodys = tmp_path / "sign"
    somebodys.write_text("somebody else's")
    monkeypatch.setattr(
        "recscale_dask.execution.dask_cluster.signs_in", lambda folder: nullcontext(Signs((somebodys,), "ours"))
    )
    with DaskExecutor(scheduler) as executor:
        assert not executor.capabilities.shared_files
        assert list(map_blocks(executor, rows_of_mapped_file, range(3), {"basis": BASIS})) == [False] * 3


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_results_in_shared_files_are_not_asked_of_workers(
    scheduler: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(Future, "result", never)
    with DaskExecutor(scheduler, shared_files=True) as executor:
        for number, result in enumerate(map_blocks(executor, filled, range(20), {"size": size})):
            np.testing.assert_array_equal(result, np.full(size, number, np.float32))


def test_small_results_that_are_kept_hold_on_to_no_files(scheduler: str) -> None:
    with DaskExecutor(scheduler, shared_files=True) as executor:
        before = len(os.listdir("/proc/self/fd"))
        results = list(map_blocks(executor, filled, range(100), {"size": 10}))
        assert len(os.listdir("/proc/self/fd")) < before + 30
    assert [float(result[0]) for result in results] == list(range(100))


@pytest.mark.parametrize("run", [map_blocks, fold_blocks])
def test_results_for_which_there_is_no_room_in_files_are_asked_of_workers(
    scheduler: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = Exchange.blank

    def of_another_version(exchange: Exchange) -> FileRecipe | None:
        found = blank(exchange)
        return found and replace(found, version=found.version + 7)

    expected = list(run(SerialExecutor(), filled, range(20), {"size": 1000}))
    for way in (of_another_version, lambda exchange: None):
        monkeypatch.setattr(Exchange, "blank", way)
        with DaskExecutor(scheduler, shared_files=True) as executor:
            for one, other in zip(run(executor, filled, range(20), {"size": 1000}), expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_both_workers_over_tcp_take_part(scheduler: str) -> None:
    with DaskExecutor(scheduler) as executor:
        assert executor.parallelism == 2
        assert len(set(map_blocks(executor, pid_and_pause, range(12)))) == 2


def test_clients_of_the_caller_stay_open(caller_client: Client) -> None:
    with DaskExecutor(client=caller_client, shared_files=False) as executor:
        kept = executor.broadcast(BASIS)
        list(map_blocks(executor, scaled, range(3), {"basis": kept}))
    assert caller_client.status == "running"
    deadline = time.monotonic() + 5
    while caller_client.who_has() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not caller_client.who_has()


def test_blocks_sent_beforehand_arrive_in_tuples(caller_client: Client) -> None:
    with DaskExecutor(client=caller_client, shared_files=False) as executor:
        blocks = [executor.broadcast(np.full(3, i, dtype=np.float32)) for i in range(40)]
        assert all(isinstance(block, DaskBroadcast) for block in blocks)
        assert fold_blocks(executor, sum_of, blocks) == 3 * sum(range(40))
        assert list(map_blocks(executor, sum_of, blocks[:5])) == [0, 3, 6, 9, 12]


def test_big_payload_warns_of_no_large_graph(caller_client: Client) -> None:
    big = np.ones(2_000_000)  # 16 MB; Dask warns above 10, and warnings are errors here
    with DaskExecutor(client=caller_client) as executor:
        assert list(map_blocks(executor, sum_of, [big, big])) == [2e6, 2e6]


@pytest.mark.parametrize("shared_files", [True, False])
def test_killed_workers_leave_the_same_bytes(shared_files: bool) -> None:
    expected = [scaled(i, BASIS).tobytes() for i in range(60)]
    with DaskExecutor(n_workers=2, shared_files=shared_files) as executor:
        kept = executor.broadcast(BASIS)
        found: list[bytes] = []
        for block in map_blocks(executor, slowly_scaled, range(60), {"basis": kept}):
            if len(found) in (5, 6):  # one after the other, so that what only one of them held is lost
                os.kill(next(map_blocks(executor, pid_and_pause, [0])), 9)
            found.append(block.tobytes())
        assert found == expected
        serial = fold_blocks(SerialExecutor(), scaled, [i / 7 for i in range(40)], {"basis": BASIS})
        again = fold_blocks(executor, scaled, [i / 7 for i in range(40)], {"basis": kept})
        assert again.tobytes() == serial.tobytes()


def test_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from recscale_dask.execution.dask import DaskExecutor\n"
        "from recscale_dask.execution.run import map_blocks\n"
        "environment, main = dict(os.environ), sys.modules['__main__']\n"
        "with DaskExecutor(n_workers=2) as executor:\n"
        "    print(list(map_blocks(executor, lambda x: x + 1, range(3))))\n"
        "assert sys.modules['__main__'] is main\n"
        "changed = {name for name, value in os.environ.items() if environment.get(name) != value}\n"
        "assert changed <= {'__DASK_PARENT_PID'}, changed\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[1, 2, 3]\n", "", 0)


# -- what cannot be opened -----------------------------------------------------------------------------------


def seconds_to_fail(executor: DaskExecutor, message: str) -> float:
    start = time.monotonic()
    with pytest.raises(ExecutorUnavailable, match=message), executor:
        pass
    return time.monotonic() - start


def test_nobody_at_the_address_fails_fast() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert seconds_to_fail(DaskExecutor(f"tcp://127.0.0.1:{port}"), "nobody answers .*dask scheduler") < 5


def test_address_without_port_says_so() -> None:
    assert seconds_to_fail(DaskExecutor("scheduler"), "missing port") < 5


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2"])
def test_other_servers_are_no_schedulers(greeting: bytes) -> None:
    # Dask's own Client waits for ever for a server that says nothing.
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def greet() -> None:
            accepted.append(server.accept()[0])
            accepted[0].sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        executor = DaskExecutor(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout=1)
        assert seconds_to_fail(executor, "no Dask scheduler") < 5
        thread.join()
        accepted[0].close()


def test_cluster_without_workers_says_so() -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert seconds_to_fail(DaskExecutor(client=client, timeout=0.5), "no worker after 0.5 s") < 5


def test_closed_client_is_refused() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        client = Client(cluster, set_as_default=False)
        client.close()
        assert seconds_to_fail(DaskExecutor(client=client), "closed") < 1


def test_client_that_is_closed_under_an_open_executor_is_a_lost_connection(scheduler: str) -> None:
    with Client(scheduler, set_as_default=False) as client, DaskExecutor(client=client) as executor:
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]
        client.close()
        with pytest.raises(ExecutorUnavailable, match="scheduler is lost"):
            list(map_blocks(executor, tasks.echo, range(3)))


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(OptionError, match="not both"):
        DaskExecutor("tcp://127.0.0.1:8786", client=object())
    with pytest.raises(OptionError, match="n_workers and threads_per_worker are for a cluster of our own"):
        DaskExecutor("tcp://127.0.0.1:8786", n_workers=2)
    with pytest.raises(OptionError, match="at least 1"):
        DaskExecutor(n_workers=0)
