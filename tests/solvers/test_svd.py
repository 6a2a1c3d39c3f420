import pickle
import warnings
from contextlib import ExitStack
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import svds as scipy_svds

import recscale_dask as rs
from recscale_dask import UserItemMatrix
from recscale_dask.data import blocks
from recscale_dask.data import dense as dense_module
from recscale_dask.data.dense import DenseMatrix
from recscale_dask.errors import NotConvergedWarning, OptionError
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.solvers import svd, svd_engine
from recscale_dask.solvers.svd import SVDSolver, singular_triplets
from recscale_dask.solvers.svd_plan import plan_svd
from recscale_dask.solvers.warm_start import StartVectors
from recscale_dask.testing.matrices import checkerboard, planted_low_rank

SHAPES = [(300, 40), (40, 300), (100, 100), (5, 3), (3, 5), (2, 2), (400, 180), (180, 400), (300, 300), (7, 600)]


def random_sparse(shape, density=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return sp.random_array(shape, density=density, rng=rng, data_sampler=rng.standard_normal).tocsr()


def triplets(matrix, k, tol=1e-6, **options):
    with SerialExecutor() as executor:
        return singular_triplets(UserItemMatrix.from_scipy(matrix), k, tol=tol, executor=executor, **options)


def true_residuals(dense, found):
    u, s, v = found.left, found.values, found.right
    against = np.where(s > 0, s, s[0] or 1.0)
    return np.hypot(np.linalg.norm(dense @ v - u * s, axis=0), np.linalg.norm(dense.T @ u - v * s, axis=0)) / against


def check(matrix, found, *, tol=1e-6, rtol=1e-5):
    """Assert all that is promised of triplets, against the dense SVD."""
    dense = matrix.toarray().astype(np.float64)
    k = len(found.values)
    expected = np.linalg.svd(dense, compute_uv=False)[:k]
    np.testing.assert_allclose(found.values, expected, rtol=rtol, atol=1e-13 * expected[0])
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(k), atol=1e-12)
    assert (true_residuals(dense, found) <= found.certificate.residuals).all()
    assert found.certificate.converged
    assert found.certificate.max_residual <= tol
    largest = found.right[np.argmax(np.abs(found.right), axis=0), range(k)]
    assert (largest > 0).all()


@pytest.mark.parametrize("number", range(50))
def test_random_matrices_of_assorted_shapes_against_numpy(number):
    shape = SHAPES[number % len(SHAPES)]
    rng = np.random.default_rng(number)
    matrix = random_sparse(shape, max(rng.choice([0.02, 0.1, 0.4]), 2 / min(shape)), seed=number)
    k = min(shape) if number % 4 == 0 else int(rng.integers(1, min(shape) + 1))
    check(matrix, triplets(matrix, k))


@pytest.mark.parametrize("shape", [(500, 300), (300, 500), (60, 1000), (1000, 60)])
def test_planted_triplets_are_found(shape):
    planted = planted_low_rank(*shape, np.geomspace(10, 0.1, 12))
    found = triplets(planted.matrix, 12)
    check(planted.matrix, found)
    assert np.abs((found.right * planted.item_vectors).sum(axis=0)).min() > 1 - 1e-9
    assert np.abs((found.left * planted.user_vectors).sum(axis=0)).min() > 1 - 1e-9


@pytest.mark.parametrize("k", [5, 20, 30, 45])
def test_repeated_values_are_all_found(k):
    planted = planted_low_rank(700, 600, [5] * 25 + [3] * 20, density=0.02)
    check(planted.matrix, triplets(planted.matrix, k))


def test_copies_are_found_before_a_slow_tail_at_a_loose_tolerance():
    values = np.concatenate([[1] * 40, np.linspace(0.99, 0.2, 100)])
    planted = planted_low_rank(3000, 3000, values, density=0.005)
    found = triplets(planted.matrix, 50, tol=1e-3)
    np.testing.assert_allclose(found.values, values[:50], rtol=1e-5)


def test_every_component_of_a_normalised_graph_has_its_value_one():
    # As many copies of 1 as there are groups of users and items that share nothing.
    rng = np.random.default_rng(0)
    groups = [np.maximum(rng.integers(0, 2, (9, 7)), np.eye(9, 7)) for _ in range(60)]
    for group in groups:
        group[0] = group[:, 0] = 1
    matrix = sp.block_diag(groups, format="csr")
    model = rs.factorize(matrix, rank=70, user_scaling=0.5, item_scaling=0.5, executor="serial")
    np.testing.assert_allclose(model.singular_values[:60], 1, rtol=1e-5)
    assert model.singular_values[60] < 0.95


@pytest.mark.parametrize("spread", [1e-12, 1e-8, 1e-4])
def test_clustered_values(spread):
    values = np.concatenate([3 + spread * np.arange(20), [1, 0.5]])
    planted = planted_low_rank(500, 400, values, density=0.04)
    check(planted.matrix, triplets(planted.matrix, 21))


@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-7, 1e-8])
@pytest.mark.parametrize("shape", [(400, 300), (60, 700), (200, 200)])
def test_small_values_are_as_exact_as_large_ones(smallest, shape):
    planted = planted_low_rank(*shape, np.geomspace(1, smallest, 20), density=0.03)
    check(planted.matrix, triplets(planted.matrix, 20))


@pytest.mark.parametrize("k", [4, 8, 40])
@pytest.mark.parametrize("shape", [(50, 40), (400, 300), (40, 500)])
def test_rank_below_k_gives_zero_triplets_with_orthonormal_vectors(shape, k):
    planted = planted_low_rank(*shape, [4, 2, 1])
    found = triplets(planted.matrix, k)
    check(planted.matrix, found)
    assert (found.values[3:] == 0).all()
    assert np.abs(planted.matrix.T @ found.left[:, 3:]).max() < 1e-12


@pytest.mark.parametrize("shape", [(6, 4), (300, 500)])
def test_matrix_of_zeros(shape):
    found = triplets(sp.csr_array(shape), 3)
    assert found.values.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(3), atol=1e-14)
    assert found.certificate.converged


def test_rows_and_columns_of_zeros_have_zero_factors():
    dense = random_sparse((300, 400), seed=4).toarray()
    dense[::3], dense[:, ::5] = 0, 0
    found = triplets(sp.csr_array(dense), 20)
    check(sp.csr_array(dense), found)
    assert np.abs(found.left[::3]).max() < 1e-12
    assert np.abs(found.right[::5]).max() < 1e-6  # within the tolerance: the start is random there


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_of_the_values_does_not_matter(scale, dtype):
    matrix = (random_sparse((400, 300), seed=2) * scale).astype(dtype)
    check(matrix, triplets(matrix, 15))


@pytest.mark.parametrize("n", [8, 400])
def test_checkerboard(n):
    found = triplets(checkerboard(n), 4)
    np.testing.assert_allclose(found.values, [n / 2 - 1, n / 2 - 1, 1, 1], rtol=1e-9)


def test_tol_zero_is_working_precision():
    matrix = random_sparse((400, 300))
    assert triplets(matrix, 10, tol=0).certificate.max_residual <= 1e-10


def test_warm_start_takes_fewer_passes():
    matrix = random_sparse((2000, 1000), 0.01)
    cold = triplets(matrix, 8, tol=1e-4)
    warm = triplets(matrix, 8, tol=1e-4, start=StartVectors(cold.right))
    assert warm.certificate.passes < cold.certificate.passes


@pytest.mark.parametrize(("shape", "dtype"), [((3000, 2000), np.float32), ((2000, 3000), np.float64)])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_vectors_of_a_slightly_changed_matrix_save_passes(shape, dtype, tol):
    rows = random_sparse(shape, 0.01) @ sp.diags_array(np.linspace(3, 1, shape[1]))
    changed = rows.copy()
    changed.data *= 1 + 1e-3 * np.random.default_rng(1).standard_normal(changed.nnz)
    earlier = triplets(rows.astype(dtype), 20, tol=tol)
    fresh = triplets(changed.astype(dtype), 20, tol=tol)
    warm = triplets(changed.astype(dtype), 20, tol=tol, start=StartVectors(earlier.right))
    assert fresh.plan.method == warm.plan.method == "block Lanczos"
    assert warm.certificate.passes <= 0.75 * fresh.certificate.passes
    assert warm.certificate.converged
    assert warm.certificate.max_residual <= tol
    np.testing.assert_allclose(warm.values, fresh.values, rtol=max(10 * tol**2, 1e-10))
    u, s, vh = rs.svds(changed.astype(dtype), k=20, tol=tol, v0=earlier.right)
    assert len(s) == 20
    np.testing.assert_allclose(s[::-1], fresh.values, rtol=1e-5)
    assert (u.shape, vh.shape) == ((shape[0], 20), (20, shape[1]))


def test_too_few_passes_are_warned_about_and_certified():
    matrix = random_sparse((600, 600))
    with pytest.warns(NotConvergedWarning, match="have a residual above tol=1e-06 after 2 passes"):
        found = triplets(matrix, 10, maxiter=2, block_size=16)
    assert not found.certificate.converged
    assert found.certificate.passes == 2
    assert (true_residuals(matrix.toarray(), found) <= found.certificate.residuals).all()


def test_passes_that_cannot_span_k_vectors_still_give_k_triplets():
    matrix = random_sparse((600, 600))
    with pytest.warns(NotConvergedWarning):
        found = triplets(matrix, 100, maxiter=1, block_size=32)
    assert len(found.values) == 100


def test_tolerance_below_rounding_is_given_up_soon():
    with pytest.warns(NotConvergedWarning):
        found = triplets(random_sparse((600, 500)), 5, tol=1e-18)
    assert found.certificate.passes < 60
    assert found.certificate.max_residual < 1e-13


@pytest.mark.parametrize("options", [{"block_size": 1}, {"block_size": 500}, {"basis_size": 1}, {"basis_size": 5000}])
def test_any_block_and_basis_size_gives_the_same_values(options):
    matrix = random_sparse((400, 350))
    check(matrix, triplets(matrix, 9, **options))


@pytest.mark.parametrize("option", ["maxiter", "block_size", "basis_size"])
def test_options_below_one_are_refused(option):
    with pytest.raises(OptionError, match=rf"{option} must be a whole number of at least 1; got {option}=0"):
        triplets(np.eye(4), 2, **{option: 0})


@pytest.mark.parametrize("tol", [-1e-3, np.nan])
def test_negative_tolerance_is_refused(tol):
    with pytest.raises(OptionError, match="tol must be 0 or a positive fraction"):
        triplets(np.eye(4), 2, tol=tol)


# -- the same everywhere ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere():
    """All engines of this machine, open."""
    with ExitStack() as stack:
        yield {
            "serial": stack.enter_context(SerialExecutor()),
            **{f"threads {n}": stack.enter_context(ThreadsExecutor(n)) for n in (1, 2, 3)},
            **{f"processes {n}": stack.enter_context(ProcessesExecutor(n)) for n in (1, 2)},
        }


@pytest.fixture
def _more_blocks(monkeypatch):
    """Cut small matrices into blocks enough for sums in several orders."""
    monkeypatch.setattr(blocks, "_SMALL_BLOCKS", 8)
    monkeypatch.setattr(blocks, "_SMALL_BLOCK_VALUES", 1 << 12)
    monkeypatch.setattr(dense_module, "_SMALL_BLOCK_VALUES", 1 << 12)


@pytest.mark.usefixtures("_more_blocks")
@pytest.mark.parametrize("options", [{}, {"weighting": "bm25", "user_scaling": 0.5, "item_scaling": 0.5}])
@pytest.mark.parametrize("how", [{}, {"block_size": 16}])
def test_factors_have_the_same_bytes_on_every_executor(everywhere, options, how):
    rows = abs(random_sparse((1500, 400), 0.5)).astype(np.float32)
    matrix = UserItemMatrix.from_scipy(rows)
    assert matrix.n_blocks >= 8
    hashes = {
        name: rs.factorize(matrix, rank=8, executor=executor, **options, **how).factors_sha256()
        for name, executor in everywhere.items()
    }
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.usefixtures("_more_blocks")
def test_tiny_values_are_certified_with_the_same_bytes_everywhere(everywhere):
    planted = planted_low_rank(2000, 1800, np.geomspace(1, 1e-7, 8), density=0.08)
    matrix = UserItemMatrix.from_scipy(planted.matrix)
    assert matrix.n_blocks >= 8
    found = [singular_triplets(matrix, 8, tol=1e-6, executor=each) for each in everywhere.values()]
    assert len({each.left.tobytes() + each.certificate.residuals.tobytes() for each in found}) == 1


def steep(n_rows, n_columns):
    """A matrix whose small values float32 passes cannot see."""
    rng = np.random.default_rng(3)
    values = np.concatenate([np.geomspace(1, 1e-4, 40), np.full(n_columns - 40, 1e-6)])
    dense = rng.standard_normal((n_rows, n_columns)) * values
    return dense @ np.linalg.qr(rng.standard_normal((n_columns, n_columns)))[0]


WAYS = {
    "float32 passes": (np.float32, {"block_size": 16, "tol": 1e-3}),
    "float64 passes": (np.float64, {"block_size": 16, "tol": 1e-8}),
    "whole Gram matrix": (np.float32, {"tol": 1e-3}),
    "centred": (np.float32, {"block_size": 16, "tol": 1e-3, "center": "users"}),
    "centred, whole Gram matrix": (np.float64, {"tol": 1e-6, "center": "items"}),
}


@pytest.mark.usefixtures("_more_blocks")
@pytest.mark.parametrize("way", [*WAYS, "too coarse"])
@pytest.mark.parametrize("make", [DenseMatrix.from_numpy, UserItemMatrix.from_scipy], ids=["dense", "sparse"])
def test_every_way_to_the_triplets_has_the_same_bytes_everywhere(everywhere, monkeypatch, make, way):
    if way == "too coarse":
        dtype, options, dense = np.float32, {"block_size": 8, "tol": 1e-3}, steep(2000, 400)
    else:
        (dtype, options), dense = WAYS[way], abs(random_sparse((5000, 40), 0.25).toarray())
    matrix = make(dense.astype(dtype))
    assert matrix.n_blocks >= 8
    dtypes = []

    def lanczos(*args, **kwargs):
        dtypes.append(kwargs["dtype"])
        return BlockLanczos(*args, **kwargs)

    def whole(*args, **kwargs):
        return replace(plan_svd(*args, **kwargs), method="whole Gram matrix")

    monkeypatch.setattr(svd_engine, "BlockLanczos", lanczos)
    if "block_size" not in options:
        monkeypatch.setattr(svd, "plan_svd", whole)
    k = 40 if way == "too coarse" else 8
    found = {name: singular_triplets(matrix, k, executor=each, **options) for name, each in everywhere.items()}
    one = found["serial"]
    assert one.certificate.converged
    assert one.plan.method == ("block Lanczos" if "block_size" in options else "whole Gram matrix")
    assert one.plan.dtype == np.dtype(dtype).name
    searches = {"too coarse": [np.float32, np.float64], "float64 passes": [np.float64]}.get(way, [np.float32])
    each = len(dtypes) // len(everywhere)
    assert dtypes == dtypes[:each] * len(everywhere)
    assert dtypes[:each][:2] == (searches if "block_size" in options else [])
    digests = {
        name: [each.tobytes() for each in (f.left, f.values, f.right, f.certificate.residuals)]
        for name, f in found.items()
    }
    assert all(digest == digests["serial"] for digest in digests.values()), digests.keys()


def test_order_of_rows_does_not_matter_beyond_rounding():
    rows = random_sparse((500, 300), seed=8)
    order = np.random.default_rng(0).permutation(500)
    first, second = triplets(rows, 6, tol=1e-9), triplets(rows[order], 6, tol=1e-9)
    np.testing.assert_allclose(second.values, first.values, rtol=1e-13)
    np.testing.assert_allclose(second.left, first.left[order], atol=1e-7)
    np.testing.assert_allclose(second.right, first.right, atol=1e-7)


def test_seed_changes_the_way_but_not_the_answer():
    matrix = random_sparse((500, 400))
    first, again, other = (triplets(matrix, 5, tol=1e-9, seed=seed, block_size=16) for seed in (0, 0, 1))
    assert first.left.tobytes() == again.left.tobytes()
    assert first.left.tobytes() != other.left.tobytes()
    np.testing.assert_allclose(first.left, other.left, atol=1e-7)


# -- factors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0.5, 0.5), (1, 0), (0, 0.4)])
def test_factors_approximate_the_matrix_itself_with_scaling_undone(a, b):
    dense = np.abs(random_sparse((60, 40), 0.3).toarray())
    model = rs.factorize(dense, rank=39, user_scaling=a, item_scaling=b, tol=1e-8)
    rows, columns = dense.sum(axis=1) ** a, dense.sum(axis=0) ** b
    u, s, vt = np.linalg.svd(dense / rows[:, None] / columns)
    truncated = (u[:, :39] * s[:39] @ vt[:39]) * rows[:, None] * columns
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, truncated, atol=2e-5)
    np.testing.assert_allclose(model.singular_values, s[:39], rtol=1e-7)


def test_popularity_scores_every_item_by_its_users():
    dense = np.array([[1, 1, 0, 0], [1, 0, 5, 0], [1, 1, 0, 0]])
    model = rs.factorize(dense, solver="popularity")
    assert model.reconstruct().compute(scheduler="sync").tolist() == [[3, 2, 1, 0]] * 3
    assert model.certificate is None
    assert model.rank == 1
    table = model.recommend([1], k=2, executor="serial").to_pydict()
    assert table == {"user": [1, 1], "item": [1, 3], "rank": [1, 2], "score": [2, 0]}
    values = np.linalg.svd(model.user_factors @ model.item_factors.T, compute_uv=False)
    np.testing.assert_allclose(model.singular_values, values[:1], rtol=1e-6)


def test_solver_is_a_frozen_record_of_its_options():
    assert SVDSolver(maxiter=3) == SVDSolver(maxiter=3)
    with pytest.raises(AttributeError):
        SVDSolver().maxiter = 2


# -- svds, beside SciPy's ---------------------------------------------------------------------------------

SOURCES = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "coo_array": sp.coo_array,
    "csc_matrix": sp.csc_matrix,
    "numpy": lambda rows: rows.toarray(),
    "dask": lambda rows: da.from_array(rows.toarray(), chunks=(30, 17)),
    "matrix": UserItemMatrix.from_scipy,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_svds_is_that_of_scipy_on_any_input(make):
    rows = random_sparse((80, 50), 0.3)
    u, s, vh = rs.svds(make(rows), k=5)
    expected_u, expected_s, expected_vh = scipy_svds(rows, k=5)
    np.testing.assert_allclose(s, expected_s, rtol=1e-10)
    signs = np.sign((u * expected_u).sum(axis=0))
    np.testing.assert_allclose(u * signs, expected_u, atol=1e-8)
    np.testing.assert_allclose(vh * signs[:, None], expected_vh, atol=1e-8)
    assert (u.shape, s.shape, vh.shape) == ((80, 5), (5,), (5, 50))


@pytest.mark.parametrize("dtype", ["?", "i4", "i8", "f4", "f8"])
def test_svds_has_the_dtypes_of_scipy(dtype):
    matrix = sp.csr_array((random_sparse((30, 20), 0.4) * 10).astype(np.int64).astype(dtype))
    ours = rs.svds(matrix, k=3)
    theirs = scipy_svds(matrix if dtype[0] == "f" else matrix.astype(float), k=3)
    assert [each.dtype for each in ours] == [each.dtype for each in theirs]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)


def test_svds_returns_what_is_asked_for():
    matrix = random_sparse((30, 20), 0.3)
    u, s, vh = rs.svds(matrix, k=4)
    for nothing in (False, 0):
        np.testing.assert_array_equal(rs.svds(matrix, k=4, return_singular_vectors=nothing), s)
    only_u, _, none = rs.svds(matrix, k=4, return_singular_vectors="u")
    assert none is None
    np.testing.assert_array_equal(only_u, u)
    none, _, only_vh = rs.svds(matrix, k=4, return_singular_vectors="vh")
    assert none is None
    np.testing.assert_array_equal(only_vh, vh)


def test_svds_has_its_certificate_in_the_order_of_its_values_and_pickles():
    result = rs.svds(random_sparse((300, 280)), k=4, tol=1e-4)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.certificate.residuals, result.certificate.residuals)
    np.testing.assert_array_equal(again[1], result[1])
    assert len(result) == 3
    assert result.certificate.converged


@pytest.mark.parametrize("k", [0, -1, 21, 2.5, True, "3", None])
def test_svds_refuses_k_outside_the_matrix(k):
    with pytest.raises(
        OptionError,
        match=r"k must be (a whole number of at least 1|from 1 to the smaller side of the matrix, 20); got k=",
    ):
        rs.svds(random_sparse((30, 20)), k=k)


def test_svds_takes_k_up_to_the_smaller_side_and_one_row():
    assert rs.svds(np.ones((1, 7)), k=1)[1].tolist() == pytest.approx([np.sqrt(7)])
    assert len(rs.svds(np.eye(5), k=5)[1]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"which": "SM"}, "which='LM'"),
        ({"return_singular_vectors": "x"}, "'u' or 'vh'"),
        ({"tol": -1}, "tol"),
        ({"v0": np.ones(29)}, "right vectors of 20 entries"),
        ({"v0": np.full(20, np.nan)}, "finite"),
        ({"v0": 3.0}, "right vectors"),
        ({"executor": 5}, "executor must be a name"),
    ],
)
def test_svds_refuses_what_it_cannot_do(options, message):
    with pytest.raises(OptionError, match=message):
        rs.svds(random_sparse((30, 20)), k=2, **options)


def test_svds_takes_start_vectors_as_scipy_has_them():
    wide = random_sparse((1500, 2500), 0.01)  # too large for a whole Gram matrix, which needs no start
    u, s, vh = rs.svds(wide, k=3, tol=1e-6)
    for v0 in (vh.T, vh[2], u, u[:, 0]):
        np.testing.assert_allclose(rs.svds(wide, k=3, tol=1e-6, v0=v0)[1], s, rtol=1e-9)
    passes = rs.svds(wide, k=3, tol=1e-6).certificate.passes
    assert rs.svds(wide, k=3, tol=1e-6, v0=u).certificate.passes < passes


def test_svds_is_the_same_for_the_same_seed_and_warns_of_nothing():
    matrix = random_sparse((400, 300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, default, generator = (rs.svds(matrix, k=3, rng=rng) for rng in (0, None, np.random.default_rng(0)))
        state = rs.svds(matrix, k=3, random_state=0)
    assert first[0].tobytes() == default[0].tobytes() == generator[0].tobytes() == state[0].tobytes()


def test_fit_computes_each_block_of_a_dask_array_once():
    loads: list[int] = []

    def counted(chunk):
        loads.append(len(chunk))
        return chunk

    dense = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    array = da.from_array(dense, chunks=(40, 30)).map_blocks(counted, meta=np.empty((0, 0), np.float32))
    matrix = rs.UserItemMatrix.from_dask_array(array)
    assert matrix.n_blocks == 1
    loads.clear()
    rs.factorize(matrix, rank=2, weighting="log", user_scaling=0.5, item_scaling=0.5, executor="serial")
    assert loads == [40]


def test_chunk_that_several_blocks_need_is_computed_once():
    loads = []

    def counted(chunk):
        loads.append(len(chunk))
        return chunk

    dense = np.random.default_rng(0).random((600, 600)).astype(np.float32)
    array = da.from_array(dense, chunks=(250, 600)).map_blocks(counted, meta=np.empty((0, 0), np.float32))
    matrix = rs.UserItemMatrix.from_dask_array(array)
    assert matrix.n_blocks == 4
    loads.clear()
    matrix.loaded()
    assert sorted(loads) == [100, 250, 250]
