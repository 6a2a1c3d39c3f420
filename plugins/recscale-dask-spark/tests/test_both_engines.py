"""A process with a Spark session and a Dask Client: the session is chosen, as plugins come before what is built in."""

import os

import pytest
from distributed import Client

from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask_spark import health

MISSING = health.check()


@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
def test_the_session_is_chosen_before_the_client() -> None:
    from recscale_dask_spark.executor import SparkExecutor

    manager = PluginManager()
    request = ExecutorRequest(purpose="fit", n_users=10**5, n_items=10**4, n_stored=10**8, rank=64)
    with Client(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"):
        assert manager.choose_executor(request).name == "dask"
        with SparkExecutor(master="local[1]"):  # has a context, which is what the plugin looks for
            assert manager.choose_executor(request).name == "spark"
        assert manager.choose_executor(request).name == "dask"
