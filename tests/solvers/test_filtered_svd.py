"""Where a basis costs more than products, block Lanczos works with a filter of A'A, and is as right as without."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask import UserItemMatrix
from recscale_dask.errors import NotConvergedWarning
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.solvers.svd import singular_triplets

K = 60


def flat(shape=(2500, 2000), dtype=np.float32):
    rng = np.random.default_rng(0)
    return sp.random_array(shape, density=0.06, rng=rng, data_sampler=rng.standard_normal, dtype=dtype).tocsr()


def gram_values(matrix, k):
    wide = matrix.astype(np.float64).toarray()
    gram = wide.T @ wide if wide.shape[0] > wide.shape[1] else wide @ wide.T
    return np.sqrt(np.linalg.eigvalsh(gram)[: -k - 1 : -1])


def triplets(matrix, k=K, *, executor=SerialExecutor, **options):
    with executor() as opened:
        return singular_triplets(UserItemMatrix.from_scipy(matrix), k, executor=opened, **options)


def check(matrix, found, tol):
    matrix = matrix.astype(np.float64)
    left = np.linalg.norm(matrix @ found.right - found.left * found.values, axis=0)
    right = np.linalg.norm(matrix.T @ found.left - found.right * found.values, axis=0)
    residuals = np.hypot(left, right) / found.values
    assert found.certificate.converged
    assert residuals.max() <= tol
    np.testing.assert_allclose(found.certificate.residuals, residuals, rtol=0.1, atol=1e-9)
    np.testing.assert_allclose(found.values, gram_values(matrix, len(found.values)), rtol=max(tol**2, 1e-7))


@pytest.mark.parametrize("shape", [(2500, 2000), (2000, 2500)])
@pytest.mark.parametrize(("dtype", "tol"), [(np.float32, 1e-3), (np.float64, 1e-6), (np.float64, 1e-8)])
def test_flat_spectrum_is_filtered_and_certified(shape, dtype, tol):
    matrix = flat(shape, dtype)
    found = triplets(matrix, tol=tol)
    assert found.plan.degree > 1
    check(matrix, found, tol)


def test_bytes_do_not_depend_on_the_executor():
    matrix = flat()
    found, other = (triplets(matrix, tol=1e-3, executor=each) for each in (SerialExecutor, ThreadsExecutor))
    for name in ("left", "values", "right"):
        assert getattr(found, name).tobytes() == getattr(other, name).tobytes()


@pytest.mark.parametrize("factor", [0.1, 1.5, 4.0])
def test_edge_that_is_estimated_wrong_costs_time_and_nothing_else(monkeypatch, factor):
    estimate = BlockLanczos.value_at
    monkeypatch.setattr(BlockLanczos, "value_at", lambda self, count: factor * estimate(self, count))
    matrix = flat()
    check(matrix, triplets(matrix, tol=1e-3), 1e-3)


def test_copies_of_values_are_all_found():
    matrix = sp.block_diag([flat((500, 400), np.float64) * 3] * 40, format="csr")
    found = triplets(matrix, k=120, tol=1e-6)
    assert found.plan.degree > 1
    expected = np.repeat(3 * gram_values(flat((500, 400), np.float64), 3), 40)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)


def test_rank_below_k_gives_zero_triplets():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((900, 20)), rng.standard_normal((20, 600))
    matrix = sp.block_array([[sp.csr_array(factors[0] @ factors[1]), None], [None, sp.csr_array((1100, 1400))]]).tocsr()
    found = triplets(matrix, tol=1e-3)
    assert found.certificate.converged
    assert (found.values[20:] == 0).all()
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(K), atol=1e-12)
    np.testing.assert_allclose(found.values[:20], gram_values(matrix, 20), rtol=1e-6)


@pytest.mark.parametrize("maxiter", [5, 20, 60, 90])
def test_no_more_passes_are_taken_than_allowed(maxiter):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        found = triplets(flat(), tol=1e-9, maxiter=maxiter)
    assert found.certificate.passes <= maxiter
    assert np.isfinite(found.values).all()
