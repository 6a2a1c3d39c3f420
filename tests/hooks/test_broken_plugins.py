"""Packages that do everything wrong, found as installed ones are: each is told by the doctor, and all else works."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).with_name("plugins")
TOLD = {
    "plugin future": "contract 2; this recscale_dask has contract 1",
    "plugin import-error": "No module named 'module_that_is_not_there'",
    "plugin misspelt": "which is no hook; did you mean",
    "plugin stored": "is offered twice",
    "plugin threads": "is offered twice",
    "plugin prints": "prints 'welcome to plugin_prints' when it is imported",
    "plugin system-exit": "no licence found",
    "plugin hook-raises": "OSError: no connection",
    "plugin bad-chooser": "recscale_choose_executor: RuntimeError: cannot choose",
    "plugin no-such-class": "has no attribute 'Nothing'",
    "plugin no-executor": "is no subclass of recscale_dask.execution.contract.Executor",
    "plugin of-contract-2": "has contract 2; this recscale_dask has 1",
    "plugin no-solver": "is no subclass of recscale_dask.solvers.base.Solver",
    "plugin no-reader": "is no function of source and columns",
    "plugin no-metric": "is no metric",
    "plugin bad@name": "has a space or an @",
    "plugin 5": "offers 5 with name=5; expected text",
    "plugin no-target": "offers 'no-target' with target=None; expected text",
    "plugin no-summary": "offers 'no-summary' with summary=None; expected text",
    "plugin no-attribute": "with target='plugin_misfits'; expected 'package.module:attribute'",
    "plugin contract-text": "with contract='1'; expected a whole number",
    "plugin misfits": "recscale_run_started that is never called; mark it with @hookimpl",
}


def recscale(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from recscale_dask.cli.main import run; run()", *map(str, arguments)]
    paths = [str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture(scope="module")
def all_checks() -> list[dict[str, Any]]:
    ran = recscale("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    checks: list[dict[str, Any]] = json.loads(ran.stdout)["checks"]
    return checks


@pytest.fixture(scope="module")
def checks(all_checks) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in reversed(all_checks)}


def test_the_doctor_tells_of_all_that_is_printed(all_checks) -> None:
    told = " ".join(check["found"] for check in all_checks if check["name"] in ("plugin prints", "plugin loud"))
    assert all(
        f"prints {text!r}" in told for text in ("welcome to plugin_prints", "registering", "checking", "choosing")
    )


@pytest.mark.parametrize("name", TOLD)
def test_the_doctor_tells_of_each(checks, name: str) -> None:
    check = checks[name]
    assert TOLD[name] in check["found"]
    assert not check["ok"]
    assert "the package plugin-" in check["fix"]


def test_listings_are_not_among_what_plugins_print() -> None:
    ran = recscale("executors")
    assert ran.returncode == 0, ran.stderr
    assert "loud" in ran.stdout
    assert not any(text in ran.stdout for text in ("welcome", "registering", "checking", "choosing"))


def test_the_built_ins_are_well(checks) -> None:
    for name in ("serial", "threads", "processes", "dask"):
        assert checks[f"executor {name}"]["ok"]
    assert checks["executor loud"]["ok"]
    assert checks["executor well"]["ok"]


def test_a_fit_works_beside_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,item\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(35)))
    out = tmp_path / "model"
    ran = recscale("fit", tmp_path / "ratings.csv", "--out", out, "--rank", 2, "--executor", "threads", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["executor"] == "threads"


def test_what_an_engine_prints_is_kept_off_the_answer(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,item\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(35)))
    out = tmp_path / "model"
    ran = recscale("fit", tmp_path / "ratings.csv", "--out", out, "--rank", 2, "--executor", "loud", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["rank"] == 2
    assert "here we go" in ran.stderr


@pytest.mark.parametrize("executor", [["processes"], ["dask"], ["futures", "--option", "pool=loky"]], ids=" ".join)
def test_what_workers_print_is_kept_off_the_answer(tmp_path: Path, executor: list[str]) -> None:
    (tmp_path / "ratings.csv").write_text("user,item\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(0, 35, 2)))
    (tmp_path / "test.csv").write_text("user,item\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(1, 35, 2)))
    assert recscale("fit", tmp_path / "ratings.csv", "--out", tmp_path / "model", "--rank", 2).returncode == 0
    test = ["--test", tmp_path / "test.csv", "--metrics", "noisy@3"]
    ran = recscale("evaluate", tmp_path / "model", *test, "--executor", *executor, "--json")
    assert ran.returncode == 0, ran.stderr
    assert "noisy@3" in json.loads(ran.stdout)["metrics"]
    assert "judging" in ran.stderr
