"""The conformance kit on the executor that the command line names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.testing import ExecutorContract


class TestExecutor(ExecutorContract):
    """All tests of the kit."""

    @pytest.fixture
    def make_executor(self, pytestconfig: pytest.Config) -> Callable[[], Executor]:
        """Return a function that opens what the options say."""
        name = pytestconfig.getoption("--recscale-executor")
        if name is None:
            pytest.skip("name an executor: --recscale-executor=NAME")
        # By name: the kit lies below the api in the order of imports.
        key_values = importlib.import_module("recscale_dask.cli.options").key_values
        open_executor = importlib.import_module("recscale_dask").open_executor
        options: dict[str, Any] = key_values(pytestconfig.getoption("--recscale-option"), "--recscale-option")
        return lambda: open_executor(name, **options)

    @pytest.fixture
    def marks(self, tmp_path: Path, pytestconfig: pytest.Config) -> Path:
        """Return an empty folder that workers see."""
        given = pytestconfig.getoption("--recscale-marks")
        folder = Path(given, tmp_path.name) if given else tmp_path / "marks"
        folder.mkdir(parents=True)
        return folder
