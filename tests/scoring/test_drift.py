"""Drift: no alarm for more users of the same kind, one for other tastes and for many unknown items."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import ModelFormatError, OptionError
from recscale_dask.testing.matrices import planted_tastes

OPTIONS = [
    {},
    {"weighting": "binary"},
    {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5},
    {"weighting": "log", "center": "items"},
]


def tastes(n_users, *, seed, items=None, **options):
    plant = planted_tastes(n_users, 300, 8, per_user=25, seed=seed, **options)
    shape = (n_users, 300)
    columns = plant.items if items is None else items[plant.items]
    return sp.csr_array((plant.values, (plant.users, columns)), shape=shape)


@pytest.fixture(scope="module")
def rows():
    return tastes(2000, seed=0)


@pytest.mark.parametrize("rank", [8, 32])
@pytest.mark.parametrize("options", OPTIONS)
def test_users_of_the_same_kind_need_no_refit(rows, options, rank):
    model = rs.factorize(rows[:1500], rank=rank, executor="serial", **options)
    drift = model.drift(rows[1500:], executor="serial")
    assert not drift.refit_advised
    assert abs(drift.loss) < 0.12
    assert drift.explained_in_training > drift.expected


@pytest.mark.parametrize("options", OPTIONS)
def test_users_of_other_tastes_need_a_refit(rows, options):
    model = rs.factorize(rows[:1500], rank=16, executor="serial", **options)
    other = np.random.default_rng(1).permutation(300)  # other groups of items, and other popular ones
    drift = model.drift(tastes(500, seed=1, items=other), executor="serial")
    assert drift.refit_advised
    assert drift.loss > 0.3
    assert "Refit advised (threshold 25%)" in str(drift)


def test_expected_share_is_that_of_users_who_are_left_out_of_the_fit(rows):
    few = rows[:60]
    model = rs.factorize(few, rank=12, executor="serial", tol=1e-6)
    total = explained = 0.0
    for user in range(60):
        others = rs.factorize(few[np.arange(60) != user], rank=12, executor="serial", tol=1e-6)
        told = others.fold_in(few[[user]], executor="serial").provenance["folded_in"]
        energy = float((few[[user]].data ** 2).sum())
        total, explained = total + energy, explained + told["explained"] * energy
    drift = model.drift(few, executor="serial")
    assert drift.explained == pytest.approx(drift.explained_in_training, rel=1e-4)
    assert drift.explained_in_training > 1.5 * explained / total
    assert drift.expected == pytest.approx(explained / total, rel=0.15)


def test_popularity_knows_what_each_user_would_have_without_its_own_count(rows):
    few = rows[:40]
    model = rs.factorize(few, solver="popularity", executor="serial")
    total = explained = 0.0
    for user in range(40):
        counts = np.bincount(few[np.arange(40) != user].indices, minlength=300).astype(float)
        row = (few[[user]].toarray()[0] != 0).astype(float)
        total += row.sum()
        explained += (row @ counts) ** 2 / (counts @ counts)
    assert model.drift(few, executor="serial").expected == pytest.approx(explained / total, rel=1e-6)


def test_everything_is_explained_where_the_rank_is_that_of_the_matrix():
    rows = np.kron(np.eye(3), np.ones((6, 4)))
    drift = rs.factorize(rows, rank=3, tol=1e-8, executor="serial").drift(rows[[0, 7, 14]], executor="serial")
    assert drift.explained == pytest.approx(1.0)
    assert drift.expected == pytest.approx(1.0)
    assert not drift.refit_advised


def test_result_of_fold_in_knows_its_drift(rows):
    model = rs.factorize(rows[:1500], rank=8, executor="serial")
    assert model.fold_in(rows[1500:], executor="serial").drift() == model.drift(rows[1500:], executor="serial")


def test_many_unknown_items_need_a_refit(rows):
    model = rs.factorize(rows[:1500], rank=8, executor="serial")
    users = [user for user in range(40) for _ in range(4)]
    shifted = pa.table({"user": users, "item": [5, 6, 999, 998] * 40})
    drift = model.drift(shifted, executor="serial")
    assert drift.unknown == 0.5
    assert drift.refit_advised
    assert "50% of their interactions are with unknown items" in str(drift)


def test_one_odd_user_is_no_reason_to_refit(rows):
    model = rs.factorize(rows[:1500], rank=8, executor="serial")
    drift = model.drift([int(item) for item in np.random.default_rng(0).choice(300, 5)])
    assert drift.loss > drift.threshold
    assert not drift.refit_advised
    assert "of 1 new user," in str(drift)


def test_two_odd_users_are_too_few_to_advise_a_refit(rows):
    model = rs.factorize(rows[:1500], rank=8, executor="serial")
    drift = model.drift(pa.table({"user": [1, 1, 2, 2], "item": [5, 999, 6, 998]}), executor="serial")
    assert drift.unknown > drift.threshold
    assert not drift.refit_advised
    assert "of 2 new users" in str(drift)
    assert str(drift).endswith("Fewer than 30 users are too few to advise a refit by (threshold 25%).")


def test_threshold_is_the_caller_s(rows):
    model = rs.factorize(rows[:1500], rank=16, executor="serial")
    folded = model.fold_in(tastes(500, seed=1, loyalty=0.6), executor="serial")
    loss = folded.drift().loss
    assert loss > 0.01
    assert folded.drift(threshold=loss / 4).refit_advised
    assert not folded.drift(threshold=min(0.99, 2 * loss)).refit_advised
    with pytest.raises(OptionError, match="threshold must be between 0 and 1"):
        folded.drift(threshold=0)


def test_fitted_users_have_no_drift_of_their_own(rows):
    with pytest.raises(OptionError, match="pass the interactions of new ones"):
        rs.factorize(rows[:100], rank=4, executor="serial").drift()


def test_model_of_an_earlier_version_has_no_expectation(rows):
    model = replace(rs.factorize(rows[:100], rank=4, executor="serial"), training={})
    with pytest.raises(ModelFormatError, match="does not hold the energy"):
        model.drift(rows[:5], executor="serial")


def test_users_without_items_explain_nothing(rows):
    drift = rs.factorize(rows[:100], rank=4, executor="serial").drift(np.zeros((3, 300)))
    assert (drift.explained, drift.standard_error, drift.loss) == (0.0, 0.0, 1.0)
