"""A plan tells what a fit takes before it is run, and a limit refuses what does not fit, with what would."""

import dataclasses
import json
import re

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.api import planning
from recscale_dask.api.planning import Plan, Planner
from recscale_dask.errors import MemoryLimitError, OptionError, OutputError, UnknownNameError
from recscale_dask.execution.contract import Capabilities
from recscale_dask.execution.memory import byte_count, usable_memory
from recscale_dask.solvers import machine_rates as rates_module
from recscale_dask.solvers.base import Problem
from recscale_dask.solvers.forecast import Workers
from recscale_dask.solvers.rates import NOMINAL, Rates
from recscale_dask.solvers.svd import SVDSolver

MIB = 1 << 20


@pytest.fixture(scope="module")
def wide() -> rs.UserItemMatrix:
    """Many items, so that vectors take more than Python does; few values, so that fits are quick."""
    return rs.UserItemMatrix.from_scipy(sp.random_array((60_000, 50_000), density=1e-4, rng=0, dtype=np.float32))


@pytest.fixture(scope="module")
def stored(wide, tmp_path_factory) -> rs.UserItemMatrix:
    path = tmp_path_factory.mktemp("stored") / "store"
    wide.save(path)
    return rs.UserItemMatrix.open(path)


def planner(matrix, workers=None, limit=None, rates=NOMINAL, **options) -> Planner:
    problem = Problem(matrix=matrix, **{"rank": 32, "tol": 1e-2, **options})
    workers = workers or Workers(name="threads", parallelism=2, capabilities=Capabilities())
    return Planner("svd", SVDSolver(), problem, workers, limit, rates)


def test_a_plan_names_every_stage_and_is_plain_values(wide):
    plan = rs.plan(wide, rank=16, executor="threads")
    assert [stage.name for stage in plan.stages] == ["read", "passes", "certificate", "user factors", "save"]
    assert plan.fits
    assert not plan.advice
    values = plan.as_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["peak_bytes"] == max(stage["peak_bytes"] for stage in values["stages"])
    assert values["seconds"] > 0


def test_a_plan_is_a_table_with_a_line_for_each_stage(wide):
    text = str(rs.plan(wide, rank=16, executor="serial"))
    for stage in ("read", "passes", "certificate", "user factors", "save"):
        assert re.search(rf"^{stage} .*\d", text, re.MULTILINE)
    assert "fits" in text
    assert repr(rs.plan(wide, rank=16, executor="serial")).splitlines()[0] == text.splitlines()[0]


def test_method_of_the_plan_is_what_the_fit_then_does(wide):
    plan = rs.plan(wide, rank=8, tol=0.1, executor="serial")
    assert rs.factorize(wide, rank=8, tol=0.1, executor="serial").provenance["plan"] == plan.method


def test_plan_takes_the_options_of_factorize_and_refuses_others(wide):
    assert rs.plan(wide, rank=16, basis_size=48, executor="serial").method["basis_size"] == 48
    with pytest.raises(OptionError, match="no option passes"):
        rs.plan(wide, passes=3)
    with pytest.raises(OptionError, match="rank must be below"):
        rs.plan(wide, rank=50_000)
    with pytest.raises(UnknownNameError):
        rs.plan(wide, executor="sparks")


def test_popularity_takes_one_factor_whatever_the_rank(wide):
    assert rs.plan(wide, solver="popularity", rank=10_000).peak_bytes < rs.plan(wide, rank=64).peak_bytes


# -- limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "count"), [("2GiB", 2 << 30), ("500MB", 500_000_000), (123, 123), ("1.5 kB", 1500)])
def test_limits_are_bytes_or_text(limit, count):
    assert byte_count(limit) == count


@pytest.mark.parametrize("limit", ["much", "", 0, -5, 2.5, True, "-1GiB", "2 apples", [1]])
def test_other_limits_say_what_one_is(limit):
    with pytest.raises(OptionError, match="memory_limit is a number of bytes, or text such as '2GiB'"):
        byte_count(limit)


def test_what_does_not_fit_is_refused_before_any_work(wide, tmp_path):
    seen = []
    with pytest.raises(MemoryLimitError) as refused:
        rs.factorize(
            wide, rank=64, memory_limit="300MiB", executor="threads", progress=seen.append, checkpoint=tmp_path / "c"
        )
    assert not seen
    assert not list(tmp_path.iterdir())
    message = str(refused.value)
    assert "svd of rank 64 needs about" in message
    assert "300.00 MiB are there" in message
    assert "rank=" in message


def advised(plan: Plan, pattern: str) -> int:
    return next(int(found[1]) for each in plan.advice if (found := re.search(pattern, each)))


def test_the_rank_that_is_advised_is_the_largest_that_fits(wide):
    limit = rs.plan(wide, rank=10, tol=0.5, executor="threads").peak_bytes
    plan = rs.plan(wide, rank=40, tol=0.5, memory_limit=limit, executor="threads")
    assert not plan.fits
    rank = advised(plan, r"^rank=(\d+)$")
    assert rank >= 10
    model = rs.factorize(wide, rank=rank, tol=0.5, memory_limit=limit, executor="threads")
    assert model.rank == rank
    with pytest.raises(MemoryLimitError):
        rs.factorize(wide, rank=rank + 1, tol=0.5, memory_limit=limit, executor="threads")


def test_memory_that_is_advised_is_enough(wide):
    plan = rs.plan(wide, rank=40, memory_limit="300MiB", executor="threads")
    enough = advised(plan, r"^(\d+)MiB of memory$")
    assert rs.plan(wide, rank=40, memory_limit=f"{enough}MiB", executor="threads").fits
    assert not rs.plan(wide, rank=40, memory_limit=f"{enough - 1}MiB", executor="threads").fits


def test_fewer_workers_that_are_advised_fit(wide):
    many = Workers(name="threads", parallelism=8, capabilities=Capabilities())
    limit = planner(wide, dataclasses.replace(many, parallelism=3)).plan().peak_bytes
    plan = planner(wide, many, limit).plan()
    count = advised(plan, r"^n_workers=(\d+) for executor 'threads'$")
    assert count == 3
    assert planner(wide, dataclasses.replace(many, parallelism=count), limit).plan().fits


def test_a_smaller_basis_that_is_advised_fits(wide):
    large = dataclasses.replace(planner(wide, rank=8), solver=SVDSolver(basis_size=2000, block_size=64))
    limit = large.plan().peak_bytes - 4 * MIB
    size = advised(dataclasses.replace(large, memory_limit=limit).plan(), r"^basis_size=(\d+) ")
    smaller = SVDSolver(basis_size=size, block_size=64)
    assert dataclasses.replace(large, memory_limit=limit, solver=smaller).plan().fits


def test_a_store_is_advised_where_it_fits_and_takes_less(wide, stored):
    in_memory, on_disk = planner(wide).plan(), planner(stored).plan()
    assert on_disk.peak_bytes < in_memory.peak_bytes
    limit = on_disk.peak_bytes
    assert any("UserItemMatrix.open" in each for each in planner(wide, limit=limit).plan().advice)
    assert planner(stored, limit=limit).plan().fits


def test_threads_are_advised_in_the_place_of_processes(wide):
    processes = Workers(name="processes", parallelism=2, capabilities=Capabilities(isolated=True, shared_files=True))
    limit = planner(wide).plan().peak_bytes
    plan = planner(wide, processes, limit).plan()
    assert not plan.fits
    assert "executor='threads'" in plan.advice


def test_a_limit_too_small_for_anything_says_how_much_is_needed(wide):
    with pytest.raises(MemoryLimitError, match=r"1.00 MiB are there. What would fit: \d+MiB of memory\."):
        rs.factorize(wide, memory_limit="1MiB", executor="serial")


def test_a_limit_changes_no_bit(wide):
    free = rs.factorize(wide, rank=8, tol=0.1, executor="serial")
    limited = rs.factorize(wide, rank=8, tol=0.1, executor="serial", memory_limit="10GiB")
    assert limited.factors_sha256() == free.factors_sha256()
    assert limited.provenance["options"] == free.provenance["options"]


def test_without_a_limit_only_what_certainly_does_not_fit_is_refused(wide, monkeypatch):
    needed = rs.plan(wide, rank=8, tol=0.1, executor="serial").peak_bytes
    monkeypatch.setattr(planning, "usable_memory", lambda: int(0.8 * needed))
    assert not rs.plan(wide, rank=8, tol=0.1, executor="serial").fits
    rs.factorize(wide, rank=8, tol=0.1, executor="serial")
    monkeypatch.setattr(planning, "usable_memory", lambda: int(0.7 * needed))
    with pytest.raises(MemoryLimitError):
        rs.factorize(wide, rank=8, tol=0.1, executor="serial")


def test_memory_of_the_machine_is_more_than_this_process_has():
    assert 50 * MIB < usable_memory() < 1 << 50


# -- workers -------------------------------------------------------------------------------------------


def test_workers_in_this_process_get_nothing_sent(wide):
    assert planner(wide).plan().bytes_moved == 0


def test_workers_elsewhere_each_get_the_constants_and_their_memory_is_not_this_machines(wide):
    elsewhere = Workers(name="dask", parallelism=4, capabilities=Capabilities(isolated=True, folds=True))
    here = dataclasses.replace(elsewhere, capabilities=Capabilities(isolated=True, shared_files=True))
    remote, local = planner(wide, elsewhere).plan(), planner(wide, here).plan()
    assert remote.peak_bytes == remote.peak_driver_bytes
    assert local.peak_bytes > local.peak_driver_bytes
    assert remote.bytes_moved > local.bytes_moved
    assert remote.peak_worker_bytes > local.peak_worker_bytes


def test_a_worker_elsewhere_has_to_fit_too(wide):
    elsewhere = Workers(name="dask", parallelism=1, capabilities=Capabilities(isolated=True, folds=True))
    plan = planner(wide, elsewhere).plan()
    stages = [dataclasses.replace(stage, worker={"block": 1 << 40}) for stage in plan.stages]
    assert not dataclasses.replace(plan, stages=tuple(stages)).fits


# -- rates ---------------------------------------------------------------------------------------------


def test_rates_of_the_machine_change_seconds_and_nothing_else(wide):
    fast = planner(wide).plan()
    slow_rates = Rates(sparse={kind: rate / 10 for kind, rate in NOMINAL.sparse.items()}, load=NOMINAL.load / 10)
    slow = planner(wide, rates=slow_rates).plan()
    assert slow.seconds > fast.seconds
    assert slow.method == fast.method
    assert slow.peak_bytes == fast.peak_bytes


def test_rates_are_measured_once_and_those_of_small_matrices_are_constants(wide, stored):
    small = rs.UserItemMatrix.from_scipy(sp.eye_array(50))
    assert rates_module.machine_rates(Problem(matrix=small, rank=3)) is NOMINAL
    for matrix in (wide, stored):
        measured = rates_module.machine_rates(Problem(matrix=matrix, rank=3))
        assert measured is rates_module.machine_rates(Problem(matrix=matrix, rank=5))
        assert measured is not NOMINAL
        numbers = [*measured.sparse.values(), *measured.dense.values(), measured.load, measured.digest, measured.disk]
        assert all(0 < number < 1e15 for number in numbers)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (3000, 20), (400, 3000), (3000, 400)])
@pytest.mark.parametrize("center", [None, "items", "users"])
@pytest.mark.parametrize(
    "capabilities",
    [Capabilities(), Capabilities(isolated=True), Capabilities(isolated=True, shared_files=True, folds=True)],
)
def test_every_kind_of_fit_has_a_plan(shape, center, capabilities):
    matrix = rs.UserItemMatrix.from_scipy(sp.random_array(shape, density=0.1, rng=0))
    workers = Workers(name="dask", parallelism=3, capabilities=capabilities)
    problem = Problem(matrix=matrix, rank=5, weighting="bm25", user_scaling=0.5, item_scaling=0.5)
    plan = Planner("svd", SVDSolver(center=center), problem, workers).plan()
    assert plan.fits
    assert ("means" in [stage.name for stage in plan.stages]) == (center is not None)
    assert ("transpose" in [stage.name for stage in plan.stages]) == (shape[0] < shape[1])
    for stage in plan.stages:
        assert stage.seconds > 0
        assert all(size > 0 for size in (*stage.driver.values(), *stage.worker.values()))
    assert json.loads(json.dumps(plan.as_dict()))["peak_bytes"] == plan.peak_bytes


def test_a_disk_that_is_too_small_for_the_checkpoints_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "free_disk", lambda place: 10_000)
    seen = []
    with pytest.raises(OutputError, match=r"checkpoints .* are free at .*state.*basis_size"):
        rs.factorize(np.eye(3000) + 1, rank=8, checkpoint=tmp_path / "state", executor="threads", progress=seen.append)
    assert seen == []
    assert not (tmp_path / "state").exists()
