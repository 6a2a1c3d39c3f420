"""A standalone cluster, of a master and two workers that are processes of their own."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, VersionsDifferWarning
from recscale_dask.execution.events import BlockDone, Event, RunStarted
from recscale_dask_spark import health
from recscale_dask_spark.context import end_gateway
from recscale_dask_spark.standalone import LOOPBACK, StandaloneCluster

MISSING = health.check()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING),
]
EXAMPLE = Path(__file__).parents[3] / "examples" / "spark.py"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    with StandaloneCluster(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    return rs.UserItemMatrix.from_scipy(sp.random_array((20_000, 3000), density=0.01, rng=0, dtype="float32"))


@pytest.fixture(scope="module")
def expected(matrix: rs.UserItemMatrix) -> rs.FactorModel:
    return rs.factorize(matrix, rank=16, executor="serial", progress=False)


class Once:
    """An observer that does something at the first event of a kind."""

    def __init__(self, action: Callable[[], None], **what: object) -> None:
        self._action, self._what, self.done = action, what, False

    def __call__(self, event: Event) -> None:
        found = {"kind": type(event), "label": getattr(event, "label", "")}
        if not self.done and self._what.items() <= found.items():
            self.done = True
            self._action()


def test_fit_and_recommend_with_a_worker_killed_in_each_have_the_bytes_of_serial(
    cluster: StandaloneCluster, matrix: rs.UserItemMatrix, expected: rs.FactorModel
) -> None:
    config = {**LOOPBACK, "spark.executor.memory": "512m"}
    with rs.open_executor("spark", master=cluster.master, config=config) as executor:
        assert executor.capabilities.folds
        in_fit = Once(cluster.kill_worker, kind=RunStarted, label="svd pass 3")
        model = rs.factorize(matrix, rank=16, executor=executor, progress=in_fit)
        assert in_fit.done
        assert model.factors_sha256() == expected.factors_sha256()
        names, largest = stages()
        cluster.add_worker()
        cluster.wait_for("aliveworkers", 2)
        in_recommend = Once(cluster.kill_worker, kind=BlockDone, label="recommend")
        recommendations = model.recommend(k=5, executor=executor, progress=in_recommend)
        assert in_recommend.done
    assert recommendations.equals(expected.recommend(k=5, executor="serial"))
    cluster.add_worker()
    cluster.wait_for("aliveworkers", 2)
    assert any("recscale_dask: svd pass 2: gram_product, " in name and " blocks from 0" in name for name in names), (
        names
    )
    assert largest < 1.1 * max(expected.user_factors.nbytes, expected.item_factors.nbytes) + 100_000


@contextmanager
def callers_session(cluster: StandaloneCluster, **settings: str) -> Iterator[Any]:
    """Yield a session of the caller's on the cluster."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(cluster.master).config(map={**LOOPBACK, **settings})
    session = builder.config("spark.executor.memory", "512m").config("spark.log.level", "ERROR").getOrCreate()
    try:
        yield session
    finally:
        session.stop()
        end_gateway()


def test_session_that_is_busy_is_told_and_its_jobs_go_on(
    cluster: StandaloneCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recscale_dask_spark.executor._FIRST_JOB", 1.0)
    with callers_session(cluster) as session, ThreadPoolExecutor(1) as pool:
        context = session.sparkContext
        cluster.wait_for("coresused", 2)
        naps = context.parallelize(range(2), 2).map(lambda number: time.sleep(6) or number)
        callers = pool.submit(naps.collect)
        while not context.statusTracker().getActiveJobsIds():
            time.sleep(0.05)
        executor = rs.open_executor("spark", session=session)
        with pytest.raises(ExecutorUnavailable, match=r"took a first job within 1 s.*are these free"), executor:
            pass
        assert callers.result() == [0, 1]


def test_workers_of_another_python_are_told_with_what_to_do(cluster: StandaloneCluster) -> None:
    with callers_session(cluster) as session:
        session.sparkContext.pythonVer = "3.9"  # what the driver says that it is
        executor = rs.open_executor("spark", session=session)
        with (
            pytest.raises(ExecutorUnavailable, match=r"PYTHON_VERSION_MISMATCH.*Install Python 3.*PYSPARK_PYTHON"),
            executor,
        ):
            pass


@pytest.mark.parametrize(("package", "version"), [("recscale-dask", "0.0.1"), ("scipy", "1.0.0")])
def test_workers_of_other_versions_are_told_before_work(
    cluster: StandaloneCluster, tmp_path: Path, package: str, version: str
) -> None:
    told = tmp_path / f"{package.replace('-', '_')}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    config = {**LOOPBACK, "spark.executor.memory": "512m", "spark.executorEnv.PYTHONPATH": path}
    executor = rs.open_executor("spark", master=cluster.master, config=config)
    if package == "scipy":
        with pytest.warns(VersionsDifferWarning, match=r"scipy 1\.0\.0 at \S+ and .* last bits"), executor:
            pass
    else:
        expected = r"Spark worker at \S+ has 0\.0\.1 recscale-dask.*Install recscale-dask"
        with pytest.raises(ExecutorUnavailable, match=expected), executor:
            pass


def stages() -> tuple[set[str], int]:
    """Return what Spark's pages call the stages, and the most bytes that one sent to the driver."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    assert context is not None
    url = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
    with urllib.request.urlopen(url, timeout=10) as page:
        told = json.load(page)
    return {each.get("description", "") for each in told}, max(each["resultSize"] for each in told)


def test_example_runs_by_spark_submit(cluster: StandaloneCluster) -> None:
    submit = Path(__import__("pyspark").__file__).parent / "bin" / "spark-submit"
    settings = [part for key, value in LOOPBACK.items() for part in ("--conf", f"{key}={value}")]
    command = [submit, "--master", cluster.master, "--executor-memory", "512m", *settings, EXAMPLE]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"on Spark at {cluster.master}: the same bytes as here" in done.stdout
