"""The kit is tested too: executors that are wrong on purpose fail the test that is for it, and no other."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.testing import ExecutorContract
from recscale_dask.testing.executor_contract import ExecutorContract as SameContract

BROKEN = Path(__file__).with_name("broken_executors.py")
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def load_broken_executors() -> Any:
    spec = importlib.util.spec_from_file_location("broken_executors", BROKEN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


broken_executors = load_broken_executors()


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the kit on all of them in one pytest; return the failed tests of each class."""
    folder = tmp_path_factory.mktemp("broken")
    report = folder / "report.xml"
    # The import mode in which workers can import the module by its name.
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=prepend", f"--junitxml={report}"]
    command += ["-p", "no:cacheprovider", "-c", str(PROJECT), str(BROKEN)]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr
    failures: dict[str, set[str]] = defaultdict(set)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) > 20 * len(broken_executors.ALL), run.stdout
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            name = case.attrib["name"].partition("[")[0]
            failures[case.attrib["classname"].rpartition(".")[2]].add(name)
    return failures


@pytest.mark.parametrize("name", broken_executors.ALL)
def test_broken_executor_fails_its_test_and_no_other(name: str, failed: dict[str, set[str]]) -> None:
    expected = broken_executors.ALL[name].fails
    assert failed[f"Test{name}"] == ({expected} if expected else set())
    assert not expected or hasattr(ExecutorContract, expected)


def test_known_gap_is_an_expected_failure(failed: dict[str, set[str]]) -> None:
    assert failed["TestKnownGap"] == set()


def test_gap_that_is_closed_is_noticed(failed: dict[str, set[str]]) -> None:
    assert failed["TestGapThatIsClosed"] == {"test_no_blocks_is_no_work"}


def test_known_gap_must_name_a_test_of_the_kit() -> None:
    with pytest.raises(TypeError, match="test_of_nothing"):
        type("TestOops", (ExecutorContract,), {"known_gaps": {"test_of_nothing": "a slip"}})


def test_kit_is_imported_on_first_use() -> None:
    assert ExecutorContract is SameContract
    code = "import sys, recscale_dask.testing.matrices; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
