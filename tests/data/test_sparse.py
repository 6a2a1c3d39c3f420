import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask.data.sparse import clean_csr
from recscale_dask.errors import DataError

DENSE = np.array([[0, 3, 0, 1], [0, 0, 0, 0], [2, 0, 0, 0], [0, 1, 1, 1]])
MAKERS = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "lil_array": sp.lil_array,
    "dok_array": sp.dok_array,
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "list": lambda dense: dense.tolist(),
    "strided": lambda dense: np.repeat(np.repeat(dense, 2, axis=0), 3, axis=1)[::2, ::3],
}


def canonical(rows):
    assert isinstance(rows, sp.csr_array)
    assert rows.has_canonical_format
    return rows


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_any_format_becomes_the_same_csr(make):
    rows = canonical(clean_csr(make(DENSE)))
    np.testing.assert_array_equal(rows.toarray(), DENSE)
    assert rows.nnz == 6


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.coo_array])
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "i4", "i8", "u8", "f4", "f8"])
def test_any_real_dtype_keeps_its_numbers(kind, dtype):
    rows = clean_csr(kind(DENSE.astype(dtype)))
    np.testing.assert_array_equal(rows.toarray(), DENSE.astype(dtype))
    assert rows.dtype == (np.float64 if dtype == "f8" else np.float32)


def test_half_precision_is_taken_dense():
    dense = (DENSE / 4).astype(np.float16)  # SciPy has no sparse float16
    rows = clean_csr(dense)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows.toarray(), dense)


def test_whole_numbers_too_large_for_float32_become_float64():
    rows = clean_csr(np.array([[2**24 + 1, 1]]))
    assert rows.dtype == np.float64
    assert rows[0, 0] == 2**24 + 1
    assert clean_csr(np.array([[-(2**24), 1]])).dtype == np.float32


def test_unsorted_and_duplicate_entries_are_sorted_and_summed_and_the_input_is_left_alone():
    given = sp.csr_array(([1.0, 2, 4, 8], [2, 0, 2, 1], [0, 3, 4]), shape=(2, 3))
    rows = canonical(clean_csr(given))
    assert rows.toarray().tolist() == [[2, 0, 5], [0, 8, 0]]
    assert given.indices.tolist() == [2, 0, 2, 1]
    assert given.data.tolist() == [1, 2, 4, 8]


@pytest.mark.parametrize(("dtype", "value", "total"), [("i1", 100, 300), ("u1", 200, 600), ("?", True, 3)])
def test_sums_of_duplicates_do_not_overflow_small_types(dtype, value, total):
    data, places = np.full(3, value, dtype), ([0, 0, 0], [1, 1, 1])
    assert clean_csr(sp.coo_array((data, places), shape=(1, 2))).toarray().tolist() == [[0, total]]
    assert clean_csr(sp.csr_array((data, [1, 1, 1], [0, 3]), shape=(1, 2))).toarray().tolist() == [[0, total]]


def test_explicit_zeros_stay_stored():
    assert clean_csr(sp.csr_array(([0.0, 1], [0, 1], [0, 2]), shape=(1, 2))).nnz == 2


def test_spare_room_behind_the_stored_values_is_ignored():
    given = sp.csr_array(([1.0, 2, np.nan], [0, 1, 1], [0, 1, 2]), shape=(2, 2))
    assert given.nnz == 2
    assert clean_csr(given).toarray().tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_names_row_and_column(bad):
    dense = DENSE.astype(float)
    dense[2, 3] = bad
    with pytest.raises(DataError, match=r"row 2, column 3 holds -?(nan|inf) \(1 values"):
        clean_csr(sp.csr_array(dense))
    with pytest.raises(DataError, match="row 12, column 23"):
        clean_csr(dense, first_row=10, first_column=20)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), "two dimensions"),
        (np.ones((2, 2, 2)), "two dimensions"),
        (np.ones((2, 2), complex), "complex128"),
        (np.array([["a", "b"]]), "real numbers"),
        (sp.csr_array((np.ones(1), np.array([7]), np.array([0, 1])), shape=(1, 8))[:, :8], None),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(matrix, message):
    if message is None:
        assert clean_csr(matrix).nnz == 1
        return
    with pytest.raises(DataError, match=message):
        clean_csr(matrix)


@pytest.mark.parametrize("index", [-1, 3])
def test_column_number_outside_the_shape_is_refused(index):
    broken = sp.csr_array(([1.0], [0], [0, 1]), shape=(1, 3))
    broken.indices[0] = index
    with pytest.raises(DataError, match="column numbers"):
        clean_csr(broken)


def test_matrix_without_rows_columns_or_values_is_fine():
    for shape in ((0, 4), (4, 0), (3, 3)):
        assert clean_csr(np.zeros(shape)).shape == shape
        assert clean_csr(sp.csr_array(shape)).nnz == 0
