"""Data, stores, models and recommendations at s3:// URLs, over the real protocol."""

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import DataError, ModelFormatError, OutputError, StoreError
from recscale_dask.testing.matrices import planted_tastes


@pytest.fixture(scope="module")
def ratings():
    return pa.table(planted_tastes(300, 120, 4, per_user=20).columns())


@pytest.fixture(scope="module")
def matrix(ratings):
    return rs.UserItemMatrix.from_interactions(rs.read_interactions(ratings))


@pytest.fixture(scope="module")
def model(matrix):
    return rs.factorize(matrix, rank=8, executor="serial")


@pytest.fixture(scope="module")
def store(matrix, bucket):
    matrix.save(f"{bucket}/store")
    return f"{bucket}/store"


@pytest.fixture(scope="module")
def saved(model, bucket):
    model.save(f"{bucket}/model")
    return f"{bucket}/model"


def test_a_store_comes_back_as_it_was(matrix, store):
    again = rs.UserItemMatrix.open(store)
    assert (again.to_scipy() != matrix.to_scipy()).nnz == 0
    assert again.users.ids.equals(matrix.users.ids)
    again.verify()


def test_a_model_comes_back_as_it_was(model, saved):
    again = rs.load_model(saved)
    assert again.factors_sha256() == model.factors_sha256()
    assert again.recommend(k=5).equals(model.recommend(k=5))
    assert again.recommend(k=5, executor="processes").equals(model.recommend(k=5))


def test_workers_that_share_no_disk_read_the_store_and_write_the_recommendations(
    model, store, saved, bucket, tmp_path, monkeypatch
):
    (tmp_path / "tmp").mkdir()
    with rs.open_executor("serial") as serial:
        expected = model.recommend(k=5, executor=serial)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TMPDIR", str(tmp_path / "tmp"))
        elsewhere.chdir(tmp_path)
        executor = rs.open_executor("dask", n_workers=2, shared_files=False)
        executor.start()
    try:
        assert not executor.capabilities.shared_files
        fitted = rs.factorize(rs.UserItemMatrix.open(store), rank=8, executor=executor)
        rs.load_model(saved).recommend_to(f"{bucket}/recs", k=5, executor=executor)
    finally:
        executor.stop()
    assert fitted.factors_sha256() == model.factors_sha256()
    with fsspec.open(f"{bucket}/recs/part-00000.parquet") as file:
        assert pq.read_table(file).equals(expected)


def test_files_are_read_and_ingested(ratings, matrix, bucket):
    with fsspec.open(f"{bucket}/raw/ratings.parquet", "wb") as file:
        pq.write_table(ratings, file)
    assert len(rs.read_interactions(f"{bucket}/raw/*.parquet")) == len(ratings)
    ingested = rs.ingest(f"{bucket}/raw", f"{bucket}/ingested")
    assert (ingested.to_scipy() != matrix.to_scipy()).nnz == 0
    assert ingested.store == f"{bucket}/ingested"


def test_one_file_of_recommendations(model, bucket):
    model.recommend_file(f"{bucket}/best.parquet", k=3)
    with fsspec.open(f"{bucket}/best.parquet") as file:
        assert pq.read_table(file).equals(model.recommend(k=3))
    with pytest.raises(OutputError, match="exists already"):
        model.recommend_file(f"{bucket}/best.parquet", k=3)


def test_what_is_there_is_overwritten_only_if_it_is_the_same_kind(model, matrix, bucket):
    place = f"{bucket}/kinds"
    model.save(place)
    with pytest.raises(OutputError, match="exists already"):
        model.save(place)
    with pytest.raises(OutputError, match="not a store, so it is not overwritten"):
        matrix.save(place, overwrite=True)
    smaller = rs.factorize(matrix, rank=2)
    before = rs.load_model(place)
    smaller.save(place, overwrite=True)
    assert rs.load_model(place).rank == 2
    assert before.rank == 8
    np.testing.assert_array_equal(before.user_factors, model.user_factors)


def test_a_store_that_is_replaced_is_read_anew(matrix, bucket):
    place = f"{bucket}/replaced"
    matrix.save(place)
    rs.UserItemMatrix.open(place).to_scipy()
    doubled = rs.UserItemMatrix.from_scipy(matrix.to_scipy() * 2)
    doubled.save(place, overwrite=True)
    again = rs.UserItemMatrix.open(place)
    again.verify()
    assert again.to_scipy().sum() == doubled.to_scipy().sum()


def test_a_missing_bucket_is_a_sentence_and_is_not_made(model, matrix, bucket):
    with pytest.raises(OutputError, match="cannot write s3://buckett/model: there is no such bucket"):
        model.save("s3://buckett/model")
    with pytest.raises(OutputError, match="there is no such bucket"):
        model.recommend_to("s3://buckett/recs")
    with pytest.raises(StoreError, match=r"cannot read s3://buckett/store: there is no such bucket"):
        rs.UserItemMatrix.open("s3://buckett/store")
    with pytest.raises(ModelFormatError, match="there is no such bucket"):
        rs.load_model("s3://buckett/model")
    assert not fsspec.filesystem("s3").exists("buckett")


def test_missing_credentials_are_a_sentence(saved, model, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    system = type(fsspec.filesystem("s3"))
    system.clear_instance_cache()
    try:
        for work, error in [
            (lambda: rs.load_model(saved), ModelFormatError),
            (lambda: rs.read_interactions("s3://bucket/raw/ratings.parquet"), DataError),
            (lambda: model.save("s3://bucket/new"), OutputError),
            (lambda: model.recommend_to("s3://bucket/new"), OutputError),
        ]:
            with pytest.raises(error, match=r"there are no credentials for it.*AWS_ACCESS_KEY_ID"):
                work()
    finally:
        system.clear_instance_cache()


def test_a_store_or_a_model_is_no_data(store, saved):
    for place, noun in [(store, "store"), (saved, "model")]:
        with pytest.raises(DataError, match=f"is a {noun}, and no data"):
            rs.read_interactions(place)
