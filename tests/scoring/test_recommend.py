from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask import UserItemMatrix
from recscale_dask.errors import DataError, OptionError, UnknownIdError
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.scoring import request as scoring
from recscale_dask.testing.matrices import checkerboard

MOVIELENS = Path(__file__).parents[2].parent / "shared" / "data" / "ml-latest-small" / "ratings.csv"


def ratings(shape=(60, 30), density=0.2, seed=0):
    dense = np.random.default_rng(seed).random(shape)
    dense[dense > density] = 0
    dense[7] = 0  # a user without history
    return dense


def fit(matrix=None, rank=5, **options):
    return rs.factorize(ratings() if matrix is None else matrix, rank=rank, executor="serial", **options)


@pytest.fixture(scope="module")
def model():
    return fit()


def by_user(table):
    rows = {}
    for user, item in zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True):
        rows.setdefault(user, []).append(item)
    return rows


@pytest.mark.parametrize("n", [10, 50])
def test_checkerboard_users_get_the_one_item_that_is_missing(n):
    model = fit(checkerboard(n), rank=2)
    table = model.recommend(k=1, executor="serial")
    assert table["item"].to_pylist() == table["user"].to_pylist() == list(range(n))


def test_table_has_ids_ranks_and_falling_scores(model):
    table = model.recommend(k=4, executor="serial")
    assert table.schema == pa.schema(
        [("user", pa.int64()), ("item", pa.int64()), ("rank", pa.int32()), ("score", pa.float32())]
    )
    assert table["rank"].to_pylist() == [1, 2, 3, 4] * 60
    scores = table["score"].to_numpy().reshape(60, 4)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_no_user_gets_a_seen_item_and_few_candidates_give_few_rows(model):
    dense = ratings()
    recommended = by_user(model.recommend(k=30, executor="serial"))
    for user, items in recommended.items():
        assert sorted(items) == np.flatnonzero(dense[user] == 0).tolist()


def test_seen_items_may_be_included(model):
    assert len(model.recommend(k=30, exclude_seen=False, executor="serial")) == 60 * 30


def test_user_who_has_seen_everything_gets_no_rows():
    dense = ratings()
    dense[3] = 1
    recommended = by_user(fit(dense).recommend([2, 3], executor="serial"))
    assert list(recommended) == [2]


def test_user_without_history_gets_rows_and_no_error(model):
    table = model.recommend([7], k=3, executor="serial")
    assert len(table) == 3
    assert np.abs(table["score"].to_numpy()).max() < 1e-6


def test_items_of_equal_score_come_in_the_order_of_their_codes():
    dense = np.ones((4, 6))
    dense[0, :4] = 0  # items 4 and 5 are in all rows, the others in three
    table = fit(dense, solver="popularity").recommend([0], k=5, exclude_seen=False, deny=[2], executor="serial")
    assert table["item"].to_pylist() == [4, 5, 0, 1, 3]
    assert table["score"].to_pylist() == [4, 4, 3, 3, 3]


def test_allow_and_deny_choose_the_candidates(model):
    everything = by_user(model.recommend(k=30, executor="serial"))
    allowed = by_user(model.recommend(k=30, allow=[20, 3, 11, 4], executor="serial"))
    denied = by_user(model.recommend(k=30, deny=range(5), executor="serial"))
    both = by_user(model.recommend(k=30, allow=[1, 2, 3], deny=[2], executor="serial"))
    for user, items in everything.items():
        assert allowed.get(user, []) == [item for item in items if item in {20, 3, 11, 4}]
        assert denied[user] == [item for item in items if item >= 5]
        assert both.get(user, []) == [item for item in items if item in {1, 3}]


@pytest.mark.parametrize("nothing", [{"allow": []}, {"deny": range(30)}, {"users": []}])
def test_nothing_to_recommend_is_an_empty_table(model, nothing):
    table = model.recommend(executor="serial", **nothing)
    assert len(table) == 0
    assert table.column_names == ["user", "item", "rank", "score"]


def test_users_come_in_the_order_asked_for(model):
    table = model.recommend([9, 2, 11], k=2, executor="serial")
    assert table["user"].to_pylist() == [9, 9, 2, 2, 11, 11]
    for users in (np.array([9, 2, 11]), pa.array([9, 2, 11]), (9, 2, 11), pl.Series([9, 2, 11])):
        assert model.recommend(users, k=2, executor="serial").equals(table)


def test_users_named_twice_are_refused_and_shown(model):
    with pytest.raises(DataError, match=r"users names 2 users more than once: 3, 9\. Give each user once"):
        model.recommend([9, 3, 1, 9, 3, 3], executor="serial")


@pytest.mark.parametrize("k", [0, -1, 2.5, True, None, "3"])
def test_k_below_one_or_no_whole_number_is_refused(model, k):
    with pytest.raises(OptionError, match="k must be a whole number of at least 1; got"):
        model.recommend(k=k, executor="serial")


@pytest.mark.parametrize("options", [{"users": [999]}, {"allow": [999]}, {"deny": [999]}])
def test_unknown_ids_are_named(model, options):
    with pytest.raises(UnknownIdError, match="999"):
        model.recommend(executor="serial", **options)


@pytest.mark.parametrize("name", ["users", "allow", "deny"])
def test_single_id_is_not_taken_apart_into_letters(model, name):
    with pytest.raises(
        DataError, match=rf"{name}: there is no file at 'ab'.* {name} is the name of a file with an id a line"
    ):
        model.recommend(executor="serial", **{name: "ab"})
    with pytest.raises(OptionError, match=rf"{name} must be a list of ids; got the single id 7\. Write \[7\]"):
        model.recommend(executor="serial", **{name: 7})


@pytest.mark.parametrize("pair", [(1, [3]), ([1], 3), ("1", [3])])
def test_pairs_and_rectangles_are_of_lists_of_ids(model, pair):
    for method in (model.score, model.reconstruct):
        with pytest.raises(OptionError, match=r"s must be a list of ids; got the single id .*Write \["):
            method(*pair)


def test_scores_are_those_of_score_bit_for_bit(model):
    table = model.recommend(k=10, executor="serial")
    scores = model.score(table["user"], table["item"], executor="serial")
    assert scores.tobytes() == table["score"].to_numpy().tobytes()
    expected = model.user_factors @ model.item_factors.T
    np.testing.assert_allclose(scores, expected[table["user"], table["item"]], rtol=1e-5, atol=1e-6)


def test_pairs_must_be_as_many_users_as_items(model):
    with pytest.raises(DataError, match="2 users and 1 items"):
        model.score([1, 2], [3], executor="serial")
    assert model.score([], [], executor="serial").shape == (0,)


def test_table_is_the_same_on_every_executor_and_in_any_batches(monkeypatch):
    rows = sp.random_array((5000, 300), density=0.03, rng=0, format="csr")
    model = fit(UserItemMatrix.from_scipy(rows), rank=8)
    with ExitStack() as stack:
        engines = [
            stack.enter_context(SerialExecutor()),
            *[stack.enter_context(ThreadsExecutor(n)) for n in (1, 3)],
            stack.enter_context(ProcessesExecutor(2)),
        ]
        tables = [model.recommend(k=7, deny=[5], executor=each) for each in engines]
        scores = [model.score(range(5000), [9] * 5000, executor=each).tobytes() for each in engines]
        monkeypatch.setattr(scoring, "BATCH_USERS", 17)
        tables.append(model.recommend(k=7, deny=[5], executor=engines[0]))
    first = tables[0].combine_chunks()
    assert all(table.combine_chunks().equals(first) for table in tables)
    assert len(set(scores)) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.booleans())
def test_recommendations_of_any_matrix_are_unseen_distinct_and_at_most_k(seed, k, exclude_seen):
    dense = ratings((12, 9), 0.5, seed)
    model = fit(dense, rank=3)
    for user, items in by_user(model.recommend(k=k, exclude_seen=exclude_seen, executor="serial")).items():
        assert len(set(items)) == len(items)
        candidates = np.flatnonzero(dense[user] == 0).tolist() if exclude_seen else range(9)
        assert len(items) == min(k, len(candidates))
        assert set(items) <= set(candidates)


@pytest.mark.skipif(not MOVIELENS.exists(), reason=f"no MovieLens ratings at {MOVIELENS}")
def test_movielens_users_get_ten_unseen_films_each():
    data = rs.read_interactions(MOVIELENS)
    matrix = UserItemMatrix.from_interactions(data)
    table = fit(matrix, rank=16, weighting="log").recommend(k=10, executor="serial")
    assert len(table) == 10 * matrix.shape[0] == 6710
    seen = data.to_arrow().select(["user", "item"])
    pairs = table.select(["user", "item"]).join(seen, ["user", "item"], join_type="inner")
    assert len(pairs) == 0
