import json
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.data import matrix as matrix_module
from recscale_dask.data.blocks import balanced_bounds, row_block_count
from recscale_dask.errors import BlockFailed, OutputError, StoreError
from recscale_dask.execution.dask import DaskExecutor

FIT = {"rank": 3, "weighting": "log", "item_scaling": 0.5}


def rows(shape=(2000, 300), seed=0):
    found = sp.random_array(shape, density=0.3, rng=seed, format="csr").astype(np.float32)
    found.sort_indices()
    return found


def more(n_rows=4000, seed=1):
    rng = np.random.default_rng(seed)
    table = pa.table({"user": rng.integers(2100, size=n_rows), "item": rng.integers(320, size=n_rows)})
    return rs.Interactions.from_arrow(table, user="user", item="item")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store that was added to."""
    store = tmp_path_factory.mktemp("made") / "store"
    rs.UserItemMatrix.from_scipy(rows()).save(store)
    rs.UserItemMatrix.open(store).append(more())
    return store


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def everything(folder):
    return {each.relative_to(folder): each.is_file() and each.read_bytes() for each in folder.rglob("*")}


@contextmanager
def full_disk(room):
    """No file of this process gets larger than `room` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [200, 5_000, 40_000])
def test_a_full_disk_leaves_the_store_as_it_was(store, monkeypatch, room):
    monkeypatch.setattr(matrix_module, "_IN_MEMORY_BYTES", 0)
    matrix = rs.UserItemMatrix.open(store)
    before = everything(store.parent)
    writers = (
        lambda: matrix.append(more(seed=2)),
        matrix.compact,
        matrix.transposed,
        lambda: matrix.save(store, overwrite=True),
        lambda: matrix.save(store.parent / "other"),
    )
    for write in writers:
        with pytest.raises(OutputError, match="File too large"), full_disk(room):
            write()
        left = everything(store.parent)
        assert {name: left[name] for name in before} == before
        assert {str(name) for name in left.keys() - before.keys()} <= {"store/transposed"}
    assert matrix.append(more(seed=2)).compact().nnz > matrix.nnz


@pytest.mark.parametrize("moment", ["before the manifest", "after it"])
@pytest.mark.parametrize("change", ["append", "compact"])
def test_a_killed_change_leaves_the_store_as_it_was_or_as_it_should_be(store, change, moment):
    script = f"""
import os, signal
from contextlib import contextmanager
import numpy as np, pyarrow as pa
import recscale_dask as rs
from recscale_dask.data import store_changes
rng = np.random.default_rng(3)
rows = pa.table({{"user": rng.integers(2100, size=500), "item": rng.integers(320, size=500)}})
new = rs.Interactions.from_arrow(rows, user="user", item="item")
matrix = rs.UserItemMatrix.open({str(store)!r})
real = store_changes.written_beside
@contextmanager
def killing(path, **options):
    with real(path, **options) as beside:
        yield beside
        if {moment == "before the manifest"} and path.name == "manifest.json":
            os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "manifest.json":
        os.kill(os.getpid(), signal.SIGKILL)
store_changes.written_beside = killing
matrix.append(new) if {change == "append"} else matrix.compact()
"""
    before = rs.UserItemMatrix.open(store)
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = rs.UserItemMatrix.open(store)
    found.verify()
    if change == "compact" or moment == "before the manifest":
        assert (found.to_scipy() != before.to_scipy()).nnz == 0
    else:
        assert found.nnz > before.nnz
    found.append(more(10, seed=4)).compact()
    assert sorted(each.name for each in store.iterdir()) == ["compacted", "manifest.json"]
    assert [each.name for each in store.parent.iterdir()] == ["store"]


@pytest.mark.parametrize("file", ["blocks/000001.arrow", "deltas/000001/000001.arrow"])
def test_a_flipped_bit_is_found_when_a_fit_first_reads_it(store, file):
    data = bytearray((store / file).read_bytes())
    data[len(data) * 3 // 4] ^= 1
    (store / file).write_bytes(data)
    matrix = rs.UserItemMatrix.open(store)
    with pytest.raises(StoreError, match=r"blocks/000001\.arrow, or what was appended to it, was altered"):
        rs.factorize(matrix, rank=2, executor="serial")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        matrix.verify()


@pytest.mark.parametrize("file", ["blocks/000000.arrow", "deltas/000001/000000.arrow", "deltas/000001/items.arrow"])
def test_a_file_that_is_cut_short_or_missing_is_found_when_the_store_is_opened(store, file):
    whole = (store / file).read_bytes()
    (store / file).write_bytes(whole[:-1])
    with pytest.raises(StoreError, match=f"{file} has .* bytes, not"):
        rs.UserItemMatrix.open(store)
    (store / file).unlink()
    with pytest.raises(StoreError, match=f"{file} is missing"):
        rs.UserItemMatrix.open(store)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_file_that_goes_after_opening_is_named_by_a_fit(store, executor):
    matrix = rs.UserItemMatrix.open(store)
    (store / "deltas" / "000001" / "000001.arrow").unlink()
    with pytest.raises((StoreError, BlockFailed), match=r"deltas/000001/000001\.arrow is missing"):
        rs.factorize(matrix, rank=2, executor=executor)


def test_a_manifest_that_was_altered_or_is_newer_is_not_read(store):
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    for change, message in (
        ({"format": 99}, "format 99"),
        ({"n_stored": 5}, "was altered"),
        ({"kind": "x"}, "not a store"),
    ):
        path.write_text(json.dumps({**manifest, **change}))
        with pytest.raises(StoreError, match=message):
            rs.UserItemMatrix.open(store)
    path.write_text("{")
    with pytest.raises(StoreError, match="is no JSON"):
        rs.UserItemMatrix.open(store)


def test_workers_read_a_store_at_a_url_themselves(made):
    url = f"file://{made}"  # goes the way of any other: fetched by fsspec onto the worker's disk, and mapped
    matrix, local = rs.UserItemMatrix.open(f"{url}/"), rs.UserItemMatrix.open(made)
    assert matrix.store == url
    assert (matrix.users, matrix.items, matrix.fingerprint) == (local.users, local.items, local.fingerprint)
    expected = rs.factorize(local, **FIT, executor="serial").factors_sha256()
    assert rs.factorize(matrix, **FIT, executor="processes").factors_sha256() == expected
    with DaskExecutor(n_workers=2, threads_per_worker=1) as executor:
        assert rs.factorize(matrix, **FIT, executor=executor).factors_sha256() == expected


def test_a_store_at_a_url_that_is_not_there_or_not_to_be_written_says_so(made):
    with pytest.raises(StoreError, match="there is no store at"):
        rs.UserItemMatrix.open(f"file://{made}-nothing")
    with pytest.raises(StoreError, match="no store to append to"):
        rs.UserItemMatrix.open(f"file://{made}").append(more())
    with pytest.raises(StoreError, match="cannot read"):
        rs.UserItemMatrix.open("nosuchprotocol://host/store")


def test_more_values_than_an_int32_counts_are_cut_into_blocks():
    degrees = np.full(5_000_000, 1000, np.int64)  # 5 billion values
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    bounds = balanced_bounds(indptr, 500_000)
    assert bounds.dtype == np.int64
    assert len(bounds) == row_block_count(5_000_000_000, 500_000) + 1
    stored = np.diff(indptr[bounds])
    assert stored.sum() == 5_000_000_000
    assert stored.max() < 2**31
    assert stored.max() - stored.min() <= 2000
