"""Matrices that are hard on rounding: every certificate is recomputed, by both methods and in both precisions."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask import UserItemMatrix
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.errors import DataError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.svd import singular_triplets

KINDS = {"sparse": lambda dense: UserItemMatrix.from_scipy(sp.csr_array(dense)), "dense": DenseMatrix.from_numpy}
HOW = {"chosen": {}, "lanczos": {"block_size": 8}}
EPSILON = np.finfo(float).eps


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[1e-3, 1e-6])
def tol(request):
    return request.param


@pytest.fixture(params=HOW)
def how(request):
    return HOW[request.param]


def triplets(matrix, k, *, kind="sparse", **options):
    if isinstance(matrix, np.ndarray):
        matrix = KINDS[kind](matrix)
    with SerialExecutor() as executor:
        return singular_triplets(matrix, k, executor=executor, **options)


def assert_residuals_are_measured(dense, found):
    """Assert that no residual is above its certificate, and no certificate far above its residual."""
    size = np.abs(dense).max() or 1.0
    dense, s = dense.astype(np.float64) / size, found.values / size
    u, v = found.left, found.right
    against = np.where(s > 0, s, s[0] or 1.0)
    true = np.hypot(np.linalg.norm(dense @ v - u * s, axis=0), np.linalg.norm(dense.T @ u - v * s, axis=0)) / against
    certified = found.certificate.residuals
    assert (true <= certified).all(), (true / certified).max()
    ratio = (s[0] or 1.0) / against
    # Float64 products with A'A are off by epsilon, relative to the largest value squared: not used where that is much.
    rounding = 64 * EPSILON * ratio + np.minimum(4 * EPSILON * ratio**2, found.certificate.tol / 4)
    measurable = true > 1e-9
    assert (certified <= 1.1 * true + rounding)[measurable].all(), (certified / true)[measurable].max()


def assert_right(dense, found, tol, k):
    """Assert all that is promised, against NumPy's SVD of the float64 matrix."""
    expected = np.linalg.svd(dense.astype(np.float64) / (np.abs(dense).max() or 1.0), compute_uv=False)[:k]
    values = found.values / (np.abs(dense).max() or 1.0)
    np.testing.assert_allclose(
        values, expected, rtol=max(found.certificate.max_residual, 1e-12), atol=1e-13 * expected[0]
    )
    assert found.certificate.converged
    assert found.certificate.max_residual <= tol
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(k), atol=1e-12)
    assert (found.right[np.argmax(np.abs(found.right), axis=0), range(k)] > 0).all()
    assert_residuals_are_measured(dense, found)


def with_values(shape, values, dtype, seed=0):
    """Return a dense matrix with these singular values, up to rounding to the dtype."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(values))))[0] for n in shape)
    return ((left * values) @ right.T).astype(dtype)


def scattered(shape, dtype, *, density=0.2, seed=0):
    """Return a random matrix with many zeros."""
    rng = np.random.default_rng(seed)
    return sp.random_array(shape, density=density, rng=rng, data_sampler=rng.standard_normal).toarray().astype(dtype)


SHAPES = [(230, 120), (120, 230)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", [1e3, 1e4, 1e5])
def test_small_values_beside_a_large_one_are_certified(shape, ratio, kind, dtype, tol, how):
    dense = with_values(shape, np.geomspace(1, 1 / ratio, 40), dtype)
    assert_right(dense, triplets(dense, 40, kind=kind, tol=tol, **how), tol, 40)


@pytest.mark.parametrize("tol", [1e-8, 1e-9])
@pytest.mark.parametrize("ratio", [1e3, 1e4])
def test_tight_tolerance_is_certified_where_products_with_the_gram_matrix_round_too_much(ratio, tol, kind, how):
    dense = with_values(
        (230, 120), np.concatenate([np.geomspace(1, 1 / ratio, 30), np.linspace(0.9, 0.1, 60) / ratio]), float
    )
    assert_right(dense, triplets(dense, 30, kind=kind, tol=tol, **how), tol, 30)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_value_far_above_the_rest(shape, kind, dtype, tol, how):
    dense = with_values(shape, np.concatenate([[1e5], np.linspace(2, 1, 60)]), dtype)
    assert_right(dense, triplets(dense, 10, kind=kind, tol=tol, **how), tol, 10)


VALUES = {
    "clustered": np.concatenate([3 + 1e-5 * np.arange(12), np.linspace(2, 1, 40)]),
    "two clusters": np.concatenate([[100] * 5, 1 + 1e-4 * np.arange(30), [0.5]]),
    "repeated": np.repeat([5.0, 3, 1], 15),
    "all equal": np.ones(50),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_clusters_and_copies(shape, values, kind, dtype, tol, how):
    dense = with_values(shape, values, dtype)
    assert_right(dense, triplets(dense, 20, kind=kind, tol=tol, **how), tol, 20)


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_copies_beyond_the_block_are_all_found(shape, kind, dtype, tol):
    # Whole numbers, so that copies are exact in float32 too: unlike those above, which rounding tells apart.
    dense = np.zeros(shape, dtype)
    place = np.arange(100)
    dense[place, (7 * place) % 120] = np.repeat([4, 2, 1], [30, 30, 40])
    found = triplets(dense, 40, kind=kind, tol=tol, block_size=4)
    assert_right(dense, found, tol, 40)
    assert (found.values > 3).sum() == 30


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 4, 30])
def test_rank_below_k_gives_zero_triplets(shape, rank, kind, dtype, tol, how):
    # Small whole numbers: the rank is exact.
    rng = np.random.default_rng(rank)
    dense = (rng.integers(-3, 4, (shape[0], rank)) @ rng.integers(-3, 4, (rank, shape[1]))).astype(dtype)
    k = rank + 10
    found = triplets(dense, k, kind=kind, tol=tol, **how)
    assert_right(dense, found, tol, k)
    assert (found.values[:rank] > 0).all()
    assert (found.values[rank:] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_zero_rows_and_columns(shape, kind, dtype, tol, how):
    dense = scattered(shape, dtype)
    dense[::3], dense[:, 1::4], dense[-50:] = 0, 0, 0
    found = triplets(dense, 12, kind=kind, tol=tol, **how)
    assert_right(dense, found, tol, 12)
    assert np.abs(found.left[(dense == 0).all(axis=1)]).max() <= tol
    assert np.abs(found.right[(dense == 0).all(axis=0)]).max() <= tol


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 700), (700, 1), (1, 1)])
def test_one_row_or_one_column(shape, kind, dtype, tol, how):
    dense = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    found = triplets(dense, 1, kind=kind, tol=tol, **how)
    assert_right(dense, found, tol, 1)
    assert found.values[0] == pytest.approx(np.linalg.norm(dense.astype(float)), rel=1e-12)


@pytest.mark.parametrize("shape", [(60, 35), (35, 60), (40, 40), (3, 2), (2, 2), (170, 130)])
@pytest.mark.parametrize("less", [0, 1])
def test_all_triplets_or_all_but_one(shape, less, kind, dtype, tol, how):
    dense = scattered(shape, dtype, density=0.6, seed=3)
    k = min(shape) - less
    assert_right(dense, triplets(dense, k, kind=kind, tol=tol, **how), tol, k)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 10.0**power) for power in (-30, -18, -12, -7, 6, 9, 12, 18, 30)]
    + [(np.float64, 10.0**power) for power in (-200, -150, -90, -30, 30, 60, 90, 150, 200)],
    ids=lambda each: getattr(each, "__name__", f"{each:.0e}" if isinstance(each, float) else None),
)
@pytest.mark.parametrize("shape", SHAPES)
def test_very_large_and_very_small_values(shape, dtype, scale, kind, tol, how):
    dense = scattered(shape, dtype) * dtype(scale)
    assert_right(dense, triplets(dense, 10, kind=kind, tol=tol, **how), tol, 10)


@pytest.mark.parametrize("power", [-160, -30, -10, 10, 30, 160])
@pytest.mark.parametrize("center", ["items", "users", "global"])
def test_centring_of_very_large_and_very_small_values(power, center, kind, dtype, how):
    scale = 10.0 ** (power if dtype is np.float64 else min(max(power, -30), 30))
    dense = (np.abs(scattered((130, 90), dtype)) * dtype(scale)).astype(dtype)
    means = {"items": {"axis": 0}, "users": {"axis": 1, "keepdims": True}, "global": {}}[center]
    exact = dense.astype(np.float64)
    exact -= exact.mean(**means)
    found = triplets(dense, 10, kind=kind, tol=1e-6, center=center, **how)
    assert_right(exact, found, 1e-6, 10)


# -- what the numbers come in --------------------------------------------------------------------------------


def disordered(rows):
    """Return the same matrix as CSR with unsorted columns and every entry in two halves."""
    order = np.concatenate([np.arange(a, b)[::-1].repeat(2) for a, b in pairwise(rows.indptr)])
    return sp.csr_matrix((rows.data[order] / 2, rows.indices[order], 2 * rows.indptr), shape=rows.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_unsorted_and_duplicate_entries_are_the_matrix_that_they_sum_to(shape, dtype, how):
    rows = sp.csr_array(scattered(shape, dtype))
    messy = disordered(rows)
    assert not messy.has_canonical_format
    before = messy.data.copy(), messy.indices.copy()
    expected, found = (triplets(UserItemMatrix.from_scipy(each), 6, tol=1e-6, **how) for each in (rows, messy))
    assert found.left.tobytes() == expected.left.tobytes()
    assert found.right.tobytes() == expected.right.tobytes()
    np.testing.assert_array_equal(messy.data, before[0])
    np.testing.assert_array_equal(messy.indices, before[1])


def test_arrays_of_csr_with_gaps_in_memory_are_read_as_they_are(dtype, how):
    rows = sp.csr_array(scattered((230, 120), dtype))
    wide = sp.csr_array(
        (np.repeat(rows.data, 2)[::2], np.repeat(rows.indices, 3)[::3], np.repeat(rows.indptr, 2)[::2]), rows.shape
    )
    expected, found = (triplets(UserItemMatrix.from_scipy(each), 6, tol=1e-6, **how) for each in (rows, wide))
    assert found.left.tobytes() == expected.left.tobytes()


@pytest.mark.parametrize("given", ["i1", "u2", "i8", "?"])
def test_whole_numbers_and_booleans_are_the_same_numbers_in_float32(given, kind, how):
    dense = (np.abs(scattered((150, 90), np.float64)) * 20).astype(given)
    found = triplets(dense if kind == "dense" else KINDS["sparse"](dense), 6, kind="dense", tol=1e-6, **how)
    again = triplets(dense.astype(np.float32), 6, kind=kind, tol=1e-6, **how)
    assert found.left.tobytes() == again.left.tobytes()
    assert_right(dense.astype(np.float64), found, 1e-6, 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_is_refused_by_its_row(bad, kind, dtype):
    dense = scattered((230, 120), dtype)
    dense[217, 5] = bad
    with pytest.raises(DataError, match=rf"row 217, column 5 holds {bad}"):
        triplets(dense, 3, kind=kind, tol=1e-3)
