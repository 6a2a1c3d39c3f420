import pytest
from recscale_dask.testing import ExecutorContract

from recscale_loky.executor import LokyExecutor


class TestLoky(ExecutorContract):
    @pytest.fixture
    def make_executor(self):
        return lambda: LokyExecutor(n_workers=2)
