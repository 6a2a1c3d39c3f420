import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recscale_dask.data import blocks
from recscale_dask.data.dask_dense import SparseChunkError
from recscale_dask.data.dense import DenseBlock, DenseMatrix, clean_dense, even_bounds
from recscale_dask.errors import DataError

BIG = np.random.default_rng(0).standard_normal((3000, 400)).astype(np.float32)  # 4 blocks


def content(matrix):
    """Everything of the blocks, as bytes."""
    return [
        (block.index, block.start, block.values.shape, block.values.dtype.str, block.values.tobytes())
        for block in (source.load() for source in matrix.sources)
    ]


def whole(matrix):
    return np.concatenate([source.load().values for source in matrix.sources])


@pytest.fixture(params=["threads", "sync", "elsewhere"])
def scheduler(request):
    """Dask's own threads, no threads, and a scheduler of which nothing is known."""
    if request.param != "elsewhere":
        with dask.config.set(scheduler=request.param):
            yield request.param
    else:
        with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler=pool):
            yield request.param


# -- blocks ------------------------------------------------------------------------------------------------


def test_block_knows_its_rows_and_is_a_recipe_of_itself():
    block = DenseBlock(3, 10, np.ones((4, 7)))
    assert (block.n_rows, block.stop, block.n_columns) == (4, 14, 7)
    assert block.load() is block


def test_block_is_read_only_and_contiguous_and_leaves_its_input_alone():
    given = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    block = DenseBlock(0, 0, given)
    assert block.values.flags.c_contiguous
    assert not block.values.flags.writeable
    assert given.flags.writeable
    np.testing.assert_array_equal(block.values, given)


@pytest.mark.parametrize(
    ("shape", "n_blocks"),
    [
        ((5, 3), 1),
        ((0, 3), 1),
        ((3, 0), 1),
        ((500, 500), 1),
        ((700, 700), 3),
        ((1024, 1024), 4),
        ((1 << 14, 1 << 12), 16),
        ((1 << 13, 1 << 13), 16),
        ((2, 1 << 26), 2),
    ],
)
def test_number_of_blocks_follows_from_the_shape(shape, n_blocks):
    bounds = even_bounds(shape)
    assert len(bounds) == n_blocks + 1
    assert bounds[0] == 0
    assert bounds[-1] == shape[0]
    assert np.ptp(np.diff(bounds)) <= 1


# -- NumPy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_of_a_numpy_array_shares_its_memory(dtype):
    array = BIG.astype(dtype)
    matrix = DenseMatrix.from_numpy(array)
    assert (matrix.shape, matrix.nnz, matrix.n_blocks, matrix.dtype) == ((3000, 400), 1_200_000, 4, dtype)
    assert all(np.shares_memory(source.values, array) for source in matrix.sources)
    assert array.flags.writeable
    np.testing.assert_array_equal(whole(matrix), array)
    assert matrix.loaded().sources == matrix.sources
    assert repr(matrix) == f"DenseMatrix(3000 x 400 {np.dtype(dtype)}, 4 blocks)"


def test_matrix_of_any_memory_order_has_the_same_blocks():
    expected = content(DenseMatrix.from_numpy(BIG))
    assert content(DenseMatrix.from_numpy(np.asfortranarray(BIG))) == expected
    assert content(DenseMatrix.from_numpy(np.repeat(BIG, 2, axis=1)[:, ::2])) == expected


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([[True, False]]), np.float32),
        (np.array([[1, -7]], np.int8), np.float32),
        (np.array([[1, 2**24]]), np.float32),
        (np.array([[1, -(2**24) - 1]]), np.float64),
        (np.array([[0, 2**40]], np.uint64), np.float64),
        (np.array([[1, 0.5]], np.float16), np.float32),
        (np.array([[1, 0.5]], np.longdouble), np.float64),
        (np.zeros((2, 0), int), np.float32),
    ],
)
def test_numbers_become_float32_where_that_is_exact(given, dtype):
    clean = clean_dense(given)
    assert clean.dtype == dtype
    np.testing.assert_array_equal(clean, given)
    matrices = [DenseMatrix.from_numpy(given), DenseMatrix.from_dask_array(da.from_array(given, chunks=1))]
    for matrix in matrices:
        assert matrix.dtype == dtype
        np.testing.assert_array_equal(whole(matrix), given)


def test_one_large_number_makes_every_block_float64():
    array = np.zeros((1024, 1024), int)
    array[1000, 3] = 2**30
    matrix = DenseMatrix.from_numpy(array)
    assert matrix.n_blocks == 4
    assert {source.values.dtype for source in matrix.sources} == {np.dtype(float)}
    with dask.config.set(scheduler="sync"):
        assert content(DenseMatrix.from_dask_array(da.from_array(array, chunks=(300, 300)))) == content(matrix)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_names_its_row_and_column(bad):
    array = BIG.copy()
    array[2000, 17] = array[2000, 20] = bad
    with pytest.raises(DataError, match=rf"row 2000, column 17 holds {bad} \(2 values are not finite\)"):
        DenseMatrix.from_numpy(array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), "two dimensions"),
        (np.ones((2, 2, 2)), "two dimensions"),
        (np.ones((2, 2), complex), "complex128"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.array([[1, None]]), "object"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(array, message):
    with pytest.raises(DataError, match=message):
        DenseMatrix.from_numpy(array)
    with pytest.raises(DataError, match=message):
        DenseMatrix.from_dask_array(da.from_array(array, chunks=-1))


# -- Dask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(3000, 400), (1000, 37), ((1, 2999), 400), (3000, 10), (100, 400)])
def test_blocks_of_a_dask_array_do_not_depend_on_its_chunks(scheduler, chunks):
    matrix = DenseMatrix.from_dask_array(da.from_array(BIG, chunks=chunks))
    expected = content(DenseMatrix.from_numpy(BIG))
    assert (matrix.shape, matrix.nnz, matrix.dtype) == (BIG.shape, BIG.size, np.float32)
    assert content(matrix.loaded()) == expected
    assert content(matrix)[3] == expected[3]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_chunking_of_any_shape_gives_the_same_blocks(data):
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    # Blocks are small here, so that they end within chunks.
    cuts = [data.draw(st.lists(st.integers(0, side), max_size=5).map(sorted)) for side in shape]
    chunks = tuple(tuple(np.diff([0, *cut, side]).tolist()) for cut, side in zip(cuts, shape, strict=True))
    array = np.arange(shape[0] * shape[1], dtype=data.draw(st.sampled_from(["f4", "f8", "i2", "i8", "f2"])))
    array = array.reshape(shape)
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="sync"):
        patch.setattr("recscale_dask.data.dense._BLOCK_VALUES", 60)
        matrix = DenseMatrix.from_dask_array(da.from_array(array, chunks=chunks))
        expected = content(DenseMatrix.from_numpy(array))
        assert content(matrix.loaded()) == content(matrix) == expected


def test_unknown_chunk_sizes_are_found_out(scheduler):
    array = da.from_array(BIG, chunks=(700, 150))
    some = array[array[:, 0] > 0]
    assert np.isnan(some.shape[0])
    assert content(DenseMatrix.from_dask_array(some)) == content(DenseMatrix.from_numpy(BIG[BIG[:, 0] > 0]))


@pytest.mark.parametrize("kind", ["plain", "integers", "unknown sizes"])
def test_each_chunk_is_computed_once_in_all(kind, scheduler):
    computed = []

    def counted(chunk):
        computed.append(len(chunk))
        return chunk

    array = da.from_array(BIG, chunks=(1000, 400))
    if kind == "integers":
        array = (array * 1000).astype(int)
    array = array.map_blocks(counted, meta=np.empty((0, 0), array.dtype))
    if kind == "unknown sizes":
        array = array[array[:, 0] > 0]
    matrix = DenseMatrix.from_dask_array(array)
    assert len(computed) == (0 if kind == "plain" else 3)
    matrix.loaded()
    assert len(computed) == 3


@pytest.mark.parametrize("chunks", [(2000, 50), (100, 1000), (500, 500)])
def test_loading_takes_the_memory_of_the_matrix_and_a_chunk_or_so(chunks):
    array = da.random.default_rng(0).standard_normal((2000, 1000), chunks=chunks)
    matrix = DenseMatrix.from_dask_array(array)
    chunk, expected = 8 * chunks[0] * chunks[1], 8 * 2000 * 1000
    with dask.config.set(scheduler="sync"):
        array[:10, :10].compute()  # what is imported and cached on first use
        tracemalloc.start()
        loaded = matrix.loaded()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert loaded.nnz == 2_000_000
    assert peak < expected + 3 * chunk + 1_000_000


def test_block_of_a_dask_array_travels_with_only_its_own_piece_of_the_graph(monkeypatch):
    monkeypatch.setattr(blocks, "_SMALL_BLOCKS", 8)
    with dask.config.set(scheduler="sync"):
        matrix = DenseMatrix.from_dask_array(da.from_array(BIG, chunks=(250, 400)))
        pickles = [pickle.dumps(source) for source in matrix.sources]
        assert max(map(len, pickles)) < BIG.nbytes / 4
        loaded = [pickle.loads(pickle.dumps(pickle.loads(each))).load() for each in pickles]
    np.testing.assert_array_equal(np.concatenate([block.values for block in loaded]), BIG)
    assert [block.start for block in loaded] == matrix.bounds[:-1].tolist()


@pytest.mark.parametrize("unknown", [False, True])
def test_value_that_is_not_finite_in_a_dask_array_names_its_row_in_the_whole(unknown, scheduler):
    dense = np.ones((10, 6))
    dense[7, 5] = np.nan
    array = da.from_array(dense, chunks=(3, 4))
    if unknown:
        array = array[array[:, 0] > 0]
    with pytest.raises(DataError, match="row 7, column 5 holds nan"):
        DenseMatrix.from_dask_array(array).loaded()


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (np.ones((4, 4)), None, None),
        (np.ones((4, 4), np.float64) / 3, DataError, r"holds float64 that float32 cannot hold.*dtype="),
        (np.ones((3, 4), np.float32), DataError, r"the chunk at row 4, column 0 .* has shape \(3, 4\).*chunks="),
        (sp.csr_array((4, 4), dtype=np.float32), SparseChunkError, "csr_array.*UserItemMatrix.from_dask_array"),
    ],
)
def test_chunk_that_is_not_what_the_array_says_is_refused(chunk, error, message):
    dtype = np.float32 if error else np.float64
    good = da.ones((4, 4), dtype=dtype)
    array = da.concatenate([good, da.from_delayed(dask.delayed(lambda: chunk)(), (4, 4), dtype)])
    with pytest.raises(error, match=message) if error else nullcontext(), dask.config.set(scheduler="sync"):
        assert DenseMatrix.from_dask_array(array).loaded().nnz == 32


# -- the other way round ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3000, 400), (1, 5), (5, 1), (0, 4), (700, 900)])
def test_transposed_is_the_matrix_of_the_transposed_array(shape):
    array = np.random.default_rng(0).random(shape)
    matrix = DenseMatrix.from_numpy(array)
    assert content(matrix.transposed()) == content(DenseMatrix.from_numpy(array.T))
    assert content(matrix.transposed().transposed()) == content(matrix)


def test_lazy_matrix_may_be_transposed():
    with dask.config.set(scheduler="sync"):
        matrix = DenseMatrix.from_dask_array(da.from_array(BIG, chunks=(1000, 100))).transposed()
    assert content(matrix) == content(DenseMatrix.from_numpy(BIG.T))
