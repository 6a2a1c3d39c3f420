import hashlib
import json

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import OutputError
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.scoring import recommend as scoring

PARTS = 7


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_USERS", 10)


@pytest.fixture(scope="module")
def model():
    return make_model()


def make_model(seed=0, users=None):
    rows = sp.random_array((65, 40), density=0.2, rng=seed, format="csr")
    users = users or [f"user {i:02}" for i in range(65)]
    return rs.factorize(rs.UserItemMatrix.from_scipy(rows, users=users), rank=4, executor="serial")


def hashes(folder):
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(folder.glob("*.parquet"))}


def read(folder):
    return ds.dataset(sorted(map(str, folder.glob("*.parquet")))).to_table().combine_chunks()


def test_files_hold_what_recommend_returns(model, tmp_path):
    n_rows = model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    expected = model.recommend(k=5, executor="serial").combine_chunks()
    assert read(tmp_path / "recs").equals(expected)
    assert n_rows == len(expected)
    assert len(hashes(tmp_path / "recs")) == PARTS


def test_options_are_those_of_recommend(model, tmp_path):
    options = {"users": ["user 03", "user 60", "user 01"], "k": 3, "allow": range(20), "deny": [3]}
    model.recommend_to(tmp_path / "recs", executor="serial", exclude_seen=False, **options)
    expected = model.recommend(executor="serial", exclude_seen=False, **options)
    assert read(tmp_path / "recs").equals(expected.combine_chunks())


def test_bytes_are_the_same_on_every_executor(model, tmp_path):
    with ProcessesExecutor(2) as processes:
        for name, executor in (("a", "serial"), ("b", "threads"), ("c", processes)):
            model.recommend_to(tmp_path / name, k=5, executor=executor)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b") == hashes(tmp_path / "c")
    assert len(hashes(tmp_path / "a")) == PARTS


def test_only_missing_parts_are_made_again(model, tmp_path):
    folder = tmp_path / "recs"
    n_rows = model.recommend_to(folder, k=5, executor="serial")
    before = hashes(folder)
    times = {each.name: each.stat().st_mtime_ns for each in folder.glob("*.parquet")}
    missing = {"part-00002.parquet", "part-00006.parquet"}
    for name in missing:
        (folder / name).unlink()
    done = []
    assert model.recommend_to(folder, k=5, executor="serial", progress=done.append) == n_rows
    assert hashes(folder) == before
    kept = {name: (folder / name).stat().st_mtime_ns for name in before.keys() - missing}
    assert kept == {name: times[name] for name in kept}
    assert sum(type(event).__name__ == "BlockDone" for event in done) == 2


@pytest.mark.parametrize("other", [{"k": 6}, {"k": 5, "users": ["user 01"]}, {"k": 5, "deny": [1]}])
def test_another_request_is_refused_and_nothing_is_touched(model, tmp_path, other):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    before = hashes(tmp_path / "recs")
    with pytest.raises(OutputError, match="of another request"):
        model.recommend_to(tmp_path / "recs", executor="serial", **other)
    assert hashes(tmp_path / "recs") == before


def test_another_model_is_refused_also_one_with_the_same_factors(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    renamed = make_model(users=[f"other {i:02}" for i in range(65)])
    assert renamed.factors_sha256() == model.factors_sha256()
    for other in (make_model(seed=1), renamed):
        with pytest.raises(OutputError, match="of another request"):
            other.recommend_to(tmp_path / "recs", k=5, executor="serial")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_folder_of_something_else_is_refused(model, tmp_path, content):
    if content is not None:
        (tmp_path / "_recommendations.json").write_text(content)
    with pytest.raises(OutputError):
        model.recommend_to(tmp_path, executor="serial")
    assert hashes(tmp_path) == {}


def test_path_that_is_a_file_or_has_no_parent_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "recs", tmp_path / "nowhere" / "recs"):
        with pytest.raises(OutputError):
            model.recommend_to(path, executor="serial")
    assert (tmp_path / "file").read_text() == "mine"


def test_no_users_still_make_a_readable_data_set(model, tmp_path):
    assert model.recommend_to(tmp_path / "recs", users=[], executor="serial") == 0
    assert read(tmp_path / "recs").column_names == ["user", "item", "rank", "score"]


def test_nothing_but_parts_and_manifest_is_left(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="threads")
    names = {each.name for each in (tmp_path / "recs").iterdir()}
    assert names == {"_recommendations.json", *[f"part-{i:05d}.parquet" for i in range(PARTS)]}
    manifest = json.loads((tmp_path / "recs" / "_recommendations.json").read_text())
    assert manifest["k"] == 5
    assert pq.read_schema(tmp_path / "recs" / "part-00000.parquet").names == ["user", "item", "rank", "score"]
    assert np.all(pq.read_table(tmp_path / "recs" / "part-00000.parquet")["rank"].to_numpy() >= 1)
