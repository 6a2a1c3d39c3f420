"""`svds` of dense matrices, beside NumPy's SVD; of sparse ones it is tested with the solver."""

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.api.fitting import as_rows
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.errors import DataError, OptionError
from recscale_dask.execution.portable import single_threaded_blas

K = 6


def low_rank_and_noise(shape, dtype=np.float64, seed=0):
    """Return a dense matrix with some values that stand out."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((shape[0], K)) * 2.0 ** -np.arange(K) @ rng.standard_normal((K, shape[1]))
    return (signal + 0.02 * rng.standard_normal(shape)).astype(dtype)


def true_residuals(dense, result):
    u, s, vh = (each.astype(np.float64) for each in result)
    dense = dense.astype(np.float64)
    return np.hypot(np.linalg.norm(dense @ vh.T - u * s, axis=0), np.linalg.norm(dense.T @ u - vh.T * s, axis=0)) / s


SHAPES = [(300, 40), (40, 300), (120, 120), (1, 7), (7, 1), (3000, 180)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, lambda a: da.from_array(a, chunks=(77, 31))])
def test_svds_of_a_dense_matrix_is_that_of_numpy(shape, make):
    dense = low_rank_and_noise(shape)
    k = min(K, *shape)
    result = rs.svds(make(dense), k=k, tol=1e-8)
    with single_threaded_blas():  # on a busy machine BLAS threads take seconds to wait for each other
        u, s, vt = np.linalg.svd(dense, full_matrices=False)
    u, s, vt = u[:, :k][:, ::-1], s[:k][::-1], vt[:k][::-1]
    np.testing.assert_allclose(result[1], s, rtol=1e-12)
    np.testing.assert_allclose((result[0] * u).sum(axis=0) * (result[2] * vt).sum(axis=1), 1, rtol=1e-9)
    assert result.certificate.converged
    assert (true_residuals(dense, result) <= result.certificate.residuals).all()


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 0])
def test_certificate_of_float32_values_is_not_below_the_true_residual(tol):
    dense = low_rank_and_noise((3000, 350), np.float32)
    with rs.open_executor("serial") as executor:
        result = rs.svds(dense.astype(np.float64), k=K, tol=tol, executor=executor)
        single = rs.svds(dense, k=K, tol=tol, executor=executor)
    assert (true_residuals(dense, result) <= result.certificate.residuals).all()
    assert [each.dtype for each in single] == [np.float32] * 3
    assert single.certificate.converged
    np.testing.assert_allclose(single[1], result[1], rtol=max(tol**2, 1e-6))


@pytest.fixture(scope="module")
def expected():
    dense = low_rank_and_noise((3000, 400), np.float32)
    assert as_rows(dense).n_blocks == 4
    return dense, rs.svds(dense, k=K, tol=1e-6, executor="serial")


def assert_equal_bits(found, expected):
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]
    assert found.certificate.residuals.tobytes() == expected.certificate.residuals.tobytes()


@pytest.mark.parametrize("chunks", [(3000, 400), (3000, 7), (100, 400), ((1, 1999, 1000), (13, 387))])
def test_svds_has_the_same_bits_in_any_chunking(expected, chunks):
    dense, result = expected
    assert_equal_bits(rs.svds(da.from_array(dense, chunks=chunks), k=K, tol=1e-6, executor="serial"), result)


@pytest.mark.parametrize(("name", "n_workers"), [("threads", 1), ("threads", 3), ("processes", 2)])
def test_svds_of_a_dense_matrix_has_the_same_bits_on_every_executor(expected, name, n_workers):
    dense, result = expected
    with rs.open_executor(name, n_workers=n_workers) as executor:
        assert_equal_bits(rs.svds(dense, k=K, tol=1e-6, executor=executor), result)


def test_svds_computes_each_chunk_once():
    dense, computed = low_rank_and_noise((600, 50)), []

    def counted(chunk):
        computed.append(chunk.shape)
        return chunk

    array = da.from_array(dense, chunks=(200, 25)).map_blocks(counted, meta=np.empty((0, 0)))
    rs.svds(array, k=3, executor="serial")
    assert computed == [(200, 25)] * 6


def test_svds_of_a_dense_matrix_starts_from_left_or_right_vectors():
    dense = low_rank_and_noise((300, 900))
    u, s, vh = cold = rs.svds(dense, k=3, tol=1e-6)
    for v0 in (vh.T, vh[2], u, u[:, 0]):
        np.testing.assert_allclose(rs.svds(dense, k=3, tol=1e-6, v0=v0)[1], s, rtol=1e-9)
    assert rs.svds(dense, k=3, tol=1e-6, v0=u).certificate.passes <= cold.certificate.passes


@pytest.mark.parametrize("k", [0, 21, 2.5])
def test_svds_of_a_dense_matrix_refuses_k_outside_the_matrix(k):
    with pytest.raises(OptionError, match="k must be"):
        rs.svds(np.ones((30, 20)), k=k)


# -- dense or sparse ----------------------------------------------------------------------------------------


def test_arrays_with_few_zeros_are_dense_and_others_sparse():
    half, few = np.eye(2), np.eye(9)
    dense = [half, half.astype(int), da.from_array(few), DenseMatrix.from_numpy(few)]
    sparse = [few, sp.csr_array(half), np.zeros((3, 3)), np.zeros((0, 3)), rs.UserItemMatrix.from_scipy(half)]
    sparse += [sparse[-1].array, da.from_array(half, chunks=1).map_blocks(sp.csr_array)]
    with dask.config.set(scheduler="sync"):
        assert {type(as_rows(each)) for each in dense} == {DenseMatrix}
        assert {type(as_rows(each)) for each in sparse} == {rs.UserItemMatrix}


def test_dask_array_whose_chunks_turn_out_to_be_sparse_is_sparse():
    rows = sp.random_array((80, 50), density=0.3, rng=0, format="csr")
    parts = [da.from_delayed(dask.delayed(rows[a : a + 40]), (40, 50), float) for a in (0, 40)]
    with dask.config.set(scheduler="sync"):
        assert isinstance(as_rows(da.concatenate(parts)), rs.UserItemMatrix)
        np.testing.assert_array_equal(rs.svds(da.concatenate(parts), k=3)[1], rs.svds(rows, k=3)[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones(3), "two dimensions"),
        (np.full((3, 3), np.nan), "row 0, column 0 holds nan"),
        (da.full((3, 3), np.inf, chunks=2), "holds inf"),
        (np.ones((3, 3), complex), "complex128"),
        (np.full((3, 3), "x"), "real numbers"),
        ([[1.0, 2.0]], "expected a UserItemMatrix"),
        ("ratings.csv", "there is no store at"),
    ],
)
def test_what_is_no_matrix_is_refused(given, message):
    with dask.config.set(scheduler="sync"), pytest.raises(DataError, match=message):
        rs.svds(given, k=1)
