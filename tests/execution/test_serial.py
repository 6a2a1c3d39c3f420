from collections.abc import Callable

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import ExecutorContract


class TestSerial(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return SerialExecutor
