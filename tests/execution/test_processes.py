from collections.abc import Callable

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.testing import ExecutorContract


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: ProcessesExecutor(n_workers=2)
