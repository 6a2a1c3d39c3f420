"""The kit on processes, and what is special to a pool of our own."""

import multiprocessing
import os
import resource
from collections.abc import Callable

import pytest

from recscale_dask.errors import ExecutorUnavailable, TaskNotPortable
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import ExecutorContract, tasks


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: ProcessesExecutor(n_workers=2)


@pytest.mark.timeout(60)
def test_the_only_worker_serves_after_a_result_that_does_not_load_here() -> None:
    with ProcessesExecutor(n_workers=1) as executor:
        for kind in (tasks.Unloadable, tasks.LargeUnloadable):
            with pytest.raises(TaskNotPortable, match=r"block 0 .*ImportError: planted: this cannot be loaded"):
                list(map_blocks(executor, tasks.UnportableResultOn(0, kind), range(3)))
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


def test_workers_that_started_end_when_a_later_one_cannot() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(os.listdir("/dev/fd"))
    executor = ProcessesExecutor(n_workers=1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 12, limit[1]))
    try:
        with pytest.raises(ExecutorUnavailable, match=r"worker process \d+ of 1000 .*Give a smaller n_workers"):
            executor.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert multiprocessing.active_children() == []
    assert len(os.listdir("/dev/fd")) <= n_open + 1  # that of the resource tracker, which lives on
