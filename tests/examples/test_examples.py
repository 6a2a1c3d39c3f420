"""The examples run, and what they assert holds."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recscale_dask as rs

ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path) -> str:
    """Run an example and return what it printed."""
    command = [sys.executable, ROOT / "examples" / name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


def why_no_spark() -> str:
    """Return why Spark cannot run here, or an empty text; in CI it has to."""
    spark = next((each for each in rs.list_executors() if each.name == "spark"), None)
    reason = "recscale-dask-spark is not installed" if spark is None else spark.reason
    assert not (reason and os.environ.get("CI")), f"CI needs Spark: {reason}"
    return reason


def test_quickstart_is_the_code_of_the_readme() -> None:
    example = ast.parse((ROOT / "examples" / "quickstart.py").read_text())
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert ast.dump(ast.Module(example.body[1:], [])) in [ast.dump(ast.parse(block)) for block in blocks]


def test_quickstart(tmp_path: Path) -> None:
    assert "recall@10" in run("quickstart.py", tmp_path)


def test_dask_cluster(tmp_path: Path) -> None:
    assert "the same bytes as here" in run("dask_cluster.py", tmp_path)


def test_spark(tmp_path: Path) -> None:
    if reason := why_no_spark():
        pytest.skip(reason)
    assert "the same bytes as here" in run("spark.py", tmp_path)


def test_mpi(tmp_path: Path) -> None:
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists() and not os.environ.get("CI"):
        pytest.skip("no MPI beside Python: pip install mpi4py mpich")
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", ROOT / "examples" / "mpi.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "on 2 workers of MPI: the same bytes as here" in done.stdout


def test_notebook_to_cluster(tmp_path: Path) -> None:
    told = run("notebook_to_cluster.py", tmp_path)
    assert [line[:2] for line in told.splitlines()] == ["1.", "2.", "3."]
    assert ("skipped" in told) == bool(why_no_spark())


def test_spark_is_left_out_politely_without_java(tmp_path: Path) -> None:
    home = tmp_path / "no-java"
    env = {**os.environ, "JAVA_HOME": str(home), "PATH": str(home)}
    command = [sys.executable, ROOT / "examples" / "spark.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("skipped: executor 'spark' cannot run here: ")
