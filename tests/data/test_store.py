import json
import pickle
import uuid

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import OutputError, StoreError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.preparation import prepare


def prepared(*arguments):
    """Prepare a matrix in this thread."""
    with SerialExecutor() as here:
        return prepare(*arguments, here)


def big_rows(dtype=np.float32):
    rows = sp.random_array((3000, 400), density=0.3, rng=0, format="csr").astype(dtype)
    rows.sort_indices()
    return rows  # 4 blocks


def content(matrix):
    """Everything of the blocks, as bytes."""
    return [
        (b.index, b.start, b.n_columns, *[(a.dtype.str, a.tobytes()) for a in (b.indptr, b.indices, b.values)])
        for b in (source.load() for source in matrix.sources)
    ]


@pytest.fixture
def store(tmp_path):
    rs.UserItemMatrix.from_scipy(big_rows()).save(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_comes_back_block_for_block(tmp_path, dtype):
    matrix = rs.UserItemMatrix.from_scipy(big_rows(dtype))
    matrix.save(tmp_path / "store")
    again = rs.UserItemMatrix.open(tmp_path / "store")
    assert content(again) == content(matrix)
    assert again.n_blocks == 4
    assert (again.bounds == matrix.bounds).all()
    assert (again.shape, again.nnz, again.dtype) == (matrix.shape, matrix.nnz, matrix.dtype)
    assert again.is_stored
    assert not matrix.is_stored


@pytest.mark.parametrize(
    "ids", [list("abc"), [7, 8, 12], [uuid.UUID(int=each) for each in (1, 2, 3)]], ids=["text", "integers", "uuids"]
)
def test_ids_come_back(tmp_path, ids):
    matrix = rs.UserItemMatrix.from_scipy(sp.csr_array(np.eye(3)), users=ids, items=list("xyz"))
    matrix.save(tmp_path / "store")
    again = rs.UserItemMatrix.open(tmp_path / "store")
    assert again.users == matrix.users
    assert again.items == matrix.items


def test_a_fit_of_a_store_is_that_of_the_matrix_in_memory(store):
    stored, memory = rs.UserItemMatrix.open(store), rs.UserItemMatrix.from_scipy(big_rows())
    for options in ({}, {"weighting": "bm25", "user_scaling": 0.5, "item_scaling": 0.5}):
        one, other = (rs.factorize(each, rank=4, executor="threads", **options) for each in (stored, memory))
        assert one.factors_sha256() == other.factors_sha256()
        assert one.provenance["data_fingerprint"] == other.provenance["data_fingerprint"]


def test_the_fingerprint_in_the_manifest_is_that_of_the_data(store):
    matrix = rs.UserItemMatrix.open(store)
    assert matrix.fingerprint == prepared(matrix, None, 0, 0).summary.digest.hex()
    assert matrix.fingerprint == prepared(rs.UserItemMatrix.from_scipy(big_rows()), None, 0, 0).summary.digest.hex()


def test_the_manifest_has_the_statistics_of_the_matrix(store):
    rows = big_rows()
    statistics = json.loads((store / "manifest.json").read_text())["statistics"]
    assert statistics["sum"] == pytest.approx(float(rows.data.sum(dtype=np.float64)))
    assert statistics["smallest"] == float(rows.data.min())
    assert statistics["largest"] == float(rows.data.max())
    assert statistics["longest_row"] == np.diff(rows.indptr).max()
    assert statistics["longest_column"] == np.bincount(rows.indices).max()
    users = pa.feather.read_table(store / "users.arrow")
    np.testing.assert_array_equal(users["count"], np.diff(rows.indptr))
    np.testing.assert_allclose(users["sum"], rows.astype(np.float64).sum(axis=1), rtol=1e-12)
    items = pa.feather.read_table(store / "items.arrow")
    np.testing.assert_array_equal(items["count"], np.bincount(rows.indices, minlength=400))
    np.testing.assert_allclose(items["sum"], rows.astype(np.float64).sum(axis=0), rtol=1e-12)


def test_a_recipe_of_a_block_is_small_and_travels(store):
    source = rs.UserItemMatrix.open(store).sources[1]
    sent = pickle.dumps(source)
    assert len(sent) < 500
    assert summarize(pickle.loads(sent).load()).digest == summarize(source.load()).digest


def test_rows_without_values_and_an_empty_matrix_come_back(tmp_path):
    for number, rows in enumerate([sp.csr_array((5, 3)), sp.csr_array(([1.0], ([4], [2])), shape=(6, 3))]):
        matrix = rs.UserItemMatrix.from_scipy(rows)
        matrix.save(tmp_path / str(number))
        assert content(rs.UserItemMatrix.open(tmp_path / str(number))) == content(matrix)


def test_what_is_there_is_kept_unless_it_is_a_store_to_be_overwritten(store, tmp_path):
    other = rs.UserItemMatrix.from_scipy(sp.csr_array(np.eye(3)))
    with pytest.raises(OutputError, match="exists already"):
        other.save(store)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a store, so it is not overwritten"):
        other.save(tmp_path / "notes", overwrite=True)
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"
    before = rs.UserItemMatrix.open(store)
    other.save(store, overwrite=True)
    assert rs.UserItemMatrix.open(store).shape == (3, 3)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["notes", "store"]
    with pytest.raises(StoreError):
        before.sources[2].load()


def rows_of(table):
    """Return (user, item, value) triples of a frame of a block, sorted."""
    return sorted(zip(*(table[name] for name in ("user", "items", "values")), strict=True))


def test_polars_duckdb_and_pandas_read_the_blocks_as_they_are(store):
    rows = big_rows().tocoo()
    expected = sorted(zip(*rows.coords, rows.data, strict=True))
    blocks = f"{store}/blocks/*.arrow"
    with_polars = pl.scan_ipc(blocks).explode("items", "values").collect()
    assert rows_of(with_polars.to_dict(as_series=False)) == expected
    in_arrow = duckdb.from_arrow(pa.dataset.dataset(f"{store}/blocks", format="ipc"))
    with_duckdb = in_arrow.select('"user", unnest("items") AS "items", unnest("values") AS "values"')
    assert rows_of(with_duckdb.fetchnumpy()) == expected
    parts = [pd.read_feather(each) for each in sorted((store / "blocks").iterdir())]
    with_pandas = pd.concat(parts).explode(["items", "values"]).dropna()
    assert rows_of(with_pandas) == expected


def test_a_flipped_bit_in_a_block_is_found_before_a_fit(store):
    path = store / "blocks" / "000002.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    matrix = rs.UserItemMatrix.open(store)
    passes = []
    with pytest.raises(StoreError, match=r"000002\.arrow.*Ingest the data again"):
        rs.factorize(matrix, rank=2, executor="serial", progress=passes.append)
    assert not [each for each in passes if "svd" in getattr(each, "label", "")]


def test_a_store_that_is_not_whole_is_refused(store):
    block = store / "blocks" / "000001.arrow"
    whole = block.read_bytes()
    block.write_bytes(whole[:-100])
    with pytest.raises(StoreError, match="truncated or altered"):
        rs.UserItemMatrix.open(store)
    block.unlink()
    with pytest.raises(StoreError, match="missing from the store"):
        rs.UserItemMatrix.open(store)
    block.write_bytes(whole)
    ids = store / "users.arrow"
    ids.write_bytes(ids.read_bytes().replace(b"\x05\x00", b"\x06\x00", 1))
    with pytest.raises(StoreError, match=r"users\.arrow was altered"):
        rs.UserItemMatrix.open(store)


def test_other_folders_and_newer_formats_are_refused(store, tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        rs.UserItemMatrix.open(tmp_path / "nothing")
    with pytest.raises(StoreError, match="not a store"):
        rs.UserItemMatrix.open(tmp_path)
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(StoreError, match="format 2; this recscale_dask reads up to 1"):
        rs.UserItemMatrix.open(store)
    (store / "manifest.json").write_text(json.dumps({**manifest, "n_users": 2}))
    with pytest.raises(StoreError, match=r"manifest\.json was altered"):
        rs.UserItemMatrix.open(store)
