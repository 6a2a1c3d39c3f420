"""The doctor names what is broken, says how to mend it, and fails only over what everybody needs."""

import json
from pathlib import Path

import pytest

from recscale_dask.api import doctor, plugins
from recscale_dask.hooks.manager import Broken


def by_name(checks) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_everything_that_is_needed_works_here(recscale) -> None:
    found = recscale("doctor", "--json").json()
    assert set(found) == {"ok", "checks"}
    assert found["ok"]
    assert all(set(check) == {"name", "ok", "needed", "found", "fix"} for check in found["checks"])
    names = {check["name"] for check in found["checks"]}
    assert {"Python", "numpy", "BLAS", "Numba's cache", "temporary files", "Java", "executor dask"} <= names
    assert all(bool(check["fix"]) != check["ok"] for check in found["checks"])


def test_the_table_is_for_people(recscale) -> None:
    ran = recscale("doctor")
    assert ran.code == 0
    assert "Python" in ran.out


def test_broken_plugin_is_named_with_its_reason_and_fails_nothing(recscale, monkeypatch) -> None:
    monkeypatch.setattr(plugins, "list_broken", lambda: [Broken("loky", "ImportError: no [loky] here")])
    ran = recscale("doctor")
    assert ran.code == 0
    assert "plugin loky" in ran.out
    assert "no [loky] here" in ran.out
    assert recscale("executors", "--json").json()["broken"] == [
        {"name": "loky", "reason": "ImportError: no [loky] here"}
    ]


def test_package_that_is_too_old_fails(recscale, monkeypatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda package: ["numpy>=99", "nonesuch>=1"])
    ran = recscale("doctor", "--json")
    assert ran.code == 1
    found = {check["name"]: check for check in json.loads(ran.out)["checks"]}
    assert "pip install 'numpy>=99'" in found["numpy"]["fix"]
    assert found["nonesuch"]["found"] == "not installed"


def test_check_that_raises_is_a_finding(monkeypatch) -> None:
    monkeypatch.setattr(plugins, "list_executors", lambda: 1 / 0)
    check = by_name(doctor.examine())["plugins"]
    assert (check.ok, check.needed) == (False, False)
    assert "ZeroDivisionError" in check.found


@pytest.fixture
def with_spark(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda package: True)


def java(folder: Path, version: str) -> Path:
    """Make a program that tells a version as Java does; return its home."""
    program = folder / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(("version", "ok"), [("17.0.15", True), ("21", True), ("11.0.2", False), ("1.8.0_292", False)])
@pytest.mark.usefixtures("with_spark")
def test_java_is_looked_at(monkeypatch, tmp_path: Path, version: str, ok: bool) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path, version)))
    (check,) = doctor.check_java()
    assert check.ok is ok
    assert version in check.found


@pytest.mark.usefixtures("with_spark")
def test_java_that_is_missing_is_told_with_the_cure(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = doctor.check_java()
    assert not check.ok
    assert "Install Java 17" in check.fix


def test_java_is_not_asked_for_without_spark(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda package: False)
    (check,) = doctor.check_java()
    assert check.ok
    assert not list(doctor.check_spark())
