"""The kit from the command line: wrong options are told before any test, and a badge says what was not run."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from recscale_dask.execution.serial import SerialExecutor

PLUGIN = """
from recscale_dask.hooks.specs import ExecutorSpec, hookimpl

@hookimpl
def recscale_register_executors():
    target = "recscale_dask.execution.serial:SerialExecutor"
    return [ExecutorSpec(name="theirs", target=target, summary="serial by another name")]
"""


def kit(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "recscale_dask.testing.kit"]
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recscale-executor=tpol"], "no executor is called 'tpol'; there are: "),
        (["--recscale-executor=threads", "--recscale-option=n_wokers=2"], "its options are: n_workers"),
        (["--recscale-executor=serial", "--recscale-badge=no/such/badge.json"], "there is no folder "),
    ],
)
def test_wrong_usage_is_one_error_before_any_test(tmp_path: Path, options: list[str], message: str) -> None:
    run = kit(tmp_path, *options)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in run.stderr
    assert run.stderr.count("ERROR") == 1
    assert not run.stdout.strip()


def test_badge_of_a_part_of_the_kit_does_not_say_that_it_conforms(tmp_path: Path) -> None:
    run = kit(
        tmp_path, "--recscale-executor=serial", "--recscale-badge=badge.json", "-k", "is_at_least_one or name_is_that"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    badge = json.loads((tmp_path / "badge.json").read_text())
    assert (badge["executor"], badge["package"], badge["passed"]) == ("serial", "recscale-dask", 2)
    assert badge["contract"] == SerialExecutor.contract
    assert not badge["conforms"]
    assert badge["gaps"]["test_no_blocks_is_no_work"] == {"kind": "not run", "reason": "it was not chosen"}
    assert "test_constant_arrives_unchanged[float64]" in badge["gaps"]


def test_badge_has_the_versions_of_the_engine(tmp_path: Path) -> None:
    """An installed package of a third party, with an engine that is there, one that is not, and one of an extra."""
    home = tmp_path / "site"
    information = home / "their_package-3.2.1.dist-info"
    information.mkdir(parents=True)
    (home / "their_plugin.py").write_text(PLUGIN)
    (information / "entry_points.txt").write_text("[recscale_dask]\ntheirs = their_plugin\n")
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: their-package\nVersion: 3.2.1\nRequires-Dist: joblib>=1.0\n"
        'Requires-Dist: no-such-engine\nRequires-Dist: scipy; extra == "more"\n'
    )
    path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ["--recscale-executor=theirs", "--recscale-badge=badge.json", "-k", "is_at_least_one"]
    run = kit(tmp_path, *options, environment={**os.environ, "PYTHONPATH": path})
    assert run.returncode == 0, run.stdout + run.stderr
    versions = json.loads((tmp_path / "badge.json").read_text())["versions"]
    assert versions.keys() == {"python", "recscale-dask", "numpy", "their-package", "joblib"}
    assert (versions["their-package"], versions["joblib"]) == ("3.2.1", importlib.metadata.version("joblib"))
    assert versions["numpy"] == np.__version__


def test_badge_of_one_named_test_lists_all_others(tmp_path: Path) -> None:
    import recscale_dask.testing.kit as home

    test = f"{home.__path__[0]}/test_executor.py::TestExecutor::test_no_blocks_is_no_work"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    command += ["--recscale-executor=serial", "--recscale-badge=badge.json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    badge = json.loads((tmp_path / "badge.json").read_text())
    assert (badge["passed"], badge["conforms"]) == (1, False)
    assert badge["gaps"]["test_each_block_is_answered_once"]["kind"] == "not run"
