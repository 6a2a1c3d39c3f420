"""Centring without densifying, beside the dense SVD of the matrix that is centred explicitly."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import recscale_dask as rs
from recscale_dask import UserItemMatrix
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.errors import OptionError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.svd import singular_triplets
from recscale_dask.solvers.warm_start import StartVectors

KINDS = {"sparse": lambda dense: UserItemMatrix.from_scipy(sp.csr_array(dense)), "dense": DenseMatrix.from_numpy}
CENTERS = ["items", "users", "global"]
SHAPES = [(180, 70), (70, 180), (90, 90)]


def ratings(shape, dtype=np.float64, seed=0, density=0.3):
    """Return a matrix of zeros and ratings from 1 to 5, of which users and items have different means."""
    rng = np.random.default_rng(seed)
    liked = rng.random(shape) < density * (0.3 + rng.random(shape[1])) * (0.3 + rng.random((shape[0], 1)))
    return (liked * rng.integers(1, 6, shape)).astype(dtype)


def centered(dense, center):
    exact = dense.astype(np.float64)
    if center == "items":
        return exact - exact.mean(axis=0)
    return exact - (exact.mean(axis=1, keepdims=True) if center == "users" else exact.mean())


def triplets(dense, k, *, kind="sparse", tol=1e-8, **options):
    with SerialExecutor() as executor:
        return singular_triplets(KINDS[kind](dense), k, tol=tol, executor=executor, **options)


def true_residuals(dense, found):
    u, s, v = found.left, found.values, found.right
    return np.hypot(np.linalg.norm(dense @ v - u * s, axis=0), np.linalg.norm(dense.T @ u - v * s, axis=0)) / s


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", [{}, {"block_size": 6}], ids=["chosen", "lanczos"])
def test_triplets_are_those_of_the_centred_matrix(center, shape, kind, dtype, how):
    dense = ratings(shape, dtype)
    exact = centered(dense, center)
    for tol in (1e-3, 1e-8):
        found = triplets(dense, 9, kind=kind, tol=tol, center=center, **how)
        u, s, vt = np.linalg.svd(exact)
        np.testing.assert_allclose(found.values, s[:9], rtol=max(tol**2, 1e-11))
        true = true_residuals(exact, found)
        assert (true <= found.certificate.residuals).all()
        assert (found.certificate.residuals <= 1.1 * true)[true > 1e-9].all()
        assert found.certificate.max_residual <= tol
    signs = np.sign(found.right[np.argmax(np.abs(vt[:9]), axis=1), range(9)] * np.abs(vt[:9]).max(axis=1))
    signs *= np.sign(vt[range(9), np.argmax(np.abs(vt[:9]), axis=1)])
    np.testing.assert_allclose(found.right * signs, vt[:9].T, atol=1e-5)
    np.testing.assert_allclose(found.left * signs, u[:, :9], atol=1e-5)
    np.testing.assert_allclose(np.outer(found.center.rows, found.center.columns), dense - exact, atol=1e-12)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_start_vectors_are_of_the_matrix_as_it_is_given(center, kind, shape):
    dense = ratings(shape)
    cold = triplets(dense, 5, kind=kind, center=center, block_size=6)
    warm = triplets(dense, 5, kind=kind, center=center, block_size=6, start=StartVectors(cold.right))
    np.testing.assert_allclose(warm.values, cold.values, rtol=1e-12)
    assert warm.certificate.passes <= cold.certificate.passes


@given(
    st.integers(2, 25), st.integers(2, 25), st.integers(0, 2**32 - 1), st.sampled_from(CENTERS), st.floats(0.05, 1.0)
)
@settings(max_examples=40, deadline=None)
def test_any_matrix_has_the_values_of_the_centred_one(n_rows, n_columns, seed, center, density):
    dense = ratings((n_rows, n_columns), seed=seed, density=density)
    k = min(n_rows, n_columns)
    found = triplets(dense, k, center=center)
    expected = np.linalg.svd(centered(dense, center), compute_uv=False)
    # What is zero but for the rounding of the means may be found as zero, or as that rounding.
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-6 * max(1.0, dense.max()))
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(k), atol=1e-11)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(k), atol=1e-11)


@pytest.mark.parametrize("svd_solver", ["arpack", "covariance_eigh"])
@pytest.mark.parametrize("shape", SHAPES)
def test_centred_items_are_the_principal_components_of_scikit_learn(svd_solver, shape):
    rows = sp.csr_array(ratings(shape))
    theirs = PCA(6, svd_solver=svd_solver, random_state=0).fit(sp.csr_matrix(rows))
    found = triplets(rows.toarray(), 6, center="items")
    signs = np.sign((found.right * theirs.components_.T).sum(axis=0))
    np.testing.assert_allclose(found.right * signs, theirs.components_.T, atol=1e-6)
    np.testing.assert_allclose(found.values, theirs.singular_values_, rtol=1e-7)
    np.testing.assert_allclose(found.center.columns, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(found.values**2 / (shape[0] - 1), theirs.explained_variance_, rtol=1e-7)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_model_of_full_rank_is_the_matrix_itself(center, shape, dtype):
    dense = ratings(shape, dtype)
    k = min(shape) - 1
    dense[:, -1] = dense[:, 0]  # so that this rank is full, and centring
    dense[-1] = dense[0]  # leaves it so
    model = rs.factorize(sp.csr_array(dense), rank=k, center=center, tol=1e-6, executor="serial")
    assert model.user_factors.shape == (shape[0], k + 1)
    assert model.item_factors.shape == (shape[1], k + 1)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, dense, atol=1e-4)
    expected = np.linalg.svd(centered(dense, center), compute_uv=False)[:k]
    np.testing.assert_allclose(model.singular_values, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_model_of_low_rank_adds_the_means_to_the_truncated_svd(center, shape):
    dense = ratings(shape)
    model = rs.factorize(sp.csr_array(dense), rank=7, center=center, tol=1e-8, executor="serial")
    exact = centered(dense, center)
    u, s, vt = np.linalg.svd(exact)
    expected = u[:, :7] * s[:7] @ vt[:7] + dense - exact
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, expected, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct().compute(scheduler="sync"), expected, atol=1e-5)
    assert model.provenance["plan"]["side"] == ("rows" if shape[0] < shape[1] else "columns")


@pytest.mark.parametrize("center", CENTERS)
def test_scaling_is_undone_around_the_centre(center):
    dense = ratings((80, 50)) + np.eye(80, 50)
    dense = np.column_stack([dense, dense[:, 0]])  # the scaled matrix has the rank that is asked for
    model = rs.factorize(sp.csr_array(dense), rank=50, center=center, user_scaling=0.5, item_scaling=0.4, tol=1e-6)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, dense, atol=1e-4)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_matrix_of_equal_values_is_zero_when_centred(center, kind):
    found = triplets(np.full((40, 30), 3.0), 2, kind=kind, center=center, tol=1e-3)
    assert found.values.max() < 1e-5
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(2), atol=1e-11)


@pytest.mark.parametrize("bad", ["columns", "", "ITEMS", 3, True])
def test_what_cannot_be_subtracted_is_refused(bad):
    message = "center is one of 'items', 'users', 'global', or None; got"
    with pytest.raises(OptionError, match=message):
        triplets(np.eye(5), 2, center=bad)
    with pytest.raises(OptionError, match=message):
        rs.factorize(np.eye(5), rank=2, center=bad, executor="serial")


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [1e2, 1e4])
def test_means_far_above_what_is_left_cost_no_accuracy(center, kind, level):
    dense = level + np.random.default_rng(0).standard_normal((150, 60))
    exact = centered(dense, center)
    found = triplets(dense, 5, kind=kind, center=center, tol=1e-6)
    np.testing.assert_allclose(found.values, np.linalg.svd(exact, compute_uv=False)[:5], rtol=1e-9)
    assert (true_residuals(exact, found) <= found.certificate.residuals).all()
