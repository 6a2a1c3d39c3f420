import dask
import numpy as np
import pytest
import scipy.sparse as sp

from recscale_dask import UserItemMatrix
from recscale_dask.data import weighting
from recscale_dask.data.weighting import WEIGHTINGS, Transform, check_weighting, power_scale, summarize
from recscale_dask.errors import DataError, OptionError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.model import SeenItems
from recscale_dask.solvers.preparation import prepare as prepare_on


def prepare(*arguments):
    """Prepare a matrix in memory, which no executor reads."""
    return prepare_on(*arguments, SerialExecutor())


def ratings(shape=(30, 12), seed=0, dtype=np.float64, density=0.3):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 6, shape) * (rng.random(shape) < density)
    dense[3] = 0
    dense[:, 4] = 0
    return dense.astype(dtype)


def idf(dense):
    return np.log(len(dense)) - np.log1p((dense > 0).sum(axis=0))


def bm25(dense, k1=100.0, b=0.8):  # as in implicit.nearest_neighbours.bm25_weight
    lengths = dense.sum(axis=1)
    length_norm = (1 - b) + b * lengths / lengths.mean()
    return dense * (k1 + 1) / (k1 * length_norm[:, None] + dense) * idf(dense)


FORMULAS = {
    "binary": lambda dense: (dense > 0) * 1.0,
    "log": np.log1p,
    "bm25": bm25,
    "tfidf": lambda dense: np.sqrt(dense) * idf(dense),  # as in implicit's tfidf_weight
}


def weighted(dense, name, a=0.0, b=0.0):
    return prepare(UserItemMatrix.from_scipy(dense), name, a, b).matrix.to_scipy()


def test_there_is_a_formula_here_for_every_weighting():
    assert FORMULAS.keys() == WEIGHTINGS.keys()


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighting_is_the_dense_formula(name, dtype):
    dense = ratings(dtype=dtype)
    found = weighted(dense, name)
    assert found.dtype == dtype
    tolerance = 1e-6 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(found.toarray(), FORMULAS[name](dense.astype(float)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FORMULAS)
def test_weighting_of_many_blocks_is_the_dense_formula(name):
    dense = ratings((2000, 300), density=0.5)
    assert UserItemMatrix.from_scipy(dense).n_blocks == 4
    np.testing.assert_allclose(weighted(dense, name).toarray(), FORMULAS[name](dense), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 0), (0, 1), (0.3, -0.2)])
@pytest.mark.parametrize("name", [None, "binary", "log"])
def test_scaling_divides_by_powers_of_row_and_column_sums(name, a, b):
    dense = ratings()
    expected = FORMULAS[name](dense) if name else dense
    rows, columns = expected.sum(axis=1), expected.sum(axis=0)
    rows[rows == 0] = columns[columns == 0] = 1
    np.testing.assert_allclose(
        weighted(dense, name, a, b).toarray(), expected / rows[:, None] ** a / columns**b, rtol=1e-12
    )
    prepared = prepare(UserItemMatrix.from_scipy(dense), name, a, b)
    back = prepared.matrix.to_scipy().toarray()
    if a:
        back *= rows[:, None] ** a
    if b:
        back *= prepared.item_unscale
    np.testing.assert_allclose(back, expected, rtol=1e-12)


def test_without_options_the_matrix_is_handed_on():
    matrix = UserItemMatrix.from_scipy(ratings())
    prepared = prepare(matrix, None, 0, 0)
    assert prepared.matrix is matrix
    assert prepared.item_unscale is None


def test_fingerprint_is_of_the_data_before_weighting():
    matrix = UserItemMatrix.from_scipy(ratings())
    assert prepare(matrix, "log", 0.5, 0).summary.digest == prepare(matrix, None, 0, 0).summary.digest
    other = UserItemMatrix.from_scipy(ratings(seed=1))
    assert prepare(other, None, 0, 0).summary.digest != prepare(matrix, None, 0, 0).summary.digest


@pytest.mark.parametrize("value", [0.0, -1.0, -0.5])
def test_log_of_zero_or_negative_value_names_the_row(value):
    rows = sp.csr_array(([1.0, 2, value], [0, 1, 2], [0, 1, 1, 3]), shape=(3, 4))
    with pytest.raises(DataError, match=r"'log'.*user row 2, item column 2 holds"):
        weighted(rows, "log")


@pytest.mark.parametrize("name", ["bm25", "tfidf"])
def test_negative_value_under_bm25_or_tfidf_names_the_row(name):
    with pytest.raises(DataError, match=rf"'{name}'.*user row 1, item column 0 holds -2"):
        weighted(np.array([[1.0, 0], [-2, 3]]), name)


@pytest.mark.parametrize("name", FORMULAS)
def test_matrix_without_values_stays_so(name):
    assert weighted(np.zeros((4, 3)), name, 0.5, 0.5).nnz == 0


@pytest.mark.parametrize("name", ["binary", "bm25", "tfidf"])
def test_stored_zeros_alone_make_no_nan(name):
    zeros = sp.csr_array((np.zeros(2), [0, 1], [0, 1, 2]), shape=(2, 2))
    assert np.isfinite(weighted(zeros, name).data).all()


def test_scaling_of_negative_sums_names_the_row():
    with pytest.raises(DataError, match="user number 1 has -3"):
        weighted(np.array([[1.0, 0], [-4, 1]]), None, 0.5)
    with pytest.raises(DataError, match="item number 0 has -3"):
        weighted(np.array([[1.0, 0], [-4, 1]]), None, 0, 0.5)


@pytest.mark.parametrize("exponent", [np.nan, np.inf])
def test_exponent_that_is_not_finite_is_refused(exponent):
    with pytest.raises(OptionError, match="item_scaling must be a finite number"):
        prepare(UserItemMatrix.from_scipy(np.eye(3)), None, 0, exponent)


def test_unknown_weighting_is_refused_with_the_choices():
    with pytest.raises(OptionError, match="binary, log, bm25, tfidf"):
        check_weighting("idf")


def test_power_scale_of_zero_is_zero():
    np.testing.assert_allclose(power_scale(np.array([0.0, 4, 1]), 0.5, "item"), [0, 0.5, 1])


def test_weighting_is_lazy_and_densifies_nothing(monkeypatch):
    loads = []
    matrix = UserItemMatrix.from_scipy(ratings((2000, 300), density=0.5))
    transform = Transform("log", summarize(matrix.sources[0]))
    counting = lambda block, summary: loads.append(block.index) or block.values  # noqa: E731
    monkeypatch.setitem(weighting.WEIGHTINGS, "log", counting)
    lazy = matrix.transformed(transform)
    array = lazy.array
    assert loads == []
    with dask.config.set(scheduler="sync"):
        block = array.blocks[2].compute()
    assert loads == [2]
    assert isinstance(block, sp.csr_array)
    assert lazy.sources[2].load().indices is matrix.sources[2].indices or np.shares_memory(
        lazy.sources[2].load().indices, matrix.sources[2].indices
    )


def test_seen_items_are_the_structure_of_the_matrix():
    dense = ratings()
    seen = SeenItems.of(UserItemMatrix.from_scipy(dense).sources)
    for user in (5, 3, 0):
        some = seen.rows(np.array([user], np.int32))
        assert some.indices.tolist() == np.flatnonzero(dense[user]).tolist()
    several = seen.rows(np.array([7, 3, 7], np.int32))
    assert np.diff(several.indptr).tolist() == [np.count_nonzero(dense[row]) for row in (7, 3, 7)]
