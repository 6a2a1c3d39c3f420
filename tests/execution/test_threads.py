from collections.abc import Callable

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.testing import ExecutorContract


class TestThreads(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: ThreadsExecutor(n_workers=2)
