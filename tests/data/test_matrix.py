import pickle
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recscale_dask import UserItemMatrix
from recscale_dask.data import blocks
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import DataError, DoubtfulDataWarning
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.preparation import prepare


def prepared(*arguments):
    """Prepare a matrix in this thread."""
    with SerialExecutor() as here:
        return prepare(*arguments, here)


def random_rows(shape=(200, 60), density=0.2, seed=0, dtype=np.float32):
    rows = sp.random_array(shape, density=density, rng=seed, format="csr").astype(dtype)
    rows.sort_indices()
    return rows


def big_rows():
    return random_rows((3000, 400), density=0.3)  # 4 blocks


def content(matrix):
    """Everything of the blocks, as bytes."""
    return [
        (b.index, b.start, b.n_columns, *[(a.dtype.str, a.tobytes()) for a in (b.indptr, b.indices, b.values)])
        for b in (source.load() for source in matrix.sources)
    ]


def chunked(rows, row_chunks, column_chunks, make):
    """Return a Dask array with chunks of any class."""
    grid, at = [], 0
    for height in row_chunks:
        line, left = [], 0
        for width in column_chunks:
            part = rows[at : at + height, left : left + width]
            line.append(da.from_delayed(dask.delayed(make)(part), (height, width), rows.dtype))
            left += width
        grid.append(line)
        at += height
    return da.block(grid) if make is sp.csr_array.toarray else da.concatenate([da.concatenate(r, 1) for r in grid])


class Pydata:
    """What of pydata/sparse is used."""

    ndim = 2

    def __init__(self, rows):
        self._rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def to_scipy_sparse(self):
        return self._rows.tocoo()


def test_round_trip_to_scipy():
    rows = random_rows()
    matrix = UserItemMatrix.from_scipy(rows)
    back = matrix.to_scipy()
    assert isinstance(back, sp.csr_array)
    assert (back != rows).nnz == 0
    assert (matrix.shape, matrix.nnz, matrix.dtype) == (rows.shape, rows.nnz, np.float32)
    assert "200 users x 60 items" in repr(matrix)


def test_empty_rows_and_columns_are_kept():
    dense = np.zeros((6, 5))
    dense[2, 1] = 1
    matrix = UserItemMatrix.from_scipy(dense)
    assert matrix.shape == (6, 5)
    np.testing.assert_array_equal(matrix.to_scipy().toarray(), dense)
    assert UserItemMatrix.from_scipy(np.zeros((4, 3))).nnz == 0


def test_unsorted_ids_sort_rows_and_columns():
    dense = np.arange(1.0, 7).reshape(2, 3)
    matrix = UserItemMatrix.from_scipy(dense, users=["b", "a"], items=[30, 10, 20])
    assert matrix.users.ids.to_pylist() == ["a", "b"]
    assert matrix.items.ids.to_pylist() == [10, 20, 30]
    assert matrix.to_scipy().toarray().tolist() == [[5, 6, 4], [2, 3, 1]]
    assert all(np.diff(block.indices[a:b]).min() > 0 for block in matrix.sources for a, b in [(0, 3), (3, 6)])


def test_ids_may_be_a_vocabulary_or_sorted_already():
    vocabulary, _ = Vocabulary.from_ids(["x", "y"])
    matrix = UserItemMatrix.from_scipy(np.eye(2), users=vocabulary, items=np.array([5, 9]))
    assert matrix.users is vocabulary
    assert matrix.to_scipy().toarray().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("users", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_ids_that_do_not_fit_are_refused(users):
    with pytest.raises(DataError, match="users: the matrix has 2"):
        UserItemMatrix.from_scipy(np.eye(2), users=users)


def test_blocks_depend_on_the_data_alone():
    rows = big_rows()
    matrix = UserItemMatrix.from_scipy(rows)
    assert matrix.n_blocks == 4
    assert content(matrix) == content(UserItemMatrix.from_scipy(rows.tocsc()))
    assert content(matrix) == content(UserItemMatrix.from_scipy(sp.csr_matrix(rows)))


def test_array_is_a_lazy_dask_array_one_chunk_wide_of_csr_chunks():
    rows = big_rows()
    array = UserItemMatrix.from_scipy(rows).array
    assert array.shape == rows.shape
    assert array.dtype == np.float32
    assert array.numblocks == (UserItemMatrix.from_scipy(rows).n_blocks, 1)
    assert isinstance(array._meta, sp.csr_array)
    assert isinstance(array.blocks[1].compute(), sp.csr_array)
    computed = array.compute(scheduler="sync")
    assert isinstance(computed, sp.csr_array)
    assert (computed != rows).nnz == 0


def test_array_may_be_sliced_and_mapped():
    rows = big_rows()
    array = UserItemMatrix.from_scipy(rows).array
    assert (array[100:2000, 5:50].compute(scheduler="threads") != rows[100:2000, 5:50]).nnz == 0
    doubled = array.map_blocks(lambda block: block * 2, dtype=array.dtype).compute(scheduler="sync")
    assert abs(doubled - 2 * rows).max() == 0


def test_array_has_the_same_name_for_equal_data():
    assert UserItemMatrix.from_scipy(random_rows()).array.name == UserItemMatrix.from_scipy(random_rows()).array.name
    assert (
        UserItemMatrix.from_scipy(random_rows()).array.name != UserItemMatrix.from_scipy(random_rows(seed=1)).array.name
    )


@pytest.mark.parametrize(
    ("row_chunks", "column_chunks"),
    [((3000,), (400,)), ((1000, 1, 1999), (400,)), ((1500, 1500), (1, 199, 200)), ((10,) * 300, (400,))],
)
@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, sp.csr_array.toarray], ids=["csr", "csc", "dense"])
def test_from_dask_array_gives_the_same_bytes_in_any_chunking(row_chunks, column_chunks, make):
    rows = big_rows()
    with dask.config.set(scheduler="sync"):
        matrix = UserItemMatrix.from_dask_array(chunked(rows, row_chunks, column_chunks, make))
        assert (matrix.shape, matrix.nnz) == (rows.shape, rows.nnz)
        assert content(matrix) == content(UserItemMatrix.from_scipy(rows))


def test_from_dask_array_takes_csr_matrix_and_pydata_like_chunks():
    rows = random_rows()
    for make in (sp.csr_matrix, sp.coo_array, Pydata):
        array = da.from_delayed(dask.delayed(make)(rows), rows.shape, rows.dtype)
        with dask.config.set(scheduler="sync"):
            assert content(UserItemMatrix.from_dask_array(array)) == content(UserItemMatrix.from_scipy(rows))


def test_from_dask_array_of_its_own_array_is_the_same_matrix():
    matrix = UserItemMatrix.from_scipy(big_rows())
    with dask.config.set(scheduler="sync"):
        assert content(UserItemMatrix.from_dask_array(matrix.array)) == content(matrix)


def test_from_dask_array_of_unknown_chunk_sizes():
    dense = np.arange(20.0).reshape(10, 2)
    array = da.from_array(dense, chunks=(4, 2))
    some = array[array[:, 0] > 3]
    with dask.config.set(scheduler="sync"):
        assert UserItemMatrix.from_dask_array(some).to_scipy().toarray().tolist() == dense[dense[:, 0] > 3].tolist()


def test_from_dask_array_keeps_int_and_bool_numbers():
    dense = np.arange(20).reshape(10, 2)
    with dask.config.set(scheduler="sync"):
        for each in (dense, dense > 7, dense.astype(np.float16)):
            matrix = UserItemMatrix.from_dask_array(da.from_array(each, chunks=3))
            assert matrix.dtype == np.float32
            np.testing.assert_array_equal(matrix.to_scipy().toarray(), each)


def test_block_of_a_dask_array_carries_only_its_own_piece_of_the_graph(monkeypatch):
    monkeypatch.setattr(blocks, "_SMALL_BLOCKS", 8)
    monkeypatch.setattr(blocks, "_SMALL_BLOCK_VALUES", 1 << 15)
    dense = np.random.default_rng(0).random((4000, 100))
    with dask.config.set(scheduler="sync"):
        matrix = UserItemMatrix.from_dask_array(da.from_array(dense, chunks=(250, 100)))
        assert matrix.n_blocks == 8
        sizes = [len(pickle.dumps(source)) for source in matrix.sources]
    assert max(sizes) < dense.nbytes / 4


def test_value_that_is_not_finite_in_a_dask_array_names_its_row_in_the_whole():
    dense = np.ones((10, 6))
    dense[7, 5] = np.nan
    with dask.config.set(scheduler="sync"), pytest.raises(DataError, match="row 7, column 5 holds nan"):
        UserItemMatrix.from_dask_array(da.from_array(dense, chunks=(3, 4)))


def test_dask_array_with_ids_must_have_them_ascending():
    array = da.ones((2, 2), chunks=1)
    with dask.config.set(scheduler="sync"):
        assert UserItemMatrix.from_dask_array(array, users=["a", "b"]).users.ids.to_pylist() == ["a", "b"]
        with pytest.raises(DataError, match="ascending"):
            UserItemMatrix.from_dask_array(array, users=["b", "a"])


def test_dask_array_of_one_dimension_is_refused():
    with pytest.raises(DataError, match="two dimensions"):
        UserItemMatrix.from_dask_array(da.ones(3))


def test_from_interactions_sums_takes_the_largest_or_counts():
    table = pa.table({"u": ["b", "a", "b", "b"], "i": [1, 2, 1, 3], "v": [1.0, 2, 4, 5]})
    data = Interactions.from_arrow(table, user="u", item="i", value="v")
    assert UserItemMatrix.from_interactions(data).to_scipy().toarray().tolist() == [[0, 2, 0], [5, 0, 5]]
    largest = UserItemMatrix.from_interactions(data, duplicates="max")
    assert largest.to_scipy().toarray().tolist() == [[0, 2, 0], [4, 0, 5]]
    assert largest.users.ids.to_pylist() == ["a", "b"]
    counted = UserItemMatrix.from_interactions(Interactions.from_arrow(table, user="u", item="i", value=None))
    assert counted.to_scipy().toarray().tolist() == [[0, 1, 0], [2, 0, 1]]


def test_values_that_are_all_zero_are_told_and_their_absence_is_not():
    table = pa.table({"user": [1, 2], "item": [3, 4], "value": [0.0, 0.0]})
    with pytest.warns(DoubtfulDataWarning, match=r"all 2 values are 0. Is the value column \(value=\) the right one"):
        UserItemMatrix.from_interactions(Interactions.from_arrow(table, user="user", item="item", value="value"))
    assert UserItemMatrix.from_interactions(Interactions.from_arrow(table, user="user", item="item")).nnz == 2


@pytest.mark.parametrize("given", ["ratings.csv", pa.table({"user": [1], "item": [2]})])
def test_from_interactions_asks_for_what_has_been_read(given):
    with pytest.raises(DataError, match=r"takes Interactions; got a \w+. Read it first: rs.read_interactions"):
        UserItemMatrix.from_interactions(given)


def test_fingerprint_of_blocks_tells_matrices_apart():
    def digest(dense):
        (block,) = UserItemMatrix.from_scipy(dense).sources
        return summarize(block).digest

    assert digest(np.eye(3)) == digest(sp.coo_array(np.eye(3)))
    assert len({digest(np.eye(3)), digest(np.eye(4)), digest(2 * np.eye(3)), digest(np.eye(3, dtype="f4"))}) == 4


def test_transposed_is_the_matrix_of_the_transposed_rows():
    rows = big_rows()
    matrix = UserItemMatrix.from_scipy(rows)
    assert content(matrix.transposed()) == content(UserItemMatrix.from_scipy(rows.T))
    assert content(matrix.transposed().transposed()) == content(matrix)
    assert matrix.transposed().n_blocks == 4


def test_transposed_swaps_users_and_items():
    matrix = UserItemMatrix.from_scipy(np.array([[1.0, 0, 2], [0, 0, 3]]), users=["a", "b"], items=[10, 20, 30])
    swapped = matrix.transposed()
    assert (swapped.users, swapped.items) == (matrix.items, matrix.users)
    assert swapped.to_scipy().toarray().tolist() == [[1, 0], [0, 0], [2, 3]]
    assert (swapped.nnz, swapped.dtype) == (3, np.float64)


def test_transposed_applies_a_weighting_that_is_still_to_be_applied():
    matrix = UserItemMatrix.from_scipy(abs(big_rows()))
    weighted = prepared(matrix, "bm25", 0.5, 0.5).matrix
    assert content(weighted.transposed()) == content(UserItemMatrix.from_scipy(weighted.to_scipy().T))


def test_transposed_computes_each_chunk_of_a_dask_array_once():
    rows, computed = big_rows(), []

    def counted(chunk):
        computed.append(len(chunk))
        return chunk

    array = da.from_array(rows.toarray(), chunks=(1000, 400)).map_blocks(counted, meta=np.empty((0, 0), np.float32))
    with dask.config.set(scheduler="sync"):
        matrix = UserItemMatrix.from_dask_array(array)
        computed.clear()
        assert content(matrix.transposed()) == content(UserItemMatrix.from_scipy(rows.T))
    assert computed == [1000] * 3


@pytest.mark.parametrize("weighting", [None, "bm25"])
def test_transposing_takes_the_memory_of_two_more_copies(weighting):
    matrix = UserItemMatrix.from_scipy(abs(random_rows((2000, 1000), density=0.5)))
    weighted = prepared(matrix, weighting, 0, 0).matrix
    tracemalloc.start()
    swapped = weighted.transposed()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert swapped.nnz == matrix.nnz
    assert peak < 2.3 * 8 * matrix.nnz
