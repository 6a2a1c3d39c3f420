import json

import pytest

import recscale_dask as rs


@pytest.fixture
def store(tmp_path):
    _write(
        tmp_path / "old.csv",
        [(user, item, 1 + (user * item) % 5) for user in range(40) for item in range(user % 7, 30, 3)],
    )
    rs.UserItemMatrix.from_interactions(rs.read_interactions(tmp_path / "old.csv")).save(tmp_path / "store")
    _write(tmp_path / "new.csv", [(user, item, 2) for user in (3, 99) for item in (1, 29, 55)])
    return tmp_path / "store"


def _write(path, rows):
    path.write_text("\n".join(["user,item,rating", *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_append_and_compact_say_what_is_in_the_store_then(store, recscale):
    before = json.loads((store / "manifest.json").read_text())
    answer = recscale("append", store, store.parent / "new.csv", "--json").json()
    assert answer["added"] == {
        "rows": 6,
        "values": answer["n_interactions"] - before["n_stored"],
        "users": 1,
        "items": 1,
    }
    assert (answer["n_users"], answer["n_items"]) == (41, 31)
    again = recscale("append", store, store.parent / "new.csv", "--duplicates", "last")
    assert "6 rows appended; new are 0 values, 0 users, 0 items" in again.out
    assert again.err.startswith("warning: nothing of what was appended is new: all 6 pairs of user and item were in ")
    compacted = recscale("compact", store, "--json").json()
    assert compacted["n_interactions"] == answer["n_interactions"]
    assert "in 1 blocks" in recscale("compact", store).out


def test_a_fit_starts_from_an_earlier_model(store, recscale, tmp_path):
    fit = ("fit", store, "--rank", "4", "--executor", "serial", "--set", "block_size=8", "--json")
    assert recscale(*fit, "--out", tmp_path / "first").code == 0
    assert recscale("append", store, store.parent / "new.csv").code == 0
    answer = recscale(*fit, "--out", tmp_path / "second", "--warm-start", tmp_path / "first").json()
    assert answer["certificate"]["converged"]
    refused = recscale(*fit, "--out", tmp_path / "third", "--warm-start", tmp_path / "first", "--weighting", "binary")
    assert "error: --warm-start was fitted with --weighting None" in refused.err


def test_ids_that_do_not_fit_the_store_are_one_sentence(store, recscale, tmp_path):
    _write(tmp_path / "text.csv", [("anna", "x", 1)])
    result = recscale("append", store, tmp_path / "text.csv")
    assert result.err.startswith("error: users: ids of type string, such as 'anna', cannot be added")
