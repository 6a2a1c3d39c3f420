import copy
import pickle
import subprocess
import sys

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD as Theirs
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import DataError, NotConvergedWarning, OptionError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.scoring.projection import projected_array
from recscale_dask.solvers.variance import column_moments, total_variance

DENSE = np.random.default_rng(0).random((40, 12))
COUNTS = np.random.default_rng(1).poisson(1.0, (40, 12))
NAMES = [f"truncatedsvd{i}" for i in range(2)]


def wide_spectrum(dtype=np.float64):
    """A sparse matrix of more columns than one Gram matrix takes, so that it has to be iterated."""
    rows = sp.random_array((2500, 1500), density=0.02, rng=0, format="csr")
    return (rows @ sp.diags_array(1 / np.arange(1, 1501))).astype(dtype)


def several_blocks():
    """A matrix of 240,000 values: a few blocks, that differ in their means."""
    dense = np.random.default_rng(2).random((8000, 30))
    return dense + np.linspace(0, 5, 8000)[:, None]


def sparse_chunks(rows, heights, widths, make=sp.csr_array):
    """The same matrix as a Dask array of SciPy sparse chunks."""
    grid, top = [], 0
    for height in heights:
        line, left = [], 0
        for width in widths:
            part = make(rows[top : top + height, left : left + width])
            line.append(da.from_delayed(dask.delayed(part), (height, width), rows.dtype, meta=make((0, 0))))
            left += width
        grid.append(da.concatenate(line, 1))
        top += height
    return da.concatenate(grid)


def agree_up_to_sign(ours, theirs, atol):
    signs = np.sign(np.sum(ours * theirs, axis=1, keepdims=True))
    np.testing.assert_allclose(ours, signs * theirs, atol=atol)


@parametrize_with_checks([rs.TruncatedSVD(), rs.TruncatedSVD(1, algorithm="arpack", executor="threads")])
def test_scikit_learns_checks_of_estimators_pass_without_exception(estimator, check):
    check(estimator)


# -- known answers


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (300, 290)])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_result_is_that_of_the_full_svd(shape, k):
    X = np.random.default_rng(3).standard_normal(shape)
    u, s, vt = np.linalg.svd(X, full_matrices=False)
    svd = rs.TruncatedSVD(k, tol=1e-9)
    reduced = svd.fit_transform(X)
    np.testing.assert_allclose(svd.singular_values_, s[:k], rtol=1e-12)
    agree_up_to_sign(svd.components_, vt[:k], atol=1e-7)
    agree_up_to_sign(reduced.T, (u[:, :k] * s[:k]).T, atol=1e-6)
    np.testing.assert_allclose(reduced, X @ svd.components_.T, atol=1e-10)
    np.testing.assert_allclose(svd.explained_variance_, reduced.var(axis=0), rtol=1e-10)
    np.testing.assert_allclose(svd.explained_variance_ratio_, reduced.var(axis=0) / X.var(axis=0).sum(), rtol=1e-10)


def test_everything_is_as_scikit_learn_has_it_with_arpack():
    X = wide_spectrum()
    ours, theirs = rs.TruncatedSVD(8), Theirs(8, algorithm="arpack")
    reduced, expected = ours.fit_transform(X), theirs.fit_transform(X)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-11)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-5)  # signs too
    np.testing.assert_allclose(reduced, expected, atol=1e-5)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(ours.inverse_transform(reduced), theirs.inverse_transform(expected), atol=1e-5)
    assert ours.n_features_in_ == theirs.n_features_in_
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert {name for name in vars(theirs) if name.endswith("_")} <= vars(ours).keys()
    assert theirs.get_params().keys() <= ours.get_params().keys()


def test_largest_entry_of_each_component_is_positive():
    components = rs.TruncatedSVD(5).fit(DENSE - 0.5).components_
    assert (components[range(5), np.abs(components).argmax(axis=1)] > 0).all()


def test_matrix_of_low_rank_comes_back_from_its_components():
    X = np.outer([1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 1.0])
    svd = rs.TruncatedSVD(1).fit(X)
    np.testing.assert_allclose(svd.inverse_transform(svd.transform(X)), X, atol=1e-12)
    np.testing.assert_allclose(svd.singular_values_, [np.sqrt(14 * 15)])


def test_components_beyond_the_rank_are_orthonormal_and_have_no_variance():
    X = np.outer(np.arange(1.0, 6.0), [1.0, 1.0, 0.0, 0.0])
    svd = rs.TruncatedSVD(3).fit(X)
    np.testing.assert_allclose(svd.components_ @ svd.components_.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(svd.explained_variance_ratio_, [1, 0, 0], atol=1e-12)


def test_data_of_fewer_samples_than_components_give_one_component_a_sample_as_in_scikit_learn():
    X = DENSE[:3]
    ours, theirs = rs.TruncatedSVD(5), Theirs(5)
    assert ours.fit_transform(X).shape == theirs.fit_transform(X).shape == (3, 3)
    assert len(ours.get_feature_names_out()) == 3
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_)


def test_variance_of_sparse_rows_counts_their_zeros():
    X = sp.random_array((50, 8), density=0.3, rng=0)
    np.testing.assert_allclose(total_variance(UserItemMatrix.from_scipy(X)), X.toarray().var(axis=0).sum())


def test_variance_of_several_blocks_far_from_zero_loses_nothing():
    X = several_blocks() + 1e7
    matrix = UserItemMatrix.from_scipy(X)
    assert matrix.n_blocks > 2
    np.testing.assert_allclose(total_variance(matrix), X.var(axis=0).sum(), rtol=1e-9)
    np.testing.assert_allclose(column_moments(matrix).means, X.mean(axis=0))


def test_data_that_do_not_vary_have_no_ratio():
    svd = rs.TruncatedSVD(1).fit(np.ones((1, 3)))
    assert svd.explained_variance_ == 0
    assert np.isnan(svd.explained_variance_ratio_).all()


def test_large_sparse_data_are_never_made_dense():
    places = np.arange(1000)
    X = sp.coo_array((np.arange(1000.0), (places * 200, places * 20)), shape=(200_000, 20_000)).tocsr()
    svd = rs.TruncatedSVD(2)  # dense, X would be 32 GB
    np.testing.assert_allclose(svd.fit_transform(X).max(axis=0), [999, 998])
    assert 0 < svd.explained_variance_ratio_.sum() < 1


# -- kinds of data

KINDS = {
    "list": lambda X: X.tolist(),
    "Fortran order": np.asfortranarray,
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "coo_array": sp.coo_array,
    "pandas": pd.DataFrame,
    "Dask": lambda X: da.from_array(X, chunks=(7, 5)),
    "Dask of sparse chunks": lambda X: sparse_chunks(X, (15, 25), (12,)),
    "Dask of sparse chunks in a grid": lambda X: sparse_chunks(X, (15, 20, 5), (7, 5), sp.csr_matrix),
    "UserItemMatrix": UserItemMatrix.from_scipy,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_gives_the_same_answer(kind):
    dense = np.where(DENSE < 0.5, 0, DENSE)
    X = KINDS[kind](dense)
    expected, svd = rs.TruncatedSVD(3).fit(dense), rs.TruncatedSVD(3)
    both = svd.fit_transform(X), svd.transform(X)
    # Products of dense rows are by BLAS, others by our kernels: equal to rounding.
    np.testing.assert_allclose(svd.components_, expected.components_, atol=1e-12)
    np.testing.assert_allclose(svd.explained_variance_ratio_, expected.explained_variance_ratio_, rtol=1e-12)
    for reduced in both:
        assert isinstance(reduced, da.Array if kind.startswith("Dask") else np.ndarray)
        np.testing.assert_allclose(np.asarray(reduced), dense @ expected.components_.T, atol=1e-12)


def test_interactions_are_the_matrix_of_their_users_and_items():
    users, items = np.nonzero(COUNTS)
    table = pa.table({"u": users, "i": items, "v": COUNTS[users, items].astype(np.float64)})
    interactions = Interactions.from_arrow(table, user="u", item="i", value="v")
    svd, expected = rs.TruncatedSVD(2), rs.TruncatedSVD(2)
    np.testing.assert_allclose(svd.fit_transform(interactions), expected.fit_transform(COUNTS), atol=1e-5)
    np.testing.assert_allclose(svd.transform(interactions), expected.transform(COUNTS), atol=1e-5)
    assert svd.components_.dtype == np.float32  # whole numbers are exact in it, so that is what blocks hold


@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64), (np.uint8, np.float64)],
)
@pytest.mark.parametrize("kind", ["csr_array", "pandas", "Dask", "Dask of sparse chunks"])
def test_type_of_floats_is_kept_and_other_numbers_become_float64(given, kept, kind):
    X = KINDS[kind](COUNTS.astype(given))
    svd = rs.TruncatedSVD(2)
    for found in (svd.fit_transform(X), svd.transform(X), svd.inverse_transform(svd.transform(X))):
        assert found.dtype == np.asarray(found).dtype == kept
    learned = ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_")
    assert {getattr(svd, name).dtype for name in learned} == {np.dtype(kept)}


def test_float32_data_are_solved_as_exactly_as_float64():
    single = wide_spectrum(np.float32)
    svd = rs.TruncatedSVD(4).fit(single)
    assert svd.certificate_.max_residual <= 1e-6
    np.testing.assert_allclose(
        svd.components_, rs.TruncatedSVD(4).fit(single.astype(float)).components_, rtol=1e-3, atol=1e-6
    )


def test_transform_of_a_dask_array_is_lazy_and_keeps_its_row_chunks():
    def read(block):
        if block.size:
            reads.append(block.shape)
        return block

    reads = []
    X = da.from_array(DENSE, chunks=((10, 25, 5), (6, 6))).map_blocks(read, meta=np.empty((0, 0)))
    svd = rs.TruncatedSVD(2).fit(DENSE)
    reduced = svd.transform(X)
    back = svd.inverse_transform(reduced)
    assert reads == []
    assert reduced.chunks == ((10, 25, 5), (2,))
    assert (reduced.shape, back.shape) == ((40, 2), (40, 12))
    np.testing.assert_allclose(back.compute(scheduler="sync"), svd.inverse_transform(svd.transform(DENSE)))
    assert len(reads) == 6
    svd.fit_transform(X).compute()
    assert len(reads) <= 6 * 3  # counted, then loaded; not once more


def test_dask_array_may_have_an_unknown_number_of_rows():
    known = da.from_array(DENSE, chunks=(10, 12))
    unknown = known[known[:, 0] > 0.5]
    svd = rs.TruncatedSVD(2)
    reduced = svd.fit_transform(unknown)
    assert np.isnan(svd.transform(unknown).shape[0])
    np.testing.assert_allclose(svd.transform(unknown).compute(), reduced.compute(), atol=1e-12)


def test_pydata_sparse_chunks_are_multiplied_too():
    class Pydata:
        ndim, shape, dtype = 2, (40, 12), DENSE.dtype

        def to_scipy_sparse(self):
            return sp.coo_array(DENSE)

    X = da.from_delayed(dask.delayed(Pydata, pure=True)(), (40, 12), DENSE.dtype)
    np.testing.assert_allclose(projected_array(X, DENSE.T).compute(), DENSE @ DENSE.T)


def test_frames_give_and_get_feature_names():
    frame = pd.DataFrame(DENSE, columns=[f"f{i}" for i in range(12)], index=range(100, 140))
    svd = rs.TruncatedSVD().set_output(transform="pandas")
    reduced = svd.fit_transform(frame)
    assert list(svd.feature_names_in_) == list(frame.columns)
    assert list(reduced.columns) == NAMES == list(svd.get_feature_names_out())
    assert (reduced.index == frame.index).all()
    with pytest.raises(ValueError, match="feature names should match"):
        svd.transform(frame[frame.columns[::-1]])


@pytest.mark.parametrize("kind", ["Dask", "UserItemMatrix"])
def test_set_output_makes_frames_of_our_own_containers_too(kind):
    X = KINDS[kind](DENSE)
    svd = rs.TruncatedSVD().set_output(transform="pandas")
    fitted, transformed = svd.fit_transform(X), svd.transform(X)
    assert list(fitted.columns) == list(transformed.columns) == NAMES
    np.testing.assert_allclose(fitted, transformed, atol=1e-12)


def test_matrix_of_other_items_is_refused():
    fitted = UserItemMatrix.from_scipy(COUNTS[:, :3], items=["a", "b", "c"])
    svd = rs.TruncatedSVD().fit(fitted)
    other = UserItemMatrix.from_scipy(COUNTS[:5, :3], items=["a", "b", "d"])
    with pytest.raises(DataError, match="items of this UserItemMatrix are not those that were fitted"):
        svd.transform(other)
    np.testing.assert_allclose(svd.transform(other.array).compute(), svd.transform(COUNTS[:5, :3]), atol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(svd)).transform(fitted), svd.transform(fitted))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["list", "csr_array", "pandas", "Dask", "Dask of sparse chunks"])
def test_values_that_are_not_finite_are_refused(kind, value):
    X = KINDS[kind](np.where(np.arange(480).reshape(40, 12) == 17, value, DENSE))
    with pytest.raises(ValueError, match=r"NaN|infinity|not finite"):
        rs.TruncatedSVD().fit(X)
    svd = rs.TruncatedSVD().fit(DENSE)
    with pytest.raises(ValueError, match=r"NaN|infinity|not finite"):
        np.asarray(svd.transform(X))


@pytest.mark.parametrize("kind", ["list", "csr_array", "Dask", "UserItemMatrix"])
def test_data_of_another_width_are_refused(kind):
    svd = rs.TruncatedSVD().fit(DENSE)
    with pytest.raises(ValueError, match="X has 3 features, but TruncatedSVD is expecting 12 features"):
        svd.transform(KINDS[kind](DENSE[:, :3]))


@pytest.mark.parametrize("make", [np.asarray, da.from_array])
def test_reduced_data_of_another_width_are_refused(make):
    svd = rs.TruncatedSVD().fit(DENSE)
    with pytest.raises(DataError, match=r"one column for each of the 2 components; got shape \(40, 3\)"):
        svd.inverse_transform(make(DENSE[:, :3]))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (da.ones(5, chunks=5), "known number of columns"),
        (da.ones((5, 5), chunks=5)[:, da.ones(5, chunks=5) > 0], "compute_chunk_sizes"),
        (da.ones((0, 5), chunks=5), "0 samples"),
        (da.ones((5, 5), chunks=5, dtype=complex), "real numbers"),
        (UserItemMatrix.from_scipy(np.ones((0, 5))), "0 samples"),
        (np.ones((0, 5)), "0 sample"),
        (np.ones(5), "2D array"),
    ],
)
def test_what_is_no_matrix_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        rs.TruncatedSVD().fit(X)


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be a whole number of at least 1"),
        ({"n_components": 2.5}, "n_components must be a whole number"),
        ({"n_components": 13}, "n_components must be at most n_features=12; got n_components=13"),
        ({"n_components": 12, "algorithm": "arpack"}, "below n_samples=40 and n_features=12"),
        ({"algorithm": "full"}, "algorithm must be one of lanczos, randomized, arpack; got 'full'"),
        ({"tol": -1}, "tol must be"),
        ({"maxiter": 0}, "maxiter must be"),
        ({"random_state": "seed"}, "random_state must be"),
        ({"executor": 3}, "executor must be a name"),
    ],
)
def test_option_that_cannot_work_says_what_can(options, message):
    with pytest.raises(OptionError, match=message):
        rs.TruncatedSVD(**options).fit(DENSE)


def test_options_of_scikit_learns_methods_have_no_effect():
    X = wide_spectrum()
    plain = rs.TruncatedSVD(3).fit(X).components_
    options = {"algorithm": "randomized", "n_iter": 0, "n_oversamples": 1, "power_iteration_normalizer": "QR"}
    np.testing.assert_array_equal(rs.TruncatedSVD(3, **options).fit(X).components_, plain)


def test_certificate_tells_how_far_each_component_is_from_true():
    X = wide_spectrum()
    svd = rs.TruncatedSVD(6, tol=1e-4)
    u = svd.fit_transform(X) / svd.singular_values_
    s, v = svd.singular_values_, svd.components_.T
    true = np.hypot(np.linalg.norm(X @ v - u * s, axis=0), np.linalg.norm(X.T @ u - v * s, axis=0)) / s
    assert svd.certificate_.converged
    assert svd.certificate_.tol == 1e-4
    assert (true <= svd.certificate_.residuals * (1 + 1e-9)).all()
    assert svd.certificate_.max_residual <= 1e-4


def test_fit_that_did_not_converge_warns_and_says_so():
    svd = rs.TruncatedSVD(20, tol=1e-9, maxiter=3)
    with pytest.warns(NotConvergedWarning, match="Allow more passes with maxiter"):
        svd.fit(sp.random_array((2000, 1500), density=0.02, rng=0))
    assert not svd.certificate_.converged


def test_equal_random_states_give_equal_results_and_others_agree_within_tol():
    X = wide_spectrum()

    def components(random_state):
        return rs.TruncatedSVD(2, random_state=random_state).fit(X).components_

    plain = components(None)
    np.testing.assert_array_equal(plain, components(0))
    moving = np.random.RandomState(5)
    first, second = components(moving), components(moving)
    assert (first != second).any()
    for other in (first, second, components(np.int64(7)), components(np.random.default_rng(7))):
        np.testing.assert_allclose(other, plain, atol=1e-5)


# -- executors


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_every_executor_gives_the_same_bits(name):
    X = UserItemMatrix.from_scipy(several_blocks())
    svd, reference = rs.TruncatedSVD(3, executor=name), rs.TruncatedSVD(3, executor="serial")
    np.testing.assert_array_equal(svd.fit_transform(X), reference.fit_transform(X))
    np.testing.assert_array_equal(svd.components_, reference.components_)
    np.testing.assert_array_equal(svd.transform(X), reference.transform(X))
    np.testing.assert_allclose(svd.transform(X), svd.fit_transform(X), atol=1e-10)


def test_open_executor_is_shared_by_clones_and_left_out_of_pickles():
    with rs.open_executor("threads", n_workers=1) as executor:
        svd = rs.TruncatedSVD(3, tol=1e-5, executor=executor).set_output(transform="pandas").fit(DENSE)
        twin = clone(svd)
        assert twin.executor is executor
        assert (twin.n_components, twin.tol) == (3, 1e-5)
        assert not hasattr(twin, "components_")
        assert list(twin.fit_transform(DENSE).columns) == [*NAMES, "truncatedsvd2"]
        for copied in (pickle.loads(pickle.dumps(svd)), copy.deepcopy(svd)):
            assert copied.executor is None
            assert copied.certificate_.converged
            np.testing.assert_array_equal(copied.transform(DENSE), svd.transform(DENSE))
        assert svd.executor is executor
    assert pickle.loads(pickle.dumps(rs.TruncatedSVD(executor="serial"))).executor == "serial"


def test_executor_that_was_given_open_stays_open():
    class Counting(SerialExecutor):
        stops = 0

        def stop(self):
            self.stops += 1
            super().stop()

    with Counting() as executor:
        rs.TruncatedSVD(executor=executor).fit(DENSE).transform(UserItemMatrix.from_scipy(DENSE))
        assert executor.stops == 0


# -- in scikit-learn


def test_pipeline_gives_what_its_steps_give():
    weighted = TfidfTransformer().fit_transform(COUNTS)
    pipeline = make_pipeline(TfidfTransformer(), rs.TruncatedSVD(3))
    np.testing.assert_array_equal(pipeline.fit_transform(COUNTS), rs.TruncatedSVD(3).fit_transform(weighted))
    assert len(pipeline.get_feature_names_out()) == 3


def test_grid_search_finds_how_many_components_are_enough():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((90, 3)) * [30, 20, 10]
    X = factors @ rng.standard_normal((3, 12))
    search = GridSearchCV(
        make_pipeline(rs.TruncatedSVD(), Ridge(1e-6)), {"truncatedsvd__n_components": [1, 2, 3]}, cv=2
    ).fit(X, factors.sum(axis=1))
    assert search.best_params_ == {"truncatedsvd__n_components": 3}
    assert search.best_score_ > 0.999


def test_nothing_is_transformed_before_a_fit():
    for call in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(rs.TruncatedSVD(), call)(DENSE)


def test_without_scikit_learn_all_else_works_and_the_error_says_what_to_install():
    code = """
import sys
sys.modules["sklearn"] = None
from recscale_dask import *
assert "TruncatedSVD" not in globals()
assert svds
import recscale_dask
try:
    recscale_dask.TruncatedSVD
except ImportError as error:
    assert isinstance(error, RecscaleError)
    print(error)
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "TruncatedSVD needs scikit-learn 1.6 or later" in run.stdout
    assert "pip install 'recscale-dask[sklearn]'" in run.stdout
