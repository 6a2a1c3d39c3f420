import errno
import hashlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from fsspec.implementations.local import LocalFileSystem

import recscale_dask as rs
from recscale_dask.errors import OutputError
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.scoring import request as scoring

PARTS = 7


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_USERS", 10)


@pytest.fixture(scope="module")
def model():
    return make_model()


def make_model(seed=0, users=None):
    rows = sp.random_array((65, 40), density=0.2, rng=seed, format="csr")
    users = [f"user {i:02}" for i in range(65)] if users is None else users
    return rs.factorize(rs.UserItemMatrix.from_scipy(rows, users=users), rank=4, executor="serial")


def hashes(folder):
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(folder.glob("*.parquet"))}


def content(folder):
    """Return the bytes of all files, the manifest too."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


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


def test_bytes_are_the_same_on_every_executor_and_of_a_stored_model(model, tmp_path):
    model.save(tmp_path / "model")
    stored = rs.load_model(tmp_path / "model")
    model.recommend_to(tmp_path / "first", k=5, executor="serial")
    expected = content(tmp_path / "first")
    assert len(expected) == PARTS + 1
    engines = [ThreadsExecutor(3), ProcessesExecutor(2)]
    engines += [DaskExecutor(n_workers=2, shared_files=shared) for shared in (None, False)]
    for number, engine in enumerate(engines):
        with engine:
            for name, each in (("memory", model), ("stored", stored)):
                folder = tmp_path / f"{name} {number}"
                each.recommend_to(folder, k=5, executor=engine)
                assert content(folder) == expected


def test_stored_model_goes_on_with_what_the_fitted_one_began(model, tmp_path):
    model.save(tmp_path / "model")
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    expected = content(tmp_path / "recs")
    (tmp_path / "recs" / "part-00003.parquet").unlink()
    rs.load_model(tmp_path / "model").recommend_to(tmp_path / "recs", k=5, executor="threads")
    assert content(tmp_path / "recs") == expected


@pytest.mark.parametrize("ids", [[uuid.UUID(int=i) for i in range(65)], np.arange(65, dtype=np.int16)])
def test_ids_keep_their_type(ids, tmp_path):
    model = make_model(users=ids)
    model.recommend_to(tmp_path / "recs", k=2, executor="serial")
    assert read(tmp_path / "recs").equals(model.recommend(k=2, executor="serial").combine_chunks())
    assert read(tmp_path / "recs")["user"].type == model.users.ids.type


# -- interrupted -----------------------------------------------------------------------------------------


def test_part_that_was_cut_off_is_made_again(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    expected = content(tmp_path / "recs")
    part = tmp_path / "recs" / "part-00001.parquet"
    for broken in (part.read_bytes()[:-9], b""):
        part.write_bytes(broken)
        assert model.recommend_to(tmp_path / "recs", k=5, executor="serial") == 325
        assert content(tmp_path / "recs") == expected


def test_what_a_killed_run_left_is_no_part_and_is_cleaned_up(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    expected = content(tmp_path / "recs")
    for name in (".part-00001.parquet.0123.writing", "._recommendations.json.0123.writing"):
        (tmp_path / "recs" / name).write_bytes(b"PAR1 half")
    assert len(ds.dataset(tmp_path / "recs", format="parquet").to_table()) == 325
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    assert content(tmp_path / "recs") == expected


def test_run_that_was_killed_before_its_manifest_is_begun_anew(model, tmp_path):
    (tmp_path / "recs").mkdir()
    (tmp_path / "recs" / "._recommendations.json.0123.writing").write_bytes(b"{")
    assert model.recommend_to(tmp_path / "recs", k=5, executor="serial") == 325
    assert not [each for each in (tmp_path / "recs").iterdir() if each.name.startswith(".")]


def test_call_that_was_stopped_goes_on_where_it_was(model, tmp_path):
    def stop(event):
        if type(event).__name__ == "BlockDone" and event.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.recommend_to(tmp_path / "recs", k=5, executor="serial", progress=stop)
    manifest = json.loads((tmp_path / "recs" / "_recommendations.json").read_text())
    assert manifest["rows"] is None
    assert 0 < len(hashes(tmp_path / "recs")) < PARTS
    assert model.recommend_to(tmp_path / "recs", k=5, executor="serial") == 325


# -- a file system that refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_full_disk_is_a_plain_error_and_earlier_parts_stay_whole(model, tmp_path, monkeypatch, executor):
    model.recommend_to(tmp_path / "whole", k=5, executor="serial")
    opened = LocalFileSystem._open

    def full(self, path, mode="rb", **options):
        file = opened(self, path, mode=mode, **options)
        if "part-00003" in path and "w" in mode:
            file.write(b"PAR1")
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "_open", full)
        with pytest.raises(OutputError, match=r"No space left on device.*run the same again"):
            model.recommend_to(tmp_path / "recs", k=5, executor=executor)
    names = {each.name for each in (tmp_path / "recs").iterdir()}
    assert "part-00003.parquet" not in names
    assert not [name for name in names if name.startswith(".")]
    before = hashes(tmp_path / "recs")
    assert before.items() <= hashes(tmp_path / "whole").items()
    assert model.recommend_to(tmp_path / "recs", k=5, executor="serial") == 325
    assert content(tmp_path / "recs") == content(tmp_path / "whole")


def test_file_that_may_not_grow_is_a_plain_error_on_processes(tmp_path):
    make_model().save(tmp_path / "model")
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    arguments = [sys.executable, "-W", "error", script, tmp_path / "model", tmp_path / "recs"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
    assert run.stdout.startswith(f"cannot write {tmp_path / 'recs'}: File too large."), run.stderr
    assert {each.name for each in (tmp_path / "recs").iterdir()} == {"_recommendations.json"}


LIMITED = """
import resource, sys
import recscale_dask as rs
from recscale_dask.errors import OutputError

if __name__ == "__main__":
    model = rs.load_model(sys.argv[1])
    with rs.open_executor("processes", n_workers=1) as executor:
        model.recommend_to(sys.argv[2] + " warm", k=2, executor=executor)  # kernels are cached in files too
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))  # less than a part, more than the constants
    with rs.open_executor("processes", n_workers=1) as executor:
        try:
            model.recommend_to(sys.argv[2], k=40, executor=executor)
        except OutputError as error:
            print(error)
"""


@pytest.mark.parametrize("place", ["/proc/recs", "/proc/version"])
def test_place_that_cannot_be_written_is_a_plain_error(model, place):
    if not Path(place).parent.is_dir():
        pytest.skip("no /proc here, which nobody may write to, root neither")
    with pytest.raises(OutputError, match=f"cannot write {place}"):
        model.recommend_to(place, executor="serial")


def test_folder_that_may_only_be_read_is_a_plain_error(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    (tmp_path / "recs" / "part-00002.parquet").unlink()
    (tmp_path / "recs").chmod(0o500)
    try:
        if os.access(tmp_path / "recs", os.W_OK):
            pytest.skip("whoever runs the tests may write everywhere")
        with pytest.raises(OutputError, match="Permission denied"):
            model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    finally:
        (tmp_path / "recs").chmod(0o700)


# -- object stores -----------------------------------------------------------------------------------------


@pytest.fixture
def store():
    """A folder in the store in memory that fsspec has, and its files by name."""
    system = fsspec.filesystem("memory")
    yield lambda: {each.rpartition("/")[2]: system.cat_file(each) for each in system.find("/bucket/recs")}
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_object_store_gets_the_bytes_that_a_disk_gets(model, tmp_path, store, executor):
    assert model.recommend_to("memory://bucket/recs", k=5, executor=executor) == 325
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    assert store() == content(tmp_path / "recs")


def test_object_store_is_gone_on_with_and_cleaned_up(model, store):
    model.recommend_to("memory://bucket/recs", k=5, executor="serial")
    expected = store()
    system = fsspec.filesystem("memory")
    system.rm_file("/bucket/recs/part-00004.parquet")
    system.pipe_file("/bucket/recs/.part-00004.parquet.0123.writing", b"PAR1 half")
    done = []
    assert model.recommend_to("memory://bucket/recs", k=5, executor="serial", progress=done.append) == 325
    assert store() == expected
    assert sum(type(event).__name__ == "BlockDone" for event in done) == 1


def test_folder_that_workers_do_not_share_is_told(model, store):
    with ProcessesExecutor(1) as executor, pytest.raises(OutputError, match="Give a path that all workers share"):
        model.recommend_to("memory://bucket/recs", k=5, executor=executor)


def test_url_of_a_file_is_that_file_and_an_unknown_kind_is_told(model, tmp_path):
    model.recommend_to(tmp_path.as_uri() + "/recs", k=5, executor="serial")
    assert len(hashes(tmp_path / "recs")) == PARTS
    with pytest.raises(OutputError, match="nowhere"):
        model.recommend_to("nowhere://bucket/recs", k=5, executor="serial")


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
    differing = {"k": "k was 5, and is 6 now"}.get(" ".join(other), "")
    with pytest.raises(OutputError, match=f"of another request .*{differing}"):
        model.recommend_to(tmp_path / "recs", executor="serial", **other)
    assert hashes(tmp_path / "recs") == before


def test_another_model_is_refused_also_one_with_the_same_factors(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    renamed = make_model(users=[f"other {i:02}" for i in range(65)])
    assert renamed.factors_sha256() == model.factors_sha256()
    for other in (make_model(seed=1), renamed):
        with pytest.raises(OutputError, match="of another request"):
            other.recommend_to(tmp_path / "recs", k=5, executor="serial")


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", ""), *[("_recommendations.json", text) for text in ("{", "[]", "{}", '{"kind": "x"}', "\xff")]],
)
def test_folder_of_something_else_is_refused(model, tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(OutputError):
        model.recommend_to(tmp_path, executor="serial")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_manifest_of_another_format_is_refused(model, tmp_path):
    model.recommend_to(tmp_path / "recs", k=5, executor="serial")
    manifest = tmp_path / "recs" / "_recommendations.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    with pytest.raises(OutputError, match="has format 99 of recommendations"):
        model.recommend_to(tmp_path / "recs", k=5, executor="serial")


def test_folder_that_is_empty_is_filled(model, tmp_path):
    assert model.recommend_to(tmp_path, k=5, executor="serial") == 325
    assert len(hashes(tmp_path)) == PARTS


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
    assert manifest["request"]["k"] == 5
    assert manifest["rows"] == 325
    assert manifest["partitions"] == {"count": PARTS, "users_each": 10}
    assert manifest["schema"] == {"user": "string", "item": "int64", "rank": "int32", "score": "float"}
    assert pq.read_schema(tmp_path / "recs" / "part-00000.parquet").names == ["user", "item", "rank", "score"]
    assert np.all(pq.read_table(tmp_path / "recs" / "part-00000.parquet")["rank"].to_numpy() >= 1)


@pytest.mark.parametrize("name", ["recs.csv", "recs"])
def test_a_file_that_is_named_otherwise_than_parquet_is_refused(model, tmp_path, name):
    with pytest.raises(OutputError, match=f"{name} would hold Parquet: end its name in .parquet or .pq."):
        model.recommend_file(tmp_path / name)
