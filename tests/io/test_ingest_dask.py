"""Dask computes, on threads or a cluster; the store is the same."""

import filecmp

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import DataError, OptionError


def table(n=5000):
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": pa.array([f"u{each}" for each in rng.integers(0, 300, n)]),
            "item": rng.integers(0, 100, n),
            "value": rng.normal(size=n).astype(np.float32),
            "time": rng.integers(0, 9, n),
        }
    )


def same_bytes(one, other):
    names = [str(each.relative_to(one)) for each in one.rglob("*") if each.is_file()]
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


@pytest.fixture(scope="module")
def cluster():
    with rs.open_executor("dask", n_workers=2, threads_per_worker=1) as executor:
        yield executor


@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_a_dask_frame_gives_the_store_of_the_rows_in_memory(tmp_path, cluster, duplicates):
    rs.ingest(table(), tmp_path / "first", duplicates=duplicates)
    frame = dd.from_pandas(table().to_pandas(), npartitions=7, sort=False)
    rs.ingest(frame, tmp_path / "threads", duplicates=duplicates)
    rs.ingest(frame, tmp_path / "cluster", duplicates=duplicates, executor=cluster)
    assert same_bytes(tmp_path / "first", tmp_path / "threads")
    assert same_bytes(tmp_path / "first", tmp_path / "cluster")


def test_files_are_read_by_the_workers(tmp_path, cluster):
    for number in range(5):
        pq.write_table(table().slice(1000 * number, 1000), tmp_path / f"{number}.parquet")
        pyarrow.csv.write_csv(table().slice(1000 * number, 1000), tmp_path / f"{number}.csv")
    rs.ingest(table(), tmp_path / "first")
    for kind in ("parquet", "csv"):
        rs.ingest(f"{tmp_path}/*.{kind}", tmp_path / kind, executor=cluster)
        rs.ingest(f"{tmp_path}/*.{kind}", tmp_path / f"{kind} threads", engine="dask")
        assert same_bytes(tmp_path / "first", tmp_path / kind)
        assert same_bytes(tmp_path / "first", tmp_path / f"{kind} threads")


def test_a_bad_cell_is_named_by_partition_and_row(tmp_path, cluster):
    frame = table().to_pandas()
    frame.loc[1234, "value"] = np.nan
    with pytest.raises(DataError, match="partition 1: value column 'value' has no value in row 235"):
        rs.ingest(dd.from_pandas(frame, npartitions=5, sort=False), tmp_path / "s", executor=cluster)
    assert not list(tmp_path.iterdir())


def test_executors_that_do_not_fit_are_refused(tmp_path):
    frame = dd.from_pandas(pd.DataFrame({"user": [1], "item": [2]}), npartitions=1)
    with pytest.raises(OptionError, match="does not compute Dask frames"):
        rs.ingest(frame, tmp_path / "s", engine="arrow")
    with rs.open_executor("threads") as executor, pytest.raises(OptionError, match="an open Dask executor"):
        rs.ingest(frame, tmp_path / "s", executor=executor)
    with pytest.raises(OptionError, match=r"'dask' or an open Dask executor.*got 'threads'"):
        rs.ingest(frame, tmp_path / "s", executor="threads")


def test_dask_by_name_has_a_cluster_for_the_ingest(tmp_path):
    frame = table().to_pandas()
    rs.ingest(dd.from_pandas(frame, npartitions=3, sort=False), tmp_path / "named", executor="dask")
    rs.ingest(frame, tmp_path / "here")
    assert same_bytes(tmp_path / "named", tmp_path / "here")
