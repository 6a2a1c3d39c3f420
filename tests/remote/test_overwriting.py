"""What is at a URL and is written anew is the old or the new, whole, also when the writer is killed."""

import subprocess
import sys

import fsspec
import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.errors import ModelFormatError, OutputError
from recscale_dask.testing.matrices import planted_tastes

WRITER = """
import os, signal, sys
import s3fs.core
import recscale_dask as rs
import recscale_dask.scoring.request

recscale_dask.scoring.request.BATCH_USERS = 10
model, store, *places = sys.argv[1:]
model, matrix = rs.load_model(model), rs.UserItemMatrix.open(store)
call = s3fs.core.S3FileSystem._call_s3

def killed_at(moment):
    when, what, number = moment.split("-")
    seen = 0

    async def counted(self, method, *arguments, **options):
        nonlocal seen
        key = str(options.get("Key"))
        hit = method == "put_object" and (what == "put" or key.endswith("manifest.json"))
        seen += hit
        if hit and seen == int(number) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await call(self, method, *arguments, **options)
        if hit and seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return counted

for place in places:  # no thread has been started yet, so that each writer can be a fork
    child = os.fork()
    if child == 0:
        kind, _, moment = place.rpartition("/")[2].partition("-")
        s3fs.core.S3FileSystem._call_s3 = killed_at(moment)
        if kind == "recs":
            model.recommend_to(place, k=3, executor="serial")
        else:
            (matrix if kind == "store" else model).save(place, overwrite=kind != "first")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, (place, status)
"""
MOMENTS = ["before-put-1", "after-put-3", "before-manifest-1", "after-manifest-1"]
KINDS = {"model": MOMENTS, "store": MOMENTS[-2:], "first": ["after-put-3"], "recs": ["after-put-3"]}


@pytest.fixture(scope="module")
def matrix():
    return rs.UserItemMatrix.from_interactions(
        rs.read_interactions(pa.table(planted_tastes(60, 30, 2, per_user=9).columns()))
    )


@pytest.fixture(scope="module")
def old(matrix):
    return rs.factorize(matrix, rank=4, executor="serial")


@pytest.fixture(scope="module")
def new(matrix):
    return rs.factorize(matrix, rank=2, executor="serial")


@pytest.fixture(scope="module")
def doubled(matrix):
    return rs.UserItemMatrix.from_scipy(matrix.to_scipy() * 2)


@pytest.fixture(scope="module")
def killed(matrix, old, new, doubled, bucket, tmp_path_factory):
    """Folder at a URL whose writers were killed, each at its moment."""
    folder = tmp_path_factory.mktemp("new")
    new.save(folder / "model")
    doubled.save(folder / "store")
    places = [f"{bucket}/killed/{kind}-{moment}" for kind, moments in KINDS.items() for moment in moments]
    for place in places:
        if "/model-" in place:
            old.save(place)
        elif "/store-" in place:
            matrix.save(place)
    subprocess.run([sys.executable, "-c", WRITER, folder / "model", folder / "store", *places], check=True, timeout=100)
    return f"{bucket}/killed"


def objects(place):
    system, path = fsspec.url_to_fs(place)
    system.invalidate_cache()
    return sorted(str(each)[len(path) + 1 :] for each in system.find(path))


def assert_nothing_else_is_at(place):
    """There is the manifest, and one folder of files."""
    manifest, *files = sorted(objects(place), key=lambda name: name != "manifest.json")
    assert manifest == "manifest.json"
    assert len({name.partition("/")[0] for name in files}) == 1


@pytest.mark.parametrize("moment", KINDS["model"])
def test_a_model_whose_writer_was_killed_is_the_old_or_the_new(old, new, killed, moment):
    place = f"{killed}/model-{moment}"
    expected = new if moment == "after-manifest-1" else old
    found = rs.load_model(place)
    assert found.factors_sha256() == expected.factors_sha256()
    new.save(place, overwrite=True)
    assert rs.load_model(place).factors_sha256() == new.factors_sha256()
    assert_nothing_else_is_at(place)


@pytest.mark.parametrize("moment", KINDS["store"])
def test_a_store_whose_writer_was_killed_is_the_old_or_the_new(matrix, doubled, killed, moment):
    place = f"{killed}/store-{moment}"
    expected = doubled if moment == "after-manifest-1" else matrix
    found = rs.UserItemMatrix.open(place)
    assert (found.to_scipy() != expected.to_scipy()).nnz == 0
    doubled.save(place, overwrite=True)
    found = rs.UserItemMatrix.open(place)
    found.verify()
    assert (found.to_scipy() != doubled.to_scipy()).nnz == 0
    assert_nothing_else_is_at(place)


def test_a_first_writer_that_was_killed_is_in_nobodys_way(new, killed):
    place = f"{killed}/first-after-put-3"
    assert len(objects(place)) == 3
    with pytest.raises(ModelFormatError, match="there is no model at"):
        rs.load_model(place)
    new.save(place)
    assert rs.load_model(place).factors_sha256() == new.factors_sha256()
    assert_nothing_else_is_at(place)


def test_recommendations_whose_writer_was_killed_are_continued(new, killed, tmp_path, monkeypatch):
    monkeypatch.setattr("recscale_dask.scoring.request.BATCH_USERS", 10)
    place = f"{killed}/recs-after-put-3"
    assert objects(place) == ["_recommendations.json", "part-00000.parquet", "part-00001.parquet"]
    new.recommend_to(place, k=3, executor="serial")
    new.recommend_to(tmp_path / "recs", k=3, executor="serial")
    system, path = fsspec.url_to_fs(place)
    assert objects(place) == sorted(each.name for each in (tmp_path / "recs").iterdir())
    for each in (tmp_path / "recs").iterdir():
        assert system.cat_file(f"{path}/{each.name}") == each.read_bytes()


def test_an_upload_that_fails_leaves_what_was_there_and_nothing_else(old, new, bucket, monkeypatch):
    place = f"{bucket}/full"
    old.save(place)
    before = objects(place)
    system, _ = fsspec.url_to_fs(place)
    put = system.put_file

    def full(source, target):
        if target.endswith("user_factors.npy"):
            raise OSError(28, "No space left on device")
        put(source, target)

    with monkeypatch.context() as faulty:
        faulty.setattr(system, "put_file", full)
        with pytest.raises(OutputError, match="cannot write s3://bucket/full: No space left"):
            new.save(place, overwrite=True)
    assert objects(place) == before
    assert rs.load_model(place).factors_sha256() == old.factors_sha256()


def test_of_two_writers_at_a_time_one_is_told_and_what_is_there_is_whole(old, new, bucket, monkeypatch):
    place = f"{bucket}/contended"
    old.save(place)
    system, _ = fsspec.url_to_fs(place)
    put = system.put_file

    def contended(source, target):
        put(source, target)
        if target.endswith("users.arrow"):  # the last of the first writer's files
            monkeypatch.setattr(system, "put_file", put)
            new.save(place, overwrite=True)

    monkeypatch.setattr(system, "put_file", contended)
    with pytest.raises(OutputError, match="Does somebody else write to it"):
        old.save(place, overwrite=True)
    assert rs.load_model(place).factors_sha256() == new.factors_sha256()
    assert_nothing_else_is_at(place)


def test_a_model_that_is_replaced_while_it_is_read_is_the_new_one(old, new, bucket, monkeypatch):
    place = f"{bucket}/meanwhile"
    old.save(place)
    system, _ = fsspec.url_to_fs(place)
    get = system.get_file

    def replaced(source, target):
        monkeypatch.setattr(system, "get_file", get)
        new.save(place, overwrite=True)
        get(source, target)

    monkeypatch.setattr(system, "get_file", replaced)
    assert rs.load_model(place).factors_sha256() == new.factors_sha256()


def test_a_folder_that_was_copied_from_a_url_to_a_disk_is_a_model(old, bucket, tmp_path):
    old.save(f"{bucket}/copied")
    system, path = fsspec.url_to_fs(f"{bucket}/copied")
    system.get(path, str(tmp_path / "model"), recursive=True)
    found = rs.load_model(tmp_path / "model")
    assert found.factors_sha256() == old.factors_sha256()
    np.testing.assert_array_equal(*found.stored.arrays("user_factors"), old.user_factors)  # as workers read them


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_file_systems_that_are_no_object_stores_are_written_in_the_same_way(old, new, doubled, kind, tmp_path):
    place = tmp_path.as_uri() if kind == "file" else "memory://no-object-store"
    for model in (old, new):
        model.save(f"{place}/model", overwrite=True)
        assert rs.load_model(f"{place}/model").factors_sha256() == model.factors_sha256()
        assert_nothing_else_is_at(f"{place}/model")
    doubled.save(f"{place}/store")
    rs.UserItemMatrix.open(f"{place}/store").verify()
    new.recommend_file(f"{place}/recs.parquet", k=2)
    assert {each.partition("/")[0] for each in objects(place)} == {"model", "store", "recs.parquet"}
