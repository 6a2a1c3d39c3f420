import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest

from recscale_dask.errors import BlockFailed, ExecutorUnavailable, OptionError, TaskNotPortable, WorkerLost
from recscale_dask.execution.contract import Executor, Job
from recscale_dask.execution.portable import add
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.testing import ExecutorContract
from recscale_dask_spark import health
from recscale_dask_spark.plugin import recscale_choose_executor

# Workers cannot import this module: its functions travel as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

MISSING = health.check()
needs_spark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
BASIS = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def make_spark(**options: object) -> Executor:
    # Imported late: without pyspark these tests skip, and those of `health` still run.
    from recscale_dask_spark.executor import SparkExecutor

    if "session" not in options:
        options = {"master": "local[2]", **options}
    return SparkExecutor(**options)  # type: ignore[arg-type]


def scaled(x: float, basis: np.ndarray) -> np.ndarray:
    return (basis * np.float32(x)).astype(np.float32)


def tries_to_write(x: float, basis: np.ndarray) -> bool:
    return bool(basis.flags.writeable)


def pid(x: object) -> int:
    return os.getpid()


def sum_of(payload: object) -> float:
    return float(np.sum(payload))


def fails_at_three(x: int) -> int:
    if x == 3:
        raise ValueError("three is out")
    return x


def dies_at_first(x: int, flag: str, basis: np.ndarray) -> np.ndarray:
    if x == 5 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return scaled(x, basis)


def dies(x: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def naps(x: int) -> int:
    time.sleep(0.5)
    return x


@needs_spark
class TestSparkContract(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return make_spark


@needs_spark
@pytest.mark.slow
class TestSparkWithoutSharedFilesContract(ExecutorContract):
    """As on clusters: broadcast variables, sums on the workers, and a session that is there already."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _session(cls) -> Iterator[None]:
        with make_spark():
            yield

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: make_spark(shared_files=False)

    def test_it_is_as_on_clusters(self, executor: Executor) -> None:
        assert executor.capabilities.folds
        assert not executor.capabilities.shared_files


@pytest.fixture(scope="class", params=[None, False], ids=["mapped files", "broadcast variables"])
def spark(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with make_spark(shared_files=request.param) as executor:
        yield executor


@needs_spark
class TestSparkKnownAnswers:
    def test_blocks_come_back_in_order_from_python_workers_of_this_python(self, spark: Executor) -> None:
        assert list(map_blocks(spark, fails_at_three, [0, 1, 2, 4, 5, 6, 7])) == [0, 1, 2, 4, 5, 6, 7]
        assert os.getpid() not in set(map_blocks(spark, pid, range(4)))

    def test_python_workers_are_kept(self, spark: Executor) -> None:
        # One that left its input unread would be given up after each job, a second of imports each.
        assert len(set(map_blocks(spark, pid, range(20)))) <= 4

    def test_sum_has_the_bits_of_serial(self, spark: Executor) -> None:
        blocks = [i / 7 for i in range(41)]
        expected = fold_blocks(SerialExecutor(), scaled, blocks, {"basis": BASIS})
        assert fold_blocks(spark, scaled, blocks, {"basis": BASIS}).tobytes() == expected.tobytes()

    def test_sum_of_many_jobs_is_added_in_the_tree_of_block_numbers(self, spark: Executor) -> None:
        if not spark.capabilities.folds:
            pytest.skip("mapped files are added up on the driver")
        for n_jobs in (1, 4, 5, 17):
            blocks = [i / 7 for i in range(n_jobs)]
            expected = fold_blocks(SerialExecutor(), scaled, blocks, {"basis": BASIS})
            basis = spark.broadcast(BASIS)
            outcome = spark.fold(scaled, add, [Job(i, block) for i, block in enumerate(blocks)], {"basis": basis})
            assert outcome.error is None
            assert outcome.value.tobytes() == expected.tobytes()
            basis.release()

    def test_error_in_a_sum_says_what_happened(self, spark: Executor) -> None:
        with pytest.raises(BlockFailed, match="ValueError: three is out"):
            fold_blocks(spark, fails_at_three, range(6), retries=0)

    def test_constants_are_read_only(self, spark: Executor) -> None:
        assert list(map_blocks(spark, tries_to_write, range(3), {"basis": BASIS})) == [False] * 3

    def test_placed_blocks_arrive_in_tuples(self, spark: Executor) -> None:
        blocks = [spark.broadcast(np.full(3, i, dtype=np.float32)) for i in range(20)]
        assert fold_blocks(spark, sum_of, blocks) == 3 * sum(range(20))
        for block in blocks:
            block.release()

    def test_big_payload_arrives(self, spark: Executor) -> None:
        assert list(map_blocks(spark, sum_of, [np.ones(500_000)] * 2)) == [5e5, 5e5]

    def test_error_names_its_block(self, spark: Executor) -> None:
        with pytest.raises(BlockFailed, match=r"block 3 failed .* ValueError: three is out") as caught:
            list(map_blocks(spark, fails_at_three, range(6)))
        assert "fails_at_three" in caught.value.remote_traceback

    def test_killed_python_worker_leaves_the_same_bytes(self, spark: Executor, tmp_path: Path) -> None:
        constants = {"basis": BASIS, "flag": str(tmp_path / "flag")}
        found = [block.tobytes() for block in map_blocks(spark, dies_at_first, range(12), constants)]
        assert (tmp_path / "flag").exists()
        assert found == [scaled(x, BASIS).tobytes() for x in range(12)]

    def test_task_that_always_kills_ends_in_worker_lost_and_spark_still_serves(self, spark: Executor) -> None:
        with pytest.raises(WorkerLost, match="memory limits"):
            list(map_blocks(spark, dies, range(2)))
        assert list(map_blocks(spark, sum_of, range(3))) == [0, 1, 2]

    def test_what_cannot_be_pickled_says_so(self, spark: Executor) -> None:
        lock = threading.Lock()
        with pytest.raises(TaskNotPortable, match="cannot pickle"):
            list(map_blocks(spark, lambda x: lock, range(2)))

    def test_closing_early_stops_the_rest(self, spark: Executor) -> None:
        results = map_blocks(spark, naps, range(100))
        assert next(results) == 0
        results.close()
        start = time.monotonic()
        assert list(map_blocks(spark, sum_of, range(3))) == [0, 1, 2]
        assert time.monotonic() - start < 20

    def test_jobs_are_named_after_their_task(self, spark: Executor) -> None:
        from pyspark import SparkContext

        list(map_blocks(spark, naps, range(1)))
        store = SparkContext._active_spark_context._jsc.sc().statusStore()
        assert "recscale_dask: map: naps, 1 block from 0" in store.jobsList(None).head().description().get()


def request(n_stored: int) -> ExecutorRequest:
    return ExecutorRequest(purpose="fit", n_users=10**5, n_items=10**4, n_stored=n_stored, rank=64)


@needs_spark
class TestSparkSessions:
    """Each opens Spark anew."""

    def test_session_of_the_caller_survives(self) -> None:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        with make_spark():  # gives the process a quiet context, which a session then builds on
            context = SparkContext._active_spark_context
            session = SparkSession(context)
            for options in ({"session": session}, {}):  # given, or found
                with make_spark(**options) as executor:
                    assert executor.parallelism == 2
                    assert list(map_blocks(executor, sum_of, range(3))) == [0, 1, 2]
                assert session.range(3).count() == 3
            choice = recscale_choose_executor(request(n_stored=10**8))
            assert choice is not None
            assert choice.name == "spark"
            assert context.master in choice.reason
            assert recscale_choose_executor(request(n_stored=10)) is None
            for other in ({"master": "local[1]"}, {"app_name": "nightly"}, {"config": {"spark.executor.memory": "4g"}}):
                with (
                    pytest.raises(OptionError, match=r"has a Spark session with spark.* Stop that"),
                    make_spark(**other),
                ):
                    pass
            with make_spark(master=None, app_name=context.appName, config={"spark.ui.enabled": "false"}) as executor:
                assert list(map_blocks(executor, sum_of, range(3))) == [0, 1, 2]  # as it is
            SparkSession._instantiatedSession = None
        assert recscale_choose_executor(request(n_stored=10**8)) is None

    def test_workers_have_the_environment_of_now_in_a_java_of_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from pyspark import SparkContext

        from recscale_dask_spark.context import end_gateway

        SparkContext(master="local[1]").stop()
        try:
            monkeypatch.setenv("GIVEN_LATE", "here")
            with make_spark(config={"spark.executorEnv.GIVEN": "too"}) as executor:
                names = ["GIVEN_LATE", "GIVEN", "PYTHONHASHSEED"]
                assert list(map_blocks(executor, os.getenv, names)) == ["here", "too", "0"]
        finally:
            end_gateway()

    def test_nothing_is_left_and_nothing_global_changed(self, tmp_path: Path) -> None:
        environment, path = dict(os.environ), list(sys.path)
        handler = signal.getsignal(signal.SIGINT)
        folders = {"/tmp", "/dev/shm", os.environ.get("TMPDIR", "/tmp")}

        def ours() -> set[Path]:
            return {each for folder in folders if Path(folder).is_dir() for each in Path(folder).glob("*spark*")}

        def java() -> set[int]:
            return {child.pid for child in psutil.Process().children(recursive=True) if "java" in child.name()}

        before, running = ours(), java()
        with make_spark(shared_files=False) as executor:
            list(map_blocks(executor, scaled, range(3), {"basis": BASIS}))
            assert signal.getsignal(signal.SIGINT) is handler
        assert java() == running
        assert {folder for folder in ours() - before if folder.owner() == Path.home().owner()} == set()
        assert (dict(os.environ), sys.path) == (environment, path)


@needs_spark
@pytest.mark.parametrize("option", [{"master": "local[2]"}, {"app_name": "nightly"}, {"config": {"spark.x": "1"}}])
def test_session_and_settings_for_another_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="leave them out with a session"):
        make_spark(session=object(), **option)


class TestSparkUnavailable:
    def test_missing_java_is_named_with_the_cure(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        assert "apt install openjdk-17" in health.check()
        with pytest.raises(ExecutorUnavailable, match=r"Java is missing.*JAVA_HOME"), make_spark():
            pass

    def test_java_home_without_java_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        assert str(tmp_path) in health.check()

    def test_old_java_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").touch(mode=0o755)
        (tmp_path / "release").write_text('JAVA_VERSION="1.8.0_402"\n')
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        assert "Java 8" in health.check()

    @needs_spark
    def test_nobody_at_the_master_fails_fast(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        start = time.monotonic()
        with (
            pytest.raises(ExecutorUnavailable, match="nobody answers"),
            make_spark(master=f"spark://127.0.0.1:{port}"),
        ):
            pass
        assert time.monotonic() - start < 10

    @needs_spark
    def test_what_is_no_master_is_refused(self) -> None:
        with pytest.raises(ExecutorUnavailable, match="'nonsense' is no Spark master"), make_spark(master="nonsense"):
            pass

    @needs_spark
    def test_dead_java_is_named_and_spark_opens_again(self) -> None:
        with make_spark() as executor:
            results = map_blocks(executor, naps, range(20))
            assert next(results) == 0
            [java] = [each for each in psutil.Process().children() if each.name() == "java"]
            java.kill()
            with pytest.raises(ExecutorUnavailable, match="Spark has stopped"):
                list(results)
        with make_spark() as executor:
            assert list(map_blocks(executor, sum_of, range(3))) == [0, 1, 2]


def test_plugin_is_found_by_name() -> None:
    offers = {offer.spec.name: offer for offer in PluginManager().offers("executors")}
    assert offers["spark"].package == "recscale-dask-spark"
    assert offers["spark"].unavailable() == MISSING
