"""Spark frames: interactions come out of them, recommendations go into them."""

import filecmp
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import DataError, UnknownIdError
from recscale_dask.io import spark_frames
from recscale_dask_spark import health

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)


@pytest.fixture(scope="module")
def session():
    with rs.open_executor("spark", master="local[2]"):
        from pyspark.sql import SparkSession

        yield SparkSession.builder.getOrCreate()


def table(n=6000):
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": pa.array([f"u{each}" for each in rng.integers(0, 300, n)]),
            "item": rng.integers(0, 100, n),
            "value": rng.normal(size=n).astype(np.float32),
            "time": pa.array(rng.integers(0, 9, n) * 10**6, pa.timestamp("us", "UTC")),
        }
    )


def same_bytes(one, other):
    names = [str(each.relative_to(one)) for each in one.rglob("*") if each.is_file()]
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_a_spark_frame_gives_the_store_of_its_rows_in_memory(session, tmp_path, duplicates, monkeypatch):
    monkeypatch.setattr(spark_frames, "_BATCH_ROWS", 1000)
    pq.write_table(table(), tmp_path / "a.parquet")
    data = rs.read_interactions(tmp_path / "a.parquet")
    rs.UserItemMatrix.from_interactions(data, duplicates=duplicates).save(tmp_path / "memory")
    frame = session.read.parquet(str(tmp_path / "a.parquet")).sortWithinPartitions("user").repartition(5, "item")
    rs.ingest(frame, tmp_path / "spark", duplicates=duplicates, since="1970-01-01")
    assert same_bytes(tmp_path / "memory", tmp_path / "spark")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.parquet", "memory", "spark"]


def test_a_bad_cell_of_a_spark_frame_is_named(session, tmp_path):
    frame = session.createDataFrame([("a", 1, 1.0), ("b", 2, float("nan"))], ["user", "item", "value"]).coalesce(1)
    with pytest.raises(DataError, match="value column 'value' has NaN in row 2"):
        rs.ingest(frame, tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_an_empty_spark_frame_has_no_interactions(session, tmp_path):
    frame = session.createDataFrame([], "user string, item long")
    with pytest.raises(DataError, match="not one row"):
        rs.ingest(frame, tmp_path / "s")


def test_interactions_of_a_spark_frame_are_those_of_its_rows(session, tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    frame = session.read.parquet(str(tmp_path / "a.parquet")).withColumnRenamed("value", "how.often")
    found = rs.read_interactions(frame.selectExpr("*", "array(1) as another"), value="how.often")
    expected = rs.read_interactions(tmp_path / "a.parquet")
    assert (
        rs.UserItemMatrix.from_interactions(found).fingerprint
        == rs.UserItemMatrix.from_interactions(expected).fingerprint
    )


@pytest.fixture(scope="module")
def model():
    return rs.factorize(rs.read_interactions(table().drop(["time"])), rank=4, executor="serial")


@pytest.mark.parametrize("way", ["sent", "mapped"])
def test_recommendations_are_a_spark_frame_of_the_same_rows(session, model, tmp_path, way, monkeypatch):
    from recscale_dask_spark import frames

    monkeypatch.setattr(frames, "_USERS", 100)
    model.save(tmp_path / "model")
    given = model if way == "sent" else tmp_path / "model"
    found = frames.recommend_frame(given, session, k=5, deny=[3, 4])
    assert found.rdd.getNumPartitions() == 3
    assert found.toArrow().equals(model.recommend(k=5, deny=[3, 4], executor="serial"))


def test_users_may_be_ids_or_a_spark_frame(session, model):
    from recscale_dask_spark.frames import recommend_frame

    expected = model.recommend(["u7", "u3"], k=3, executor="serial")
    assert recommend_frame(model, session, ["u7", "u3"], k=3).coalesce(1).toArrow().equals(expected)
    users = session.createDataFrame([("u7",), ("u3",)], "user string").coalesce(1)
    assert recommend_frame(model, session, users, k=3).toArrow().equals(expected)
    with pytest.raises(UnknownIdError):
        recommend_frame(model, session, ["nobody"])
