"""Killed, interrupted, and on a full disk: no half store, nothing left, and it can be run again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.data.store_lock import store_lock
from recscale_dask.errors import DataError, StoreError

INGEST = """
import resource, sys, time
import recscale_dask as rs
from recscale_dask.errors import OutputError

def slow(event):
    if event.stage == sys.argv[3]:
        print("now", flush=True)
        time.sleep(60)

if sys.argv[3].isdecimal():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    rs.ingest(sys.argv[1], sys.argv[2], progress=slow)
except OutputError as error:
    print("error:", error)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("source")
    columns = {
        "user": rng.integers(0, 2000, 200_000),
        "item": rng.integers(0, 500, 200_000),
        "value": rng.random(200_000),
    }
    pq.write_table(pa.table(columns), folder / "a.parquet")
    rs.ingest(folder / "a.parquet", folder / "store")  # and kernels are compiled now
    return folder


def start(source, store, what):
    command = [sys.executable, "-W", "error", "-c", INGEST, source / "a.parquet", store, what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def names(folder: Path):
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("stage", ["reading", "grouping", "sorting", "writing"])
def test_a_killed_ingest_leaves_no_store_and_the_next_one_cleans_up(source, tmp_path, stage):
    killed = start(source, tmp_path / "store", stage)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "now\n"
    killed.kill()
    killed.wait()
    killed.stdout.close()
    assert not (tmp_path / "store").exists()
    assert names(tmp_path)  # what it was at work on
    matrix = rs.ingest(source / "a.parquet", tmp_path / "store")
    assert matrix.fingerprint == rs.UserItemMatrix.open(source / "store").fingerprint
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize("stage", ["reading", "sorting", "writing"])
def test_an_interrupted_ingest_leaves_nothing(source, tmp_path, stage):
    run = start(source, tmp_path / "store", stage)
    assert run.stdout is not None
    assert run.stdout.readline() == "now\n"
    before = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=30)[0] == "interrupted\n"
    assert time.monotonic() - before < 20
    assert not names(tmp_path)


@pytest.mark.parametrize("room", [400_000, 900_000, 1_700_000], ids=["first files", "values", "blocks"])
def test_a_full_disk_is_a_plain_error_and_leaves_nothing(source, tmp_path, room):
    run = start(source, tmp_path / "store", str(room))
    said = run.communicate(timeout=60)[0]
    assert said.startswith(f"error: cannot write {tmp_path}"), said
    assert "File too large" in said
    assert not names(tmp_path)


def test_input_that_vanishes_is_an_error_and_leaves_nothing(source, tmp_path):
    data = pq.read_table(source / "a.parquet")
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        pq.write_table(data, tmp_path / "in" / f"{name}.parquet", row_group_size=50_000)

    def vanish(event):
        (tmp_path / "in" / "b.parquet").unlink(missing_ok=True)

    files = [tmp_path / "in" / f"{name}.parquet" for name in ("a", "a", "a", "b")]
    with pytest.raises(DataError, match=r"cannot read .*/in/b\.parquet as Parquet"):
        rs.ingest(files, tmp_path / "store", progress=vanish)
    assert names(tmp_path) == ["in"]


def test_a_file_that_was_cut_short_is_an_error_and_leaves_nothing(source, tmp_path):
    whole = (source / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-50])
    with pytest.raises(DataError, match="as Parquet"):
        rs.ingest(tmp_path / "a.parquet", tmp_path / "store")
    damaged = bytearray(whole)
    damaged[1000:50_000] = bytes(49_000)
    (tmp_path / "a.parquet").write_bytes(damaged)
    with pytest.raises(DataError, match="as Parquet"):
        rs.ingest(tmp_path / "a.parquet", tmp_path / "store")
    assert names(tmp_path) == ["a.parquet"]


def test_an_ingest_to_a_store_that_another_writes_is_refused(source, tmp_path):
    with store_lock(tmp_path / "store"), pytest.raises(StoreError, match="is busy"):
        rs.ingest(source / "a.parquet", tmp_path / "store")
    assert names(tmp_path) == []
    assert rs.ingest(source / "a.parquet", tmp_path / "store").is_stored
