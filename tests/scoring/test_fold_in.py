"""New users: the factors that a fit would have given them, on every executor, without one."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.errors import DataError, ModelFormatError, OptionError, UnknownIdError, UnknownIdWarning
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.solvers.base import Solver

SCALINGS = [(0.0, 0.0), (0.5, 0.3), (0.0, 0.5), (0.4, 0.0)]
CENTERS = [None, "items", "users", "global"]


def ratings(n_users=120, n_items=60, *, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    rows = sp.random_array((n_users, n_items), density=density, rng=rng, format="csr", dtype=np.float32)
    rows.data[:] = rng.integers(1, 6, rows.nnz)
    return rows


def fit(rows=None, **options):
    matrix = ratings() if rows is None else rows
    return rs.factorize(matrix, executor="serial", **{"rank": 6, "tol": 1e-6, **options})


def blocks_of_items(n_groups=3, users=4, items=5):
    """Users who each have all items of their group."""
    return np.kron(np.eye(n_groups), np.ones((users, items)))


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("weighting", [None, "binary", "log", "bm25", "tfidf"])
def test_users_of_the_training_data_get_the_factors_of_the_fit(weighting, center):
    for user_scaling, item_scaling in SCALINGS:
        for rows in (ratings(), ratings(60, 120)):
            options = {"weighting": weighting, "user_scaling": user_scaling, "item_scaling": item_scaling}
            model = fit(rows, center=center, **options)
            folded = model.fold_in(rows, executor="serial")
            size = np.abs(model.user_factors).max()
            np.testing.assert_allclose(folded.user_factors, model.user_factors, atol=1e-4 * size)
            assert folded.item_factors is model.item_factors


@pytest.mark.parametrize("center", CENTERS)
def test_items_that_nobody_has_change_nothing(center):
    rows = ratings().toarray()
    rows[:, [3, 40]] = 0
    model = fit(rows, center=center, item_scaling=0.5, weighting="log")
    folded = model.fold_in(rows, executor="serial")
    np.testing.assert_allclose(folded.user_factors, model.user_factors, atol=1e-4 * np.abs(model.user_factors).max())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(CENTERS), st.sampled_from(SCALINGS), st.sampled_from([None, "bm25"]))
def test_any_subset_of_the_training_users_gets_the_rows_of_the_fit(seed, center, scaling, weighting):
    rows = ratings(40, 25, density=0.3, seed=seed)
    options = {"center": center, "user_scaling": scaling[0], "item_scaling": scaling[1], "weighting": weighting}
    model = fit(rows, rank=4, tol=1e-7, **options)
    some = np.random.default_rng(seed).choice(40, 7)
    folded = model.fold_in(rows[some], executor="serial")
    size = np.abs(model.user_factors).max()
    np.testing.assert_allclose(folded.user_factors, model.user_factors[some], atol=1e-4 * size)


def test_popularity_gives_every_new_user_the_same_list():
    model = rs.factorize(blocks_of_items() * [[1]] * 2, solver="popularity", executor="serial")
    assert model.fold_in([0, 1, 2]).user_factors.tolist() == [[1.0]]
    assert model.fold_in([0, 1, 2]).recommend(k=2, executor="serial")["item"].to_pylist() == [3, 4]


def test_new_user_of_a_group_gets_the_rest_of_it():
    model = fit(blocks_of_items(), rank=3)
    for group in range(3):
        first = 5 * group
        found = model.fold_in([first, first + 2]).recommend(k=3, executor="serial")
        assert sorted(found["item"].to_pylist()) == [first + 1, first + 3, first + 4]
        assert found["user"].to_pylist() == [0, 0, 0]


@pytest.mark.parametrize("items", [[5, 9], (5, 9), {9, 5}, np.array([5, 9]), pa.array([5, 9]), pd.Series([5, 9])])
def test_items_of_one_user_come_in_any_sequence(items):
    model = fit()
    expected = np.zeros((1, 60), np.float32)
    expected[0, [5, 9]] = 1
    assert model.fold_in(items).user_factors.tobytes() == model.fold_in(expected).user_factors.tobytes()


def test_values_of_one_user_come_as_a_mapping():
    model = fit()
    expected = np.zeros((1, 60), np.float32)
    expected[0, [5, 9]] = 4, 2.5
    assert model.fold_in({9: 2.5, 5: 4}).user_factors.tobytes() == model.fold_in(expected).user_factors.tobytes()


def test_single_user_gets_what_the_batch_gives_bit_for_bit():
    rows, model = ratings(30, 60, seed=5), fit(weighting="bm25", user_scaling=0.5)
    batch = model.fold_in(rows, executor="serial").user_factors
    single = [model.fold_in(rows[[user]], executor="serial").user_factors for user in range(30)]
    assert np.concatenate(single).tobytes() == batch.tobytes()


def test_frames_files_and_interactions_are_the_same_users(tmp_path: Path):
    frame = pd.DataFrame({"userId": ["a", "a", "b"], "movieId": [3, 4, 5], "rating": [1.0, 2.0, 3.0]})
    frame.to_csv(tmp_path / "new.csv", index=False)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "new.parquet")
    data = rs.read_interactions(frame)
    sources = [frame, tmp_path / "new.csv", f"{tmp_path}/new.parquet", data, rs.UserItemMatrix.from_interactions(data)]
    model = fit()
    models = [model.fold_in(source, executor="serial") for source in sources]
    assert len({each.factors_sha256() for each in models}) == 1
    assert all(each.users.ids.to_pylist() == ["a", "b"] for each in models)
    assert models[0].score(["b"], [7]).shape == (1,)


def test_repeated_rows_are_joined_as_asked_for():
    frame = pd.DataFrame({"user": [1, 1], "item": [3, 3], "value": [1.0, 2.0]})
    model = fit()
    for duplicates, value in (("sum", 3.0), ("max", 2.0), ("last", 2.0)):
        found = model.fold_in(frame, duplicates=duplicates, executor="serial")
        assert found.user_factors.tobytes() == model.fold_in({3: value}).user_factors.tobytes()


def test_ids_of_another_type_are_compared_as_text():
    model = fit()
    assert model.fold_in(["5", "9"]).user_factors.tobytes() == model.fold_in([5, 9]).user_factors.tobytes()


def test_rest_of_a_split_brings_no_users_without_rows():
    frame = pd.DataFrame({"user": [1, 2, 3], "item": [3, 4, 5]})
    data = rs.read_interactions(frame)
    assert fit().fold_in(data.take(np.array([2])), executor="serial").users.ids.to_pylist() == [3]


def test_unknown_items_are_an_error_that_counts_and_lists_them():
    with pytest.raises(
        UnknownIdError, match=r"2 of 3 items, in 2 of 3 interactions, are not in the model: 777, 999\. Skip"
    ):
        fit().fold_in([5, 999, 777])


def test_unknown_items_can_be_skipped_counted_and_listed():
    model = fit()
    with pytest.warns(UnknownIdWarning, match=r"2 of 3 items, in 2 of 3 interactions, were skipped.*: 777, 999"):
        folded = model.fold_in([5, 999, 777], unknown="skip")
    told = folded.provenance["folded_in"]
    assert (told["unknown_items"], told["skipped_interactions"]) == (2, 2)
    assert told["some_unknown_items"] == [777, 999]
    assert folded.user_factors.tobytes() == model.fold_in([5]).user_factors.tobytes()


@pytest.mark.parametrize("items", [[], {}])
def test_user_without_items_has_zero_factors_and_gets_items_in_order_of_codes(items):
    folded = fit().fold_in(items)
    assert not folded.user_factors.any()
    assert folded.recommend(k=2, executor="serial")["item"].to_pylist() == [0, 1]


def test_user_without_known_items_stays_and_has_zero_factors():
    frame = pd.DataFrame({"user": [1, 2], "item": [3, 999]})
    with pytest.warns(UnknownIdWarning):
        folded = fit().fold_in(frame, unknown="skip", executor="serial")
    assert folded.users.ids.to_pylist() == [1, 2]
    assert folded.user_factors.any(axis=1).tolist() == [True, False]


@pytest.mark.parametrize("center", ["items", "users", "global"])
def test_user_without_items_of_a_centred_model_gets_what_an_empty_row_of_the_fit_gets(center):
    rows = ratings().toarray()
    rows[7] = 0
    model = fit(rows, center=center)
    np.testing.assert_allclose(model.fold_in([]).user_factors[0], model.user_factors[7], atol=1e-4)


def test_seen_items_are_those_of_the_new_users():
    rows = ratings(50, 60, seed=3)
    found = fit().fold_in(rows, executor="serial").recommend(k=60, executor="serial")
    dense = rows.toarray()
    assert not dense[found["user"].to_numpy(), found["item"].to_numpy()].any()


def test_folded_model_is_saved_explained_and_folded_again(tmp_path: Path):
    model = fit(weighting="tfidf", user_scaling=0.5, item_scaling=0.5)
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    new = ratings(20, 60, seed=9)
    folded = model.fold_in(new, executor="serial")
    assert again.fold_in(new, executor="serial").factors_sha256() == folded.factors_sha256()
    folded.save(tmp_path / "new")
    loaded = rs.load_model(tmp_path / "new")
    assert loaded.provenance == folded.provenance
    assert loaded.drift() == folded.drift()
    assert loaded.recommend(k=3, executor="serial").equals(folded.recommend(k=3, executor="serial"))
    assert str(loaded.explain(4, 5)) == str(folded.explain(4, 5))
    assert loaded.fold_in([4, 2]).user_factors.tobytes() == model.fold_in([4, 2]).user_factors.tobytes()


def test_factors_are_the_same_bits_on_every_executor():
    rows = ratings(3000, 300, density=0.3)
    assert rs.UserItemMatrix.from_scipy(rows).n_blocks > 1
    model = fit(ratings(400, 300), weighting="bm25", item_scaling=0.5, center="items", tol=1e-3)
    with ExitStack() as stack:
        executors = [
            SerialExecutor(),
            *[ThreadsExecutor(n) for n in (1, 3)],
            ProcessesExecutor(2),
            DaskExecutor(n_workers=2, threads_per_worker=1),
        ]
        opened = [stack.enter_context(each) for each in executors]
        folded = [model.fold_in(rows, executor=each) for each in opened]
    assert len({each.factors_sha256() for each in folded}) == 1
    assert len({str(each.drift()) for each in folded}) == 1


def test_array_must_have_the_items_of_the_model_as_columns():
    with pytest.raises(DataError, match=r"the model has 60 items; got an array of shape \(1, 59\)"):
        fit().fold_in(np.ones((1, 59)))


def test_array_is_refused_where_columns_have_ids_that_it_does_not_say():
    rows = ratings()
    named = rs.UserItemMatrix.from_scipy(rows, items=[f"i{code}" for code in range(60)])  # i10 comes before i2
    model = fit(named)
    with pytest.raises(DataError, match=r"items of the model have ids \(such as i0\), and the columns of an array"):
        model.fold_in(rows)
    folded = model.fold_in(named, executor="serial")
    np.testing.assert_allclose(folded.user_factors, model.user_factors, atol=1e-4)


def test_array_without_rows_is_refused():
    with pytest.raises(DataError, match="no new users"):
        fit().fold_in(np.ones((0, 60)))


@pytest.mark.parametrize("values", [{5: "much"}, {5: None}, {5: float("nan")}])
def test_values_of_a_mapping_must_be_finite_numbers(values):
    with pytest.raises(DataError):
        fit().fold_in(values)


def test_values_that_do_not_suit_the_weighting_are_named():
    with pytest.raises(DataError, match=r"'log' is log\(1 \+ value\) of positive values; user row 0, item column 5"):
        fit(weighting="log").fold_in({5: -1.0}, executor="serial")


def test_choice_about_unknown_items_is_checked():
    with pytest.raises(OptionError, match="use 'raise', 'skip' or 'ignore'"):
        fit().fold_in([1], unknown="drop")


@pytest.mark.parametrize("options", [{"weighting": "bm25"}, {"item_scaling": 0.5}, {"center": "items"}])
def test_model_of_an_earlier_version_says_what_it_does_not_hold(options):
    model = fit(**options)
    with pytest.raises(ModelFormatError, match=r"does not hold the .* of its training data.*Fit it again"):
        replace(model, training={}).fold_in([1])


@pytest.mark.parametrize("options", [{}, {"weighting": "log"}, {"weighting": "binary", "user_scaling": 0.5}])
def test_model_of_an_earlier_version_serves_new_users_where_it_holds_enough(options):
    model = fit(**options)
    old = replace(model, training={})
    assert old.fold_in([3, 4]).user_factors.tobytes() == model.fold_in([3, 4]).user_factors.tobytes()


def test_solver_without_a_closed_form_says_so():
    class Odd(Solver):
        def check(self, problem):
            raise NotImplementedError

        def fit(self, problem, executor, observer=None):
            raise NotImplementedError

    with pytest.raises(OptionError, match="Odd has no closed form for users that were not fitted"):
        Odd().closed_form(fit())
