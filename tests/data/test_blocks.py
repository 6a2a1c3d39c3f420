import pickle
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.data.blocks import Block, balanced_bounds, cut

ROWS = sp.csr_array(np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]], np.float32))


def indptr_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=60))
def test_bounds_cover_all_rows_once(lengths):
    bounds = balanced_bounds(indptr_of(lengths), 100)
    assert bounds[0] == 0
    assert bounds[-1] == len(lengths)
    assert (np.diff(bounds) > 0).all()


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_blocks_of_even_rows_have_about_equal_values(length, n_rows):
    indptr = indptr_of([length] * n_rows)
    stored = np.diff(indptr[balanced_bounds(indptr, 100)])
    assert stored.max() - stored.min() <= 2 * length


def test_small_matrix_is_one_block_and_a_medium_one_is_cut_for_a_few_workers():
    assert len(balanced_bounds(indptr_of([10] * 100), 100)) == 2
    assert len(balanced_bounds(indptr_of([100] * 2000), 100)) - 1 == 3
    assert len(balanced_bounds(indptr_of([100] * 10_000), 100)) - 1 == 4
    assert len(balanced_bounds(indptr_of([1000] * 20_000), 100)) - 1 == 10


def test_one_row_with_nearly_all_values_is_not_cut():
    bounds = balanced_bounds(indptr_of([1, 10_000_000, 1]), 100)
    assert bounds.tolist() == [0, 2, 3] or bounds.tolist() == [0, 1, 3] or bounds.tolist() == [0, 3]


def test_matrix_without_values_or_rows_is_one_block():
    assert balanced_bounds(indptr_of([0, 0, 0]), 100).tolist() == [0, 3]


def test_cut_blocks_put_together_are_the_matrix():
    rows = sp.random_array((50, 20), density=0.2, rng=0, format="csr")
    blocks = cut(rows, np.array([0, 7, 8, 50]))
    assert [(block.index, block.start, block.stop) for block in blocks] == [(0, 0, 7), (1, 7, 8), (2, 8, 50)]
    assert all(left.stop == right.start for left, right in pairwise(blocks))
    np.testing.assert_array_equal(sp.vstack([block.to_scipy() for block in blocks]).toarray(), rows.toarray())


def test_cut_and_to_scipy_copy_no_values():
    rows = sp.random_array((50, 20), density=0.2, rng=0, format="csr")
    (block,) = cut(rows, np.array([0, 50]))
    assert np.shares_memory(block.values, rows.data)
    assert np.shares_memory(block.to_scipy().data, rows.data)


def test_arrays_of_a_block_are_read_only():
    (block,) = cut(ROWS, np.array([0, 3]))
    with pytest.raises(ValueError, match="read-only"):
        block.values[0] = 9
    again = pickle.loads(pickle.dumps(block))
    np.testing.assert_array_equal(again.to_scipy().toarray(), ROWS.toarray())


def test_block_knows_rows_of_its_values_and_is_its_own_recipe():
    (block,) = cut(ROWS, np.array([0, 3]))
    assert block.load() is block
    assert block.row_numbers().tolist() == [0, 0, 2]
    assert block.n_rows == 3
    doubled = block.with_values(2 * block.values)
    np.testing.assert_array_equal(doubled.to_scipy().toarray(), 2 * ROWS.toarray())


def test_block_types_are_those_of_the_kernels():
    (block,) = cut(sp.csr_array(ROWS), np.array([0, 3]))
    assert isinstance(block, Block)
    assert (block.indptr.dtype, block.indices.dtype, block.values.dtype) == (np.int64, np.int32, np.float32)
