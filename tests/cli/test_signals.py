"""Commands that are ended from outside: by SIGTERM as by Ctrl-C, and by SIGKILL, after which the next one cleans up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.temporary import SHARED_MEMORY, TemporaryFolder

SLOW = [pytest.param("dask", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows = sp.random_array((20_000, 2000), density=0.02, rng=0, format="csr").astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "store"
    rs.UserItemMatrix.from_scipy(rows).save(path)
    return path


def at_work(store, folder, executor):
    """Return a fit that has made its first passes, in a group of its own, as a terminal starts it."""
    recscale = str(Path(sys.executable).with_name("recscale"))
    command = [recscale, "fit", str(store), "--out", str(folder / "model"), "--executor", executor]
    command += ["--rank", "40", "--tol", "1e-7", "--set", "block_size=1", "--checkpoint", str(folder / "state")]
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(folder.glob("state/state-*")):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def folders_of(process, folder):
    return [*(folder / "tmp").iterdir(), *SHARED_MEMORY.glob(f"recscale-{process.pid}-*")]


@pytest.mark.parametrize("executor", ["processes", *SLOW])
def test_sigterm_ends_a_fit_as_control_c_does(store, tmp_path, executor):
    process = at_work(store, tmp_path, executor)
    process.terminate()
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.startswith("error: interrupted; the state after the last pass is in")
    assert err.count("\n") == 1
    assert not folders_of(process, tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("executor", ["processes", *SLOW])
def test_folders_of_a_fit_that_was_killed_are_deleted_by_the_next_start(store, tmp_path, executor, monkeypatch):
    process = at_work(store, tmp_path, executor)
    assert folders_of(process, tmp_path)
    os.kill(process.pid, signal.SIGKILL)  # its workers are left to end by themselves
    process.communicate(timeout=60)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with TemporaryFolder():
        pass
    assert not folders_of(process, tmp_path)


def test_sigterm_before_the_work_begins_is_143_too(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from recscale_dask.cli.signals import run_until_sigterm\n"
        "run_until_sigterm(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 143
