"""The doctor names what is broken, says how to mend it, and fails only over what everybody needs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from recscale_dask.api import doctor, measuring, plugins
from recscale_dask.api.measuring import Measure
from recscale_dask.execution.run import map_blocks
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


def test_threads_of_blas_are_told(recscale) -> None:
    (blas,) = [check for check in recscale("doctor", "--json").json()["checks"] if check["name"] == "BLAS"]
    expected = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert [int(each) for each in re.findall(r"(\d+) threads", blas["found"])] == expected


def with_numba_cache(folder: Path, **more: str) -> dict[str, Any]:
    code = "import dataclasses, json; from recscale_dask.api import doctor; "
    code += "print(json.dumps([dataclasses.asdict(each) for each in doctor.check_numba()]))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **more}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    (check,) = json.loads(ran.stdout)
    assert isinstance(check, dict)
    return check


def test_numbas_cache_is_where_it_was_asked_to_be(tmp_path: Path) -> None:
    check = with_numba_cache(tmp_path / "cache")
    assert (check["ok"], check["found"].startswith(str(tmp_path / "cache"))) == (True, True)


def test_a_cache_of_numba_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    elsewhere = with_numba_cache(tmp_path / "file")
    assert not elsewhere["ok"]
    assert f"as {tmp_path / 'file'} (NUMBA_CACHE_DIR) cannot be written" in elsewhere["found"]
    nowhere = with_numba_cache(tmp_path / "file", NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator")
    assert (nowhere["ok"], nowhere["needed"]) == (False, True)
    assert "cannot cache function" in nowhere["found"]
    assert "NUMBA_CACHE_DIR" in nowhere["fix"]


def test_little_room_is_told_with_the_cure(monkeypatch) -> None:
    assert all(check.ok for check in doctor.check_room())
    monkeypatch.setattr(doctor, "_ROOM", 1 << 60)
    fixes = {check.name: check.fix for check in doctor.check_room() if not check.ok}
    assert "TMPDIR" in fixes["temporary files"]
    assert "--shm-size" in fixes.get("shared memory", "--shm-size")


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


@pytest.mark.usefixtures("with_spark")
def test_java_is_known_behind_what_it_picked_up(monkeypatch, tmp_path: Path) -> None:
    home = java(tmp_path, "17.0.15")
    program = home / "bin" / "java"
    program.write_text(program.read_text().replace("echo", "echo Picked up JAVA_TOOL_OPTIONS: -Xmx1g >&2\necho", 1))
    monkeypatch.setenv("JAVA_HOME", str(home))
    (check,) = doctor.check_java()
    assert check.ok
    assert check.found.startswith('openjdk version "17.0.15"')


@pytest.mark.usefixtures("with_spark")
def test_java_that_does_not_run_or_never_ends_is_told_with_the_cure(monkeypatch, tmp_path: Path) -> None:
    program = java(tmp_path, "17") / "bin" / "java"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    program.chmod(0o644)
    (check,) = doctor.check_java()
    assert (check.ok, "does not run: Permission denied" in check.found, "Install Java 17" in check.fix) == (
        False,
        True,
        True,
    )
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(doctor, "_PATIENCE", 0.1)
    (check,) = doctor.check_java()
    assert (check.ok, "no answer in 0.1 s" in check.found) == (False, True)


def of_workers() -> doctor.Check:
    return by_name(doctor.check_spark())["Python of Spark's workers"]


@pytest.mark.usefixtures("with_spark")
def test_python_of_sparks_workers_is_looked_at(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda package: [])
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    assert of_workers().ok
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    assert of_workers().ok
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho a warning >&2\necho 3.1\n")
    other.chmod(0o755)
    for path, found in ((other, "3.1 ("), (tmp_path / "none", "it does not run: No such file or directory (")):
        monkeypatch.setenv("PYSPARK_PYTHON", str(path))
        check = of_workers()
        assert not check.ok
        assert check.found.startswith(found)
        assert "Set PYSPARK_PYTHON to a Python 3." in check.fix


def test_what_rays_plugin_needs_is_looked_at(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda package: package == "recscale-dask-ray")
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda package: ["ray>=99"])
    check = by_name(doctor.examine())["ray, for recscale-dask-ray"]
    assert not check.ok
    assert "pip install 'ray>=99'" in check.fix


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
    assert str(futures).startswith("pool='loky': ")
    assert futures.sha256 == serial.sha256
    assert serial.gigaflops > 0
    assert serial.sha256


def test_a_pool_that_is_not_installed_is_not_measured(monkeypatch) -> None:
    monkeypatch.setattr(measuring, "find_spec", lambda package: None)
    (futures,) = measuring.measure_executors(["futures"])
    assert str(futures) == "not measured: it opens with pool= only"
    assert not futures.problem


def test_workers_have_started_before_the_constant_is_sent(monkeypatch) -> None:
    runs = []

    def recorded(executor, task, payloads, constants, *, label):
        runs.append((label, len(payloads)))
        return map_blocks(executor, task, payloads, constants, label=label)

    monkeypatch.setattr(measuring, "_SECONDS", 0.0)
    monkeypatch.setattr(measuring, "map_blocks", recorded)
    (processes,) = measuring.measure_executors(["processes"])
    assert runs == [("start", processes.workers), ("constant", processes.workers)]


def test_versions_of_dask_that_differ_are_told(monkeypatch) -> None:
    versions = {"dask": "2026.8.0", "distributed": "2025.4.0"}
    monkeypatch.setattr(doctor.importlib.metadata, "version", versions.__getitem__)
    (check,) = doctor.check_dask()
    assert not check.ok
    assert "pip install" in check.fix
