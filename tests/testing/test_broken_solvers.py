"""The kit of solvers is tested too: those that are wrong on purpose fail the test that is for it, and no other."""

import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.testing import SolverContract

BROKEN = Path(__file__).with_name("broken_solvers.py")
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def load_broken_solvers() -> Any:
    spec = importlib.util.spec_from_file_location("broken_solvers", BROKEN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


broken_solvers = load_broken_solvers()


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the kit on all of them in one pytest; return the failed tests of each class."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-p", "no:cacheprovider"]
    run = subprocess.run([*command, "-c", str(PROJECT), str(BROKEN)], capture_output=True, text=True, check=False)
    assert report.exists(), run.stdout + run.stderr
    failures: dict[str, set[str]] = defaultdict(set)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) > 15 * len(broken_solvers.ALL), run.stdout
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            name = case.attrib["name"].partition("[")[0]
            failures[case.attrib["classname"].rpartition(".")[2]].add(name)
    return failures


@pytest.mark.parametrize("name", broken_solvers.ALL)
def test_broken_solver_fails_its_test_and_no_other(name: str, failed: dict[str, set[str]]) -> None:
    expected = broken_solvers.ALL[name].fails
    assert failed[f"Test{name}"] == {expected}


def test_every_test_of_the_kit_has_a_solver_that_fails_it() -> None:
    tests = {name for name in vars(SolverContract) if name.startswith("test_")}
    # No solver sees the order of the input rows: that a matrix does not depend on it is tested with the matrix.
    tests.remove("test_order_of_the_input_rows_changes_no_more_than_rounding")
    assert {kind.fails for kind in broken_solvers.ALL.values()} == tests
