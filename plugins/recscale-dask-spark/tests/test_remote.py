"""Store, model and recommendations in a bucket, with Spark's workers that see no file of the driver's."""

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.testing.matrices import planted_tastes
from recscale_dask.testing.s3_server import s3_server
from recscale_dask_spark import health

MISSING = health.check()
pytestmark = pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_server() as bucket:
        yield bucket


def test_workers_that_share_no_disk_read_the_store_and_write_the_recommendations(bucket: str, tmp_path: Path) -> None:
    ratings = rs.read_interactions(pa.table(planted_tastes(300, 120, 4, per_user=20).columns()))
    expected = rs.factorize(ratings, rank=8, executor="serial")
    rs.UserItemMatrix.from_interactions(ratings).save(f"{bucket}/store")
    config = {"spark.executorEnv.TMPDIR": str(tmp_path)}
    with rs.open_executor("spark", master="local[2]", shared_files=False, config=config) as executor:
        rs.factorize(rs.UserItemMatrix.open(f"{bucket}/store"), rank=8, executor=executor).save(f"{bucket}/model")
        model = rs.load_model(f"{bucket}/model")
        model.recommend_to(f"{bucket}/recs", k=5, executor=executor)
        assert list(tmp_path.glob("recscale-*"))  # the workers' own, of blocks of the store
    assert model.factors_sha256() == expected.factors_sha256()
    with fsspec.open(f"{bucket}/recs/part-00000.parquet") as file:
        assert pq.read_table(file).equals(expected.recommend(k=5, executor="serial"))
