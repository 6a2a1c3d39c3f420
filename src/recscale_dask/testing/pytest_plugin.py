"""The kit against any installed executor, without a test file.

::

    pytest --pyargs recscale_dask.testing.kit --recscale-executor=spark --recscale-option master=local[2] \\
           --recscale-badge badge.json

The badge is a small JSON file: the executor, its package and contract, versions (of what the package requires too, such
as an engine), how many tests passed, and each gap with its reason. pytest finds this module through its entry-point
group ``pytest11``; until it is asked to, it imports nothing of recscale_dask.
"""

from __future__ import annotations

import importlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("recscale_dask", "conformance kit of recscale_dask")
    group.addoption("--recscale-executor", metavar="NAME", help="run the kit of recscale_dask against this executor")
    group.addoption(
        "--recscale-option", metavar="KEY=VALUE", action="append", default=[], help="an option of that executor; repeat"
    )
    group.addoption("--recscale-badge", metavar="FILE", help="write what passed, and gaps with reasons, to a JSON file")
    group.addoption(
        "--recscale-marks",
        metavar="FOLDER",
        help="an empty folder that all workers see, if they do not see this machine's",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Look at what was asked for before any test runs, and record results if a badge is wanted.

    Raises
    ------
    pytest.UsageError
        If there is no such executor, it has no such option, or the badge has no folder to be in.
    """
    if config.getoption("--recscale-executor"):
        try:
            make_executor(config)
        except Exception as error:  # of the plugin's code too
            raise pytest.UsageError(f"--recscale-executor: {error}") from error
    badge = config.getoption("--recscale-badge")
    if badge:
        if not config.getoption("--recscale-executor"):
            raise pytest.UsageError("--recscale-badge is about one executor: name it with --recscale-executor=NAME")
        folder = Path(badge).resolve().parent
        if not folder.is_dir():
            raise pytest.UsageError(f"--recscale-badge: there is no folder {folder}; make it, or name another file")
        config.pluginmanager.register(_Recorder(config), "recscale_dask badge")


def make_executor(config: pytest.Config) -> Any:
    """Return the executor that the command line names, not open yet."""
    # By name: the kit lies below the api in the order of imports.
    key_values = importlib.import_module("recscale_dask.cli.options").key_values
    open_executor = importlib.import_module("recscale_dask").open_executor
    options = key_values(config.getoption("--recscale-option"), "--recscale-option")
    return open_executor(config.getoption("--recscale-executor"), **options)


class _Recorder:
    """Notes the outcome of each test of the kit, and writes the badge at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._passed: list[str] = []
        self._gaps: dict[str, dict[str, str]] = {}
        self._collected: list[str] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note a test that there is, whether or not it is going to run."""
        self._collected.append(item.name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended, and why if not well."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            lines = str(getattr(crash, "message", report.longrepr)).strip().splitlines()
            self._gaps[name] = {"kind": "failed", "reason": lines[0] if lines else "no reason known"}
        elif report.skipped and hasattr(report, "wasxfail"):
            self._gaps[name] = {"kind": "known gap", "reason": str(report.wasxfail)}
        elif report.skipped:
            reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            self._gaps[name] = {"kind": "does not apply", "reason": reason.removeprefix("Skipped: ")}
        elif report.when == "call" and name not in self._gaps:
            self._passed.append(name)

    def pytest_sessionfinish(self) -> None:
        """Write the badge."""
        path = Path(self._config.getoption("--recscale-badge"))
        passed = [name for name in self._passed if name not in self._gaps]
        missing = {name: {"kind": "not run", "reason": "it was not chosen"} for name in self._not_run()}
        path.write_text(json.dumps(_badge(self._config, passed, {**self._gaps, **missing}), indent=2) + "\n")

    def _not_run(self) -> list[str]:
        """Return tests of the kit without an outcome: deselected, not named, or after the end of the session."""
        from recscale_dask.testing import ExecutorContract

        kit = [name for name in dir(ExecutorContract) if name.startswith("test_")]
        collected = {_without_parameters(name) for name in self._collected}
        known = [*self._collected, *(name for name in kit if name not in collected)]
        return [name for name in dict.fromkeys(known) if name not in self._gaps and name not in self._passed]


def _without_parameters(name: str) -> str:
    return name.partition("[")[0]


def _badge(config: pytest.Config, passed: list[str], gaps: dict[str, dict[str, str]]) -> dict[str, Any]:
    from recscale_dask.hooks.manager import PluginManager

    name = config.getoption("--recscale-executor")
    package = next((each.package for each in PluginManager().offers("executors") if each.spec.name == name), "")
    return {
        "executor": name,
        "options": list(config.getoption("--recscale-option")),
        "package": package,
        "contract": make_executor(config).contract,
        "versions": _versions(package),
        "conforms": bool(passed) and not {gap["kind"] for gap in gaps.values()} & {"failed", "not run"},
        "passed": len(passed),
        "gaps": gaps,
    }


def _versions(package: str) -> dict[str, str]:
    """Return what computed: Python, the core, NumPy, the offering package, and what that requires (no extras)."""
    import importlib.metadata
    import platform

    from packaging.requirements import Requirement

    names = {"recscale-dask", "numpy"}
    if package:
        required = map(Requirement, importlib.metadata.requires(package) or ())
        always = [each.name for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
        names |= {package, *always}
    versions = {"python": platform.python_version()}
    for name in sorted(names):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
