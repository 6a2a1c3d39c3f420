"""Runs the kits on classes that are wrong on purpose."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(scope="module")
def failures_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, int], dict[str, set[str]]]:
    """What runs a file in a pytest of its own and returns the failed tests of each class; at least so many must run."""

    def run_file(path: Path, at_least: int) -> dict[str, set[str]]:
        folder = tmp_path_factory.mktemp("broken")
        report = folder / "report.xml"
        # The import mode in which workers can import the module by its name.
        command = [sys.executable, "-m", "pytest", "-q", "--import-mode=prepend", f"--junitxml={report}"]
        command += ["-p", "no:cacheprovider", "-c", str(PROJECT), str(path)]
        command += ["-o", "faulthandler_timeout=60"]
        environment = {**os.environ, "TMPDIR": str(folder)}
        told = folder / "told.txt"
        # To a file: a process that one of them leaves behind would hold a pipe open.
        with told.open("w") as file:
            subprocess.run(command, stdout=file, stderr=file, cwd=folder, env=environment, check=False)
        assert report.exists(), told.read_text()
        failures: dict[str, set[str]] = defaultdict(set)
        cases = list(ElementTree.parse(report).iter("testcase"))
        assert len(cases) > at_least, told.read_text()
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                name = case.attrib["name"].partition("[")[0]
                failures[case.attrib["classname"].rpartition(".")[2]].add(name)
        return failures

    return run_file
