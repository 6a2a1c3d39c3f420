"""Filters of singular values, and scores in the scaled space: PureSVD and EigenRec beside their formulas."""

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import OptionError
from recscale_dask.solvers.spectral_filter import SpectralFilter

RANK = 5
FILTERS = [{}, {"filter": "ridge", "filter_strength": 0.2}, {"filter": "power", "filter_strength": 0.7}]


def ratings(n_users=80, n_items=40, *, seed=0):
    rng = np.random.default_rng(seed)
    rows = sp.random_array((n_users, n_items), density=0.25, rng=rng, format="csr", dtype=np.float32)
    rows.data[:] = rng.integers(1, 6, rows.nnz)
    return rows


def fit(rows, **options):
    return rs.factorize(rows, rank=RANK, tol=1e-7, executor="serial", **options)


def scores(model):
    return model.user_factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)


def formula(rows, *, gain=None, a=0.0, b=0.0, undo=True):
    """Return ``r Di^-b V g V' Di^b``, or ``r V g V'``, from a dense SVD."""
    dense = rows.toarray().astype(np.float64)
    users, items = dense.sum(axis=1), dense.sum(axis=0)
    _, s, vt = np.linalg.svd(users[:, None] ** -a * dense * items**-b)
    vt, s = vt[:RANK], s[:RANK]
    kept = vt.T @ np.diag(np.ones(RANK) if gain is None else gain(s / s[0])) @ vt
    return dense * items**-b @ kept * items**b if undo else dense @ kept


def gain_of(options):
    strength = options.get("filter_strength")
    return {
        "ridge": lambda relative: relative**2 / (relative**2 + strength),
        "power": lambda relative: relative**strength,
    }.get(options.get("filter", ""))


@pytest.mark.parametrize("undo_scaling", [True, False])
@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_scores_are_those_of_the_formula(options, undo_scaling):
    for a, b in ((0.0, 0.0), (0.5, 0.5), (0.0, 0.4), (0.3, 0.0)):
        rows = ratings()
        model = fit(rows, user_scaling=a, item_scaling=b, undo_scaling=undo_scaling, **options)
        expected = formula(rows, gain=gain_of(options), a=a, b=b, undo=undo_scaling)
        np.testing.assert_allclose(scores(model), expected, atol=2e-5 * np.abs(expected).max())


def test_pure_svd_of_the_unscaled_matrix_projects_rows_on_the_singular_vectors():
    rows = ratings()
    np.testing.assert_allclose(scores(fit(rows)), formula(rows), atol=1e-4)


def test_eigenrec_scores_unscaled_rows_in_the_space_of_cosines_times_popularity():
    rows = ratings()
    rows.data[:] = 1
    d = 0.4  # the paper's exponent of item norms; the norm of a binary column is the root of its sum
    norms = np.sqrt(rows.toarray().sum(axis=0))
    cosine = (rows.T @ rows).toarray() / np.outer(norms, norms)
    _, vectors = np.linalg.eigh(norms[:, None] ** d * cosine * norms**d)
    expected = rows.toarray() @ vectors[:, -RANK:] @ vectors[:, -RANK:].T
    model = fit(rows, weighting="binary", item_scaling=(1 - d) / 2, undo_scaling=False)
    np.testing.assert_allclose(scores(model), expected, atol=1e-4)


def test_no_filter_keeps_the_bytes_of_a_fit_without_these_options():
    model, other = fit(ratings(), item_scaling=0.5), fit(ratings(), item_scaling=0.5, filter=None, undo_scaling=True)
    assert model.factors_sha256() == other.factors_sha256()


def test_singular_values_and_certificate_are_those_of_the_matrix_whatever_the_filter():
    plain, filtered = (fit(ratings(), **options) for options in FILTERS[:2])
    assert plain.singular_values.tobytes() == filtered.singular_values.tobytes()
    assert filtered.certificate.converged


@pytest.mark.parametrize("undo_scaling", [True, False])
@pytest.mark.parametrize("weighting", [None, "bm25"])
@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_users_of_the_training_data_get_the_factors_of_the_fit(options, weighting, undo_scaling, tmp_path):
    rows = ratings()
    model = fit(rows, weighting=weighting, user_scaling=0.5, item_scaling=0.3, undo_scaling=undo_scaling, **options)
    model.save(tmp_path / "model")
    for each in (model, rs.load_model(tmp_path / "model")):
        folded = each.fold_in(rows, executor="serial")
        np.testing.assert_allclose(
            folded.user_factors, model.user_factors, atol=1e-4 * np.abs(model.user_factors).max()
        )
        drift = folded.drift()
        assert drift.explained == pytest.approx(drift.explained_in_training, rel=1e-4)


@pytest.mark.parametrize("center", ["items", "users", "global"])
def test_means_pass_a_filter(center):
    rows = ratings()
    dense = rows.toarray().astype(np.float64)
    axis = {"items": 0, "users": 1, "global": None}[center]
    means = np.broadcast_to(dense.mean(axis=axis, keepdims=True), dense.shape)
    u, s, vt = np.linalg.svd(dense - means)
    gains = (s[:RANK] / s[0]) ** 0.7
    expected = means + u[:, :RANK] * s[:RANK] * gains @ vt[:RANK]
    model = fit(rows, center=center, **FILTERS[2])
    np.testing.assert_allclose(scores(model), expected, atol=1e-4)
    folded = model.fold_in(rows, executor="serial")
    np.testing.assert_allclose(folded.user_factors, model.user_factors, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {**FILTERS[1], "user_scaling": 0.5, "item_scaling": 0.3},
        {**FILTERS[2], "item_scaling": 0.3, "undo_scaling": False},
        {**FILTERS[2], "center": "users"},
    ],
    ids=str,
)
def test_explanation_adds_up_to_the_score(options):
    explained = fit(ratings(), **options).explain(3, 7, k=100)
    sum_of_items = sum(explained.contributions["contribution"].to_pylist())
    assert explained.score == pytest.approx(sum_of_items + explained.remainder, abs=1e-5)
    if "center" not in options:  # the item means come from nobody's items
        assert abs(explained.remainder) < 1e-4


@pytest.mark.parametrize("undo_scaling", [True, False])
def test_a_filtered_model_is_a_warm_start(undo_scaling):
    rows = ratings()
    options = {"item_scaling": 0.5, "undo_scaling": undo_scaling, **FILTERS[1]}
    model = fit(rows, **options)
    again = fit(rows, warm_start=model, **options)
    expected = scores(model)
    np.testing.assert_allclose(scores(again), expected, atol=1e-4 * np.abs(expected).max())


def test_a_singular_value_of_zero_is_kept_by_no_filter():
    assert SpectralFilter("power", -1.0).gains(np.array([4.0, 2.0, 0.0])).tolist() == [1, 2, 0]
    model = fit(np.kron(np.eye(2), np.ones((6, 5))), filter="power", filter_strength=-1.0)
    assert np.isfinite(model.user_factors).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": "low-pass"}, "no filter is called 'low-pass'; there are: ridge, power, or None"),
        ({"filter": "ridge"}, "filter='ridge' needs a filter_strength above 0, such as 0.1; got None"),
        ({"filter": "ridge", "filter_strength": -1.0}, "above 0"),
        ({"filter": "power", "filter_strength": float("nan")}, "other than 0, such as 0.5; got nan"),
        ({"filter_strength": 0.5}, "filter_strength=0.5 is of no filter"),
        ({"undo_scaling": "no"}, "undo_scaling must be True or False"),
        ({"undo_scaling": False, "center": "items"}, "Leave one of the two out"),
    ],
)
def test_option_that_cannot_work_says_so(options, message):
    with pytest.raises(OptionError, match=message):
        fit(ratings(), **options)
