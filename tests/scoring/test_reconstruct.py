import dask
import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import OptionError, UnknownIdError
from recscale_dask.scoring import reconstruct


@pytest.fixture(scope="module")
def model():
    dense = np.random.default_rng(0).random((50, 20)).round(1)
    return rs.factorize(
        rs.UserItemMatrix.from_scipy(dense, users=[f"u{i:02}" for i in range(50)]), rank=4, executor="serial"
    )


@pytest.fixture(params=[None, 600])
def _chunks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(reconstruct, "_CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunks")
def test_reconstruction_is_the_dense_product(model):
    array = model.reconstruct()
    assert isinstance(array, da.Array)
    assert (array.shape, array.dtype) == ((50, 20), np.float32)
    with dask.config.set(scheduler="sync"):
        np.testing.assert_allclose(array.compute(), model.user_factors @ model.item_factors.T, atol=1e-6)
        np.testing.assert_allclose(
            array[3:9, 2].compute(), (model.user_factors @ model.item_factors[2])[3:9], atol=1e-6
        )


@pytest.mark.usefixtures("_chunks")
def test_rows_come_in_the_chunks_of_the_array_bit_for_bit(model):
    array = model.reconstruct()
    for executor in ("serial", "threads", "processes"):
        blocks = list(model.rows(executor=executor))
        assert len(blocks) == array.numblocks[0]
        with dask.config.set(scheduler="threads"):
            chunks = [array.blocks[i].compute() for i in range(len(blocks))]
        assert [block.tobytes() for block in blocks] == [chunk.tobytes() for chunk in chunks]


def test_chunks_are_whole_rows_of_limited_size(monkeypatch, model):
    monkeypatch.setattr(reconstruct, "_CHUNK_BYTES", 600)
    assert model.reconstruct().chunks == ((7,) * 7 + (1,), (20,))
    assert reconstruct.rows_per_chunk(10**9) == 1


def test_rectangle_of_ids(model):
    with dask.config.set(scheduler="sync"):
        found = model.reconstruct(users=["u07", "u03"], items=[4, 4, 1]).compute()
        whole = model.reconstruct().compute()
    np.testing.assert_allclose(found, whole[[7, 3]][:, [4, 4, 1]], atol=1e-6)
    with pytest.raises(UnknownIdError, match="'nobody'"):
        model.reconstruct(users=["nobody"])


@pytest.mark.parametrize(("users", "items", "shape"), [([], None, (0, 20)), (None, [], (50, 0)), ([], [], (0, 0))])
def test_empty_rectangle(model, users, items, shape):
    with dask.config.set(scheduler="sync"):
        assert model.reconstruct(users, items).compute().shape == shape


def test_nothing_is_computed_until_asked_for(monkeypatch, model):
    monkeypatch.setattr(reconstruct, "rectangle", lambda *_, **__: pytest.fail("computed"))
    assert model.reconstruct().shape == (50, 20)
    assert next(iter([model.rows(executor="serial")]), None) is not None


def test_rows_of_some_users_and_items(model):
    (rows,) = model.rows(["u07", "u03"], [4, 1], executor="serial")
    with dask.config.set(scheduler="sync"):
        assert rows.tobytes() == model.reconstruct(["u07", "u03"], [4, 1]).compute().tobytes()


@pytest.mark.usefixtures("_chunks")
def test_rectangle_streams_to_zarr(model, tmp_path):
    zarr = pytest.importorskip("zarr")
    with dask.config.set(scheduler="sync"):
        model.reconstruct(limit=1).to_zarr(tmp_path / "scores.zarr")
        whole = model.reconstruct().compute()
    assert zarr.open_array(tmp_path / "scores.zarr", mode="r")[:].tobytes() == whole.tobytes()


@pytest.mark.usefixtures("_chunks")
def test_rows_stream_to_parquet(model, tmp_path):
    schema = pa.schema([(str(item), pa.float32()) for item in model.items.ids.to_pylist()])
    with pq.ParquetWriter(tmp_path / "scores.parquet", schema) as writer:
        for rows in model.rows(executor="serial"):
            writer.write_batch(pa.record_batch([*rows.T.copy()], schema=schema))
    found = np.column_stack([column.to_numpy() for column in pq.read_table(tmp_path / "scores.parquet").columns])
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(found, model.reconstruct().compute())


@pytest.mark.parametrize("compute", [np.asarray, dask.compute, lambda a: a.compute(), lambda a: a.persist()])
def test_whole_product_beyond_the_limit_says_how_large_it_is_and_what_to_do(model, compute):
    array = model.reconstruct(limit=3999)
    told = r"50 users and 20 items takes 3\.91 kiB, more than the limit of 3\.91 kiB.*to_zarr.*model\.rows\(users\)"
    with dask.config.set(scheduler="sync"), pytest.raises(OptionError, match=told):
        compute(array)


def test_parts_and_sums_of_a_product_beyond_the_limit_are_computed(model):
    array = model.reconstruct(limit=1000)
    with dask.config.set(scheduler="sync"):
        whole = model.reconstruct(limit=None).compute()
        assert array[7:9].compute().tobytes() == whole[7:9].tobytes()
        assert array.sum().compute() == pytest.approx(whole.sum())
        stored = np.zeros_like(whole)
        array.store(stored)
    assert stored.tobytes() == whole.tobytes()


def test_limit_is_of_the_result_and_4_gib_unless_said(model):
    with dask.config.set(scheduler="sync"):
        assert model.reconstruct(limit=4000).compute().shape == (50, 20)
    assert model.reconstruct().limit == 4 << 30
