"""Forecasts are held against what is there: sizes of files, arrays that tasks make, the memory of a process."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import Transform, summarize
from recscale_dask.execution.contract import Capabilities
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.forecast import MatrixBytes, Workers
from recscale_dask.solvers.rates import NOMINAL
from recscale_dask.solvers.svd import SVDSolver
from recscale_dask.tree import fold_tree


@given(st.integers(1, 200))
def test_a_tree_holds_as_many_sums_as_are_counted_for_it(n):
    held = most = 0

    def results():
        nonlocal held, most
        for _ in range(n):
            most = max(most, held)
            held += 1
            yield 1

    def combine(left, right):
        nonlocal held
        held -= 1
        return left + right

    assert fold_tree(results(), combine) == n
    serial = Workers(name="serial", parallelism=1, capabilities=Capabilities())
    fold = serial.fold(n)
    assert fold.n_jobs == n
    assert most <= fold.on_driver  # which has room for one that waits


def test_groups_of_workers_in_other_processes_are_those_of_a_run():
    processes = Workers(name="processes", parallelism=3, capabilities=Capabilities(isolated=True, shared_files=True))
    fold = processes.fold(50)
    assert fold.n_jobs == 4  # of 16 blocks each
    assert fold.on_worker == 1 + 4
    assert fold.running == 3


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    rows = sp.random_array((5000, 3000), density=0.02, rng=0, dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(rows)


def test_bytes_of_a_store_are_those_of_its_files(matrix, tmp_path):
    matrix.save(tmp_path / "store")
    size = sum(each.stat().st_size for each in (tmp_path / "store" / "blocks").iterdir())
    counted = MatrixBytes.of(rs.UserItemMatrix.open(tmp_path / "store"))
    assert counted.store == pytest.approx(size, rel=0.02)
    assert counted.block * counted.n_blocks == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("weighting", [None, "binary", "log"])
def test_bytes_of_a_model_are_those_of_its_files(matrix, tmp_path, weighting):
    model = rs.factorize(matrix, rank=16, weighting=weighting, tol=0.5, executor="serial")
    model.save(tmp_path / "model")
    size = sum(each.stat().st_size for each in (tmp_path / "model").iterdir())
    assert rs.plan(matrix, rank=16, weighting=weighting, executor="serial").model_bytes == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("weighting", [None, "binary", "log", "tfidf", "bm25"])
@pytest.mark.parametrize("scaling", [(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)])
def test_bytes_beside_a_block_are_what_its_transform_takes(weighting, scaling):
    rows = sp.random_array((2000, 4000), density=0.025, format="csr", rng=0, dtype=np.float32)
    block = Block(0, 0, rows.indptr, rows.indices, rows.data, 4000)
    users, items = scaling
    transform = Transform(weighting, summarize(block), users, np.ones(4000) if items else None)
    transform(block)  # what NumPy keeps is there now
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        transform(block)
        taken = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    matrix = rs.UserItemMatrix.from_scipy(rows)
    problem = Problem(matrix=matrix, rank=2, weighting=weighting, user_scaling=users, item_scaling=items)
    workers = Workers(name="serial", parallelism=1, capabilities=Capabilities())
    counted = SVDSolver().forecast_of(problem, workers, NOMINAL).transforming
    assert counted * len(block.values) == pytest.approx(taken, rel=0.1, abs=0.3 * len(block.values))


_MEASURED = """
import sys, threading
import psutil
import recscale_dask as rs

path, executor = sys.argv[1:]
matrix = rs.UserItemMatrix.open(path)
peak, done = 0, threading.Event()


def watch():
    global peak
    me = psutil.Process()
    while not done.wait(0.02):
        peak = max(peak, sum(each.memory_full_info().pss for each in (me, *me.children(recursive=True))))


watcher = threading.Thread(target=watch)
watcher.start()
rs.factorize(matrix, rank=32, tol=1e-2, executor=executor)
done.set()
watcher.join()
print(peak)
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="proportional set sizes are Linux's")
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_peak_of_a_fit_is_within_a_quarter_of_the_forecast(tmp_path, executor):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 100_000, 5_000_000), (60_000 * rng.random(5_000_000) ** 3).astype(np.int64)
    rows = sp.coo_array((rng.random(5_000_000, np.float32) + 1, (users, items)), shape=(100_000, 60_000))
    rs.UserItemMatrix.from_scipy(rows).save(tmp_path / "store")
    plan = rs.plan(tmp_path / "store", rank=32, tol=1e-2, executor=executor)
    command = [sys.executable, "-W", "ignore", "-c", _MEASURED, str(tmp_path / "store"), executor]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.75 < plan.peak_bytes / peak < 1.33, str(plan)
