"""The doctor names what is broken, says how to mend it, and fails only over what everybody needs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from recscale_dask.api import doctor, measuring, plugins
from recscale_dask.api.measuring import Measure
from recscale_dask.hooks.offers import Broken


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


def test_executors_are_measured_on_request(recscale, monkeypatch) -> None:
    both = [each for each in plugins.list_executors() if each.name in ("serial", "threads")]
    monkeypatch.setattr(plugins, "list_executors", lambda: both)
    found = {check["name"]: check for check in recscale("doctor", "--measure", "--json").json()["checks"]}
    for name in ("serial", "threads"):
        assert found[f"speed of {name}"]["ok"]
        assert "GFLOP/s" in found[f"speed of {name}"]["found"]
    assert not [name for name in by_name(doctor.examine()) if name.startswith("speed of")]


def test_an_executor_that_differs_or_fails_is_a_finding(monkeypatch) -> None:
    names = [SimpleNamespace(name=name, available=True) for name in ("serial", "other", "broken")]
    monkeypatch.setattr(plugins, "list_executors", lambda: names)
    answers = [
        Measure(executor="serial", sha256="a"),
        Measure(executor="other", sha256="b"),
        Measure(executor="broken", problem="ExecutorUnavailable: nobody answers"),
    ]
    monkeypatch.setattr(measuring, "measure_executors", lambda names: iter(answers))
    serial, other, broken = doctor.measure()
    assert serial.ok
    assert "differs" in other.found
    assert "nobody answers" in broken.found
    assert not other.ok
    assert not broken.ok
    assert not any(check.needed for check in (serial, other, broken))


def test_an_executor_that_cannot_be_opened_stops_no_measure(monkeypatch) -> None:
    monkeypatch.setattr(measuring, "_SECONDS", 0.0)
    unknown, futures, serial = measuring.measure_executors(["nonesuch", "futures", "serial"])
    assert unknown.problem.startswith("UnknownNameError")
    assert str(futures) == "not measured: it opens with pool= only"
    assert not futures.problem
    assert serial.gigaflops > 0
    assert serial.sha256


def test_versions_of_dask_that_differ_are_told(monkeypatch) -> None:
    versions = {"dask": "2026.8.0", "distributed": "2025.4.0"}
    monkeypatch.setattr(doctor.importlib.metadata, "version", versions.__getitem__)
    (check,) = doctor.check_dask()
    assert not check.ok
    assert "pip install" in check.fix
