"""Explanations: contributions of a user's own items that add up to the score."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.errors import DataError, ModelFormatError, OptionError, UnknownIdError

WEIGHTINGS = [None, "binary", "log", "bm25", "tfidf"]


def ratings(n_users=80, n_items=40, *, seed=0):
    rng = np.random.default_rng(seed)
    rows = sp.random_array((n_users, n_items), density=0.3, rng=rng, format="csr", dtype=np.float32)
    rows.data[:] = rng.integers(1, 6, rows.nnz)
    return rows


def fit(rows=None, **options):
    matrix = ratings() if rows is None else rows
    return rs.factorize(matrix, executor="serial", **{"rank": 6, "tol": 1e-7, **options})


def total(found):
    return sum(found.contributions["contribution"].to_pylist()) + found.others + found.remainder


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("center", [None, "users"])
def test_contributions_sum_to_the_score(weighting, center):
    model = fit(weighting=weighting, user_scaling=0.5, item_scaling=0.3, center=center)
    largest = np.abs(model.user_factors @ model.item_factors.T).max()
    for user in range(0, 80, 7):
        found = model.explain(user, 11, k=1000)
        assert found.score == model.score([user], [11], executor="serial")[0]
        assert abs(found.remainder) < 1e-5 * largest
        assert found.others == 0
        assert sorted(found.contributions["item"].to_pylist()) == np.flatnonzero(ratings().toarray()[user]).tolist()


@pytest.mark.parametrize("center", ["items", "global"])
def test_remainder_of_a_centred_model_is_what_a_user_without_items_scores(center):
    model = fit(center=center)
    nobody = model.fold_in([]).score([0], [11], executor="serial")[0]
    assert model.explain(3, 11).remainder == pytest.approx(nobody, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 500), st.sampled_from(WEIGHTINGS), st.sampled_from([None, "items", "users"]), st.integers(1, 9))
def test_any_explanation_sums_to_the_score(seed, weighting, center, k):
    model = fit(ratings(30, 20, seed=seed), rank=3, weighting=weighting, center=center, item_scaling=0.5)
    found = model.explain(seed % 30, seed % 20, k)
    assert total(found) == pytest.approx(found.score, abs=1e-12)
    sizes = np.abs(found.contributions["contribution"].to_numpy())
    assert len(sizes) <= k
    assert (np.diff(sizes) <= 0).all()


def test_item_of_the_same_group_is_the_reason():
    rows = np.kron(np.eye(3), np.ones((6, 4)))
    rows[0, 3] = 0  # likes items 0 to 2 of its group, and item 8 of another
    rows[0, 8] = 1
    found = fit(rows, rank=3).explain(0, 3, k=3)
    assert sorted(found.contributions["item"].to_pylist()) == [0, 1, 2]
    assert min(found.contributions["contribution"].to_pylist()) > 5 * abs(found.others)


def test_table_has_ids_and_float64_contributions_largest_first():
    matrix = rs.UserItemMatrix.from_scipy(ratings(), items=[f"item {i:02}" for i in range(40)])
    found = fit(matrix).explain(5, "item 07", k=4)
    assert found.contributions.schema == pa.schema([("item", pa.string()), ("contribution", pa.float64())])
    assert len(found.contributions) == 4
    assert (found.user, found.item) == (5, "item 07")
    text = str(found)
    assert "score of item item 07 for user 5" in text
    assert "other items of the user" in text


def test_new_users_are_explained_too():
    model = fit(weighting="log", item_scaling=0.5)
    rows = ratings()
    for user in (2, 40):
        known, new = model.explain(user, 9), model.fold_in(rows[[user]]).explain(0, 9)
        assert new.contributions.equals(known.contributions)
        assert new.score == pytest.approx(known.score, rel=1e-4, abs=1e-5)
    found = model.fold_in({3: 5.0, 4: 1.0}).explain(0, 9)
    assert total(found) == pytest.approx(found.score, abs=1e-12)
    assert abs(found.remainder) < 1e-6


def test_popular_items_are_explained_by_nothing_of_the_user():
    model = rs.factorize(ratings(), solver="popularity", executor="serial")
    found = model.explain(4, 5)
    assert found.remainder == found.score > 0
    assert set(found.contributions["contribution"].to_pylist()) == {0.0}


def test_user_without_items_is_explained_by_nothing():
    rows = ratings().toarray()
    rows[3] = 0
    found = fit(rows).explain(3, 5)
    assert len(found.contributions) == 0
    assert found.score == found.remainder


def test_loaded_model_explains_as_the_fitted_one(tmp_path):
    model = fit()
    model.save(tmp_path / "model")
    assert str(rs.load_model(tmp_path / "model").explain(5, 7)) == str(model.explain(5, 7))


def test_values_are_kept_where_they_matter():
    assert len(fit().training["values"]) == ratings().nnz
    assert fit(weighting="binary").training["values"].tolist() == [1.0]
    assert fit((ratings() > 0).astype(np.float32)).training["values"].tolist() == [1.0]


def test_training_matrix_serves_a_model_that_does_not_hold_its_values():
    matrix = rs.UserItemMatrix.from_scipy(ratings())
    model = fit(matrix)
    old = replace(model, training={})
    with pytest.raises(ModelFormatError, match="Pass the matrix that it was fitted to"):
        old.explain(5, 7)
    assert str(old.explain(5, 7, matrix=matrix)) == str(model.explain(5, 7))


def test_matrix_that_does_not_belong_to_the_model_is_refused():
    model = fit()
    changed = ratings()
    changed.data[0] += 1
    for other in (changed, ratings(81), ratings(80, 41)):
        with pytest.raises(DataError, match="is not the one that the model was fitted to"):
            model.explain(5, 7, matrix=rs.UserItemMatrix.from_scipy(other))
    renamed = rs.UserItemMatrix.from_scipy(ratings(), users=[f"u{i:02}" for i in range(80)])
    with pytest.raises(DataError, match="is not the one"):
        model.explain(5, 7, matrix=renamed)


def test_unknown_ids_and_a_bad_k_are_named():
    with pytest.raises(UnknownIdError, match="1 unknown user: 999"):
        fit().explain(999, 1)
    with pytest.raises(UnknownIdError, match="1 unknown item: 999"):
        fit().explain(1, 999)
    with pytest.raises(OptionError, match="k must be a whole number"):
        fit().explain(1, 1, k=0)
