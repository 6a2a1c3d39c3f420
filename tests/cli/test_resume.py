"""Fits on the command line that are stopped, in processes that really are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse as sp

import recscale_dask as rs

OPTIONS = ["--rank", "8", "--tol", "1e-3", "--set", "block_size=2", "--json"]  # many passes


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows = sp.random_array((20_000, 2000), density=0.02, rng=0, format="csr").astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "store"
    rs.UserItemMatrix.from_scipy(rows).save(path)
    return path


def fit(store, folder, *options):
    """Start a fit in a group of its own, as a terminal does."""
    recscale = str(Path(sys.executable).with_name("recscale"))
    command = [recscale, "fit", str(store), "--out", str(folder / "model")]
    return subprocess.Popen(
        [*command, *OPTIONS, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finished(process):
    """Return what a fit that went well printed."""
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return json.loads(out)


def wait_for_states(folder, count):
    """Wait until so many passes were kept."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if folder.is_dir() and any(int(each.name[6:]) >= count for each in folder.glob("state-*")):
            return
        time.sleep(0.005)
    raise AssertionError("no state was kept in a minute")


def wait_for_a_worker(process):
    """Wait until a process of an executor was started, which then imports for a while."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("spawn_main" in each for each in child.cmdline()):
                    return
        time.sleep(0.005)
    raise AssertionError("no worker was started in a minute")


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    return finished(fit(store, tmp_path_factory.mktemp("whole"), "--executor", "serial"))["factors_sha256"]


@pytest.mark.parametrize(
    ("first", "then"),
    [("serial", "threads"), ("threads", "processes"), ("processes", "dask"), ("dask", "serial")],
)
def test_a_killed_fit_goes_on_on_another_executor_and_ends_in_the_same_bytes(store, tmp_path, whole, first, then):
    state = ["--checkpoint", str(tmp_path / "state")]
    process = fit(store, tmp_path, "--executor", first, *state)
    wait_for_states(tmp_path / "state", 7)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "model").exists()
    answer = finished(fit(store, tmp_path, "--executor", then, *state, "--resume"))
    assert answer["factors_sha256"] == whole
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model"]  # the model is safe, so the state is gone


@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "dask"])
def test_control_c_stops_within_seconds_and_says_how_to_go_on(store, tmp_path, executor):
    process = fit(store, tmp_path, "--executor", executor, "--checkpoint", str(tmp_path / "state"))
    wait_for_states(tmp_path / "state", 3)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 15
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("error: interrupted; the state after the last pass is in")
    assert "--resume" in err
    assert err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    assert not [each for each in (tmp_path / "state").iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize("executor", ["processes", "dask"])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2])
def test_control_c_while_workers_start_is_told_in_one_line(store, tmp_path, executor, delay):
    process = fit(store, tmp_path, "--executor", executor)
    wait_for_a_worker(process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err == "error: interrupted; nothing was kept. With --checkpoint DIR a fit can be stopped and go on.\n"
    assert list(tmp_path.iterdir()) == []


def test_resume_without_a_folder_is_wrong_usage(store, tmp_path):
    process = fit(store, tmp_path, "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--checkpoint" in err


def test_resume_without_a_state_says_that_the_fit_begins_at_the_start(recscale, data, tmp_path):
    options = ("--rank", 3, "--checkpoint", tmp_path / "state", "--resume")
    ran = recscale("fit", data / "train.csv", "--out", tmp_path / "model", *options)
    assert ran.code == 0
    assert ran.err == f"note: there is no state in {tmp_path / 'state'} yet; the fit begins at the start.\n"


def test_a_state_that_is_there_needs_resume(store, tmp_path):
    rs.factorize(store, rank=3, tol=0.1, executor="serial", checkpoint=tmp_path / "state")
    process = fit(store, tmp_path, "--checkpoint", str(tmp_path / "state"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume" in err
    process = fit(store, tmp_path, "--checkpoint", str(tmp_path / "state"), "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "rank was 3, and is 8 now" in err
