"""Where workers find the factors and seen items of their users."""

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import BlockFailed
from recscale_dask.execution.portable import dump_bytes, load
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.scoring import user_rows
from recscale_dask.scoring.user_rows import placed_rows

USERS = {
    "all": np.arange(300, dtype=np.int32),
    "a range": np.arange(20, 260, dtype=np.int32),
    "any": np.random.default_rng(0).permutation(300)[:200].astype(np.int32),
}


@pytest.fixture(scope="module")
def model():
    rows = sp.random_array((300, 50), density=0.2, rng=0, format="csr")
    return rs.factorize(rs.UserItemMatrix.from_scipy(rows), rank=6, executor="serial")


@pytest.fixture(scope="module")
def stored(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "model"
    model.save(folder)
    return rs.load_model(folder)


@pytest.fixture(scope="module")
def processes():
    with ProcessesExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("users", USERS.values(), ids=USERS)
@pytest.mark.parametrize("most", [0, 1 << 30], ids=["sent with the job", "placed once"])
def test_rows_are_those_of_the_users_wherever_they_come_from(model, stored, processes, monkeypatch, users, most):
    monkeypatch.setattr(user_rows, "_MOST_PLACED", most)
    part = slice(70, 140)
    wanted = users[part]
    for each in (model, stored):
        for executor in (SerialExecutor(), processes):
            with placed_rows(each, users, executor, with_seen=True) as rows_of:
                rows = load(rows_of(part))
            np.testing.assert_array_equal(rows.factors, model.user_factors[wanted])
            expected = model.seen.rows(wanted)
            np.testing.assert_array_equal(rows.seen.indptr, expected.indptr)
            np.testing.assert_array_equal(rows.seen.indices, expected.indices)


def test_seen_items_stay_where_they_are_if_nobody_needs_them(model, stored, processes):
    for each in (model, stored):
        with placed_rows(each, USERS["all"], processes, with_seen=False) as rows_of:
            assert load(rows_of(slice(3, 9))).seen is None


def test_ids_are_those_of_the_users_wherever_they_come_from(model, stored, processes, monkeypatch):
    users, part = USERS["any"], slice(70, 140)
    for most in (0, 1 << 30):
        monkeypatch.setattr(user_rows, "_MOST_PLACED", most)
        for each in (model, stored):
            for executor in (SerialExecutor(), processes):
                with placed_rows(each, users, executor, with_seen=False, with_ids=True) as rows_of:
                    assert load(rows_of(part)).ids == model.users.take(users[part])


@pytest.mark.parametrize("users", ["all", "a range"])
def test_job_of_users_that_follow_one_another_says_where_they_begin_and_end(model, stored, processes, users):
    for each in (model, stored):
        with placed_rows(each, USERS[users], processes, with_seen=True, with_ids=True) as rows_of:
            assert len(dump_bytes(rows_of(slice(0, 240)))) < 700


def test_job_of_a_stored_model_is_codes_and_a_path(stored, processes):
    with placed_rows(stored, USERS["any"], processes, with_seen=True) as rows_of:
        assert len(dump_bytes(rows_of(slice(0, 200)))) < 200 * 4 + 1000


def test_rows_that_were_placed_are_sent_once_and_released(model, processes, monkeypatch):
    placed = []
    broadcast = processes.broadcast
    monkeypatch.setattr(processes, "broadcast", lambda value: placed.append(broadcast(value)) or placed[-1])
    released = []
    with placed_rows(model, USERS["all"], processes, with_seen=True) as rows_of:
        rows_of(slice(0, 200)), rows_of(slice(200, 300))
        [handle] = placed
        monkeypatch.setattr(handle, "release", lambda: released.append(handle))
    assert released == [handle]


def test_model_that_is_gone_is_told_with_what_to_do(model, processes, tmp_path):
    model.save(tmp_path / "model")
    loaded = rs.load_model(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(BlockFailed, match="load it from a folder that all of them see"):
        loaded.recommend(k=2, executor=processes)
