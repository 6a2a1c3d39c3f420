"""The conformance kit on the executor that the command line names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.testing import ExecutorContract
from recscale_dask.testing.pytest_plugin import make_executor


class TestExecutor(ExecutorContract):
    """All tests of the kit."""

    @pytest.fixture
    def make_executor(self, pytestconfig: pytest.Config) -> Callable[[], Executor]:
        """Return a function that opens what the options say."""
        if not pytestconfig.getoption("--recscale-executor"):
            pytest.skip("name an executor: --recscale-executor=NAME")
        return lambda: make_executor(pytestconfig)

    def test_name_is_that_of_the_registration(self, unopened: Executor, pytestconfig: pytest.Config) -> None:
        name = pytestconfig.getoption("--recscale-executor")
        assert unopened.name == name, (
            f"the executor is registered as {name!r}, and its class says name = {unopened.name!r}, which errors and "
            "events mention: give both the same name"
        )

    @pytest.fixture
    def marks(self, tmp_path: Path, pytestconfig: pytest.Config) -> Path:
        """Return an empty folder that workers see."""
        given = pytestconfig.getoption("--recscale-marks")
        folder = Path(given, tmp_path.name) if given else tmp_path / "marks"
        folder.mkdir(parents=True)
        return folder
