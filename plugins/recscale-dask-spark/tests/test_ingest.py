"""A Spark frame gives the store of its rows in memory."""

import filecmp
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import DataError
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
    from recscale_dask_spark import frames

    monkeypatch.setattr(frames, "_BATCH_ROWS", 1000)
    pq.write_table(table(), tmp_path / "a.parquet")
    data = rs.read_interactions(tmp_path / "a.parquet")
    rs.UserItemMatrix.from_interactions(data, duplicates=duplicates).save(tmp_path / "memory")
    frame = session.read.parquet(str(tmp_path / "a.parquet")).sortWithinPartitions("user").repartition(5, "item")
    rs.ingest(frames.arrow_reader(frame), tmp_path / "spark", duplicates=duplicates, since="1970-01-01")
    assert same_bytes(tmp_path / "memory", tmp_path / "spark")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.parquet", "memory", "spark"]


def test_a_bad_cell_of_a_spark_frame_is_named(session, tmp_path):
    from recscale_dask_spark.frames import arrow_reader

    frame = session.createDataFrame([("a", 1, 1.0), ("b", 2, float("nan"))], ["user", "item", "value"]).coalesce(1)
    with pytest.raises(DataError, match="value column 'value' has NaN in row 2"):
        rs.ingest(arrow_reader(frame), tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_an_empty_spark_frame_has_no_interactions(session, tmp_path):
    from recscale_dask_spark.frames import arrow_reader

    frame = session.createDataFrame([], "user string, item long")
    with pytest.raises(DataError, match="not one row"):
        rs.ingest(arrow_reader(frame), tmp_path / "s")
