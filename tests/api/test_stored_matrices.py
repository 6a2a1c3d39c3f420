"""A matrix on disk is as good as one in memory, for all that takes a matrix."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.data.blocked_array import BlockedArray
from recscale_dask.testing.matrices import planted_tastes


@pytest.fixture(scope="module")
def matrices(tmp_path_factory):
    """The same matrix in memory and in a store, in a few blocks."""
    table = pa.table(planted_tastes(8000, 300, n_groups=6, seed=1).columns())
    memory = rs.UserItemMatrix.from_interactions(rs.read_interactions(table))
    assert memory.n_blocks > 1
    path = tmp_path_factory.mktemp("data") / "store"
    memory.save(path)
    return memory, rs.UserItemMatrix.open(path)


def fit(matrix, **options):
    return rs.factorize(matrix, rank=4, executor="threads", **options)


def files(folder):
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name != "manifest.json"}


@pytest.mark.parametrize("options", [{}, {"weighting": "binary"}, {"solver": "popularity"}, {"center": "users"}])
def test_the_saved_model_has_the_same_files(matrices, tmp_path, options):
    for name, matrix in zip(("memory", "store"), matrices, strict=True):
        fit(matrix, **options).save(tmp_path / name)
    assert files(tmp_path / "memory") == files(tmp_path / "store")
    one, other = (rs.load_model(tmp_path / name) for name in ("memory", "store"))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_model_that_is_not_saved_recommends_and_explains(matrices, executor):
    memory, stored = (fit(each) for each in matrices)
    assert isinstance(stored.seen.indices, BlockedArray)
    assert stored.fingerprint == memory.fingerprint
    assert stored.recommend(k=5, executor=executor).equals(memory.recommend(k=5, executor=executor))
    some = [memory.users.ids[each].as_py() for each in (7999, 0, 1700)]
    assert stored.recommend(some, k=5, executor=executor).equals(memory.recommend(some, k=5, executor=executor))
    user, item = some[0], memory.items.ids[7].as_py()
    assert stored.explain(user, item).contributions.equals(memory.explain(user, item).contributions)
    assert stored.explain(user, item, matrix=matrices[1]).score == memory.explain(user, item).score


def test_svds_and_the_dask_array_of_a_store_are_those_of_the_matrix(matrices):
    memory, stored = matrices
    for one, other in zip(rs.svds(memory, k=3), rs.svds(stored, k=3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (stored.array.compute() != memory.to_scipy()).nnz == 0


def test_a_matrix_with_more_items_than_users_is_fitted_from_its_store(tmp_path):
    rows = sp.random_array((300, 900), density=0.1, rng=0, format="csr").astype(np.float32)
    matrix = rs.UserItemMatrix.from_scipy(rows)
    matrix.save(tmp_path / "store")
    stored = rs.UserItemMatrix.open(tmp_path / "store")
    assert fit(stored).factors_sha256() == fit(matrix).factors_sha256()


@pytest.mark.parametrize("seed", range(5))
def test_a_blocked_array_is_read_like_an_array(matrices, seed):
    memory, stored = matrices
    whole = memory.to_scipy().indices
    blocked = fit(stored).seen.indices
    rng = np.random.default_rng(seed)
    first, last = np.sort(rng.integers(0, len(whole), 2))
    places = rng.integers(0, len(whole), 1000)
    assert len(blocked) == len(whole)
    np.testing.assert_array_equal(blocked[first:last], whole[first:last])
    np.testing.assert_array_equal(blocked[places], whole[places])
    np.testing.assert_array_equal(blocked[first:first], whole[first:first])
    np.testing.assert_array_equal(np.asarray(blocked), whole)
    np.testing.assert_array_equal(np.concatenate(list(blocked.parts())), whole)
