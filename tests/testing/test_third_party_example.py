"""The examples of third-party packages: their plugins register, and their own short tests pass the kits."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recscale_dask.execution.run import map_blocks
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ENTRY_POINT_GROUP
from recscale_dask.testing import tasks

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "third_party_executor"


def test_its_executor_is_found_through_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"][ENTRY_POINT_GROUP]
    manager = PluginManager(
        [importlib.metadata.EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in declared.items()]
    )
    assert manager.broken == []
    with manager.resolve("executors", "loky")(n_workers=1) as executor:
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


def test_its_plugin_imports_no_engine() -> None:
    code = "import sys, recscale_loky.plugin; sys.exit('joblib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=with_example())


def test_a_solver_of_an_example_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "third_party_solver" / "src"))
    manager = PluginManager([importlib.metadata.EntryPoint("anchors", "recscale_anchors.plugin", ENTRY_POINT_GROUP)])
    assert manager.broken == []
    assert manager.resolve("solvers", "anchors")().shrinkage == 10


@pytest.mark.parametrize("example", ["third_party_executor", "third_party_solver"])
def test_its_own_test_passes(example: str, tmp_path: Path) -> None:
    folder = EXAMPLES / example
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(folder)]
    command += ["-o", "faulthandler_timeout=60"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    told = tmp_path / "told.txt"
    # To a file: loky's own processes, which may live a little longer, would hold a pipe open.
    with told.open("w") as file:
        run = subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=file, check=False)
    assert run.returncode == 0, told.read_text()
    assert "skipped" not in told.read_text()


def with_example() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(EXAMPLE / "src")}
