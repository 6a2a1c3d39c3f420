import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.data.store_lock import store_lock
from recscale_dask.errors import OutputError, StoreError

HOLDER = """
import sys
from recscale_dask.data.store_lock import store_lock
with store_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a store."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "store"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def matrix():
    return rs.UserItemMatrix.from_scipy(sp.csr_array(np.eye(3)))


def test_a_second_writer_is_told_who_the_first_is(holder, tmp_path):
    with pytest.raises(StoreError, match=rf"store is busy: process {holder.pid} writes to it"):
        matrix().save(tmp_path / "store")
    holder.communicate()
    matrix().save(tmp_path / "store")
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.kill()
    holder.wait()
    matrix().save(tmp_path / "store")
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_every_way_to_write_a_store_takes_its_lock(tmp_path):
    matrix().save(tmp_path / "store")
    stored = rs.UserItemMatrix.open(tmp_path / "store")
    before = sorted(tmp_path.rglob("*"))
    more = rs.Interactions.from_arrow(pa.table({"user": [0], "item": [1]}), user="user", item="item")
    writers = (
        lambda: stored.append(more),
        stored.compact,
        lambda: matrix().save(tmp_path / "store", overwrite=True),
    )
    with store_lock(tmp_path / "store"):
        for write in writers:
            with pytest.raises(StoreError, match=f"busy: process {os.getpid()}"):
                write()
        rs.UserItemMatrix.open(tmp_path / "store").verify()  # readers need no lock
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_there_is_an_error_of_output(tmp_path):
    with pytest.raises(OutputError, match="No such file"), store_lock(tmp_path / "nothing" / "store"):
        pass
