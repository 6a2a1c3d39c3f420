from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import (
    DataError,
    DoubtfulDataWarning,
    OptionError,
    SeenTestWarning,
    UnknownIdWarning,
    UnknownNameError,
)
from recscale_dask.testing.matrices import checkerboard, planted_tastes

GOWALLA = Path(__file__).parents[2].parent / "shared" / "data" / "gowalla"


def interactions(rows, value=True):
    user, item, values = zip(*rows, strict=True)
    table = pa.table({"user": user, "item": item, "value": np.array(values, float)})
    return Interactions.from_arrow(table, user="user", item="item", value="value" if value else None)


@pytest.fixture(scope="module")
def board():
    """A model that recommends item i to user i first."""
    return rs.factorize(checkerboard(20), rank=2, executor="serial")


def test_model_that_knows_the_answer_has_one_in_all(board):
    test = interactions([(user, user, 1) for user in range(20)])
    metrics = ("recall@1", "ndcg@5", "map@3", "precision@1")
    found = rs.evaluate(board, test, metrics=metrics, executor="serial")
    assert found.metrics == pytest.approx(dict.fromkeys(metrics, 1.0))
    assert found["recall@1"] == found.metrics["recall@1"]
    assert (found.n_users, found.n_unknown_users, found.n_unknown_items) == (20, 0, 0)


def test_users_are_averaged_and_given_one_by_one(board):
    test = interactions([(3, 3, 1), (4, 4, 1), (4, 6, 1), (5, 9, 1)])  # 6 and 9 were seen in training
    with pytest.warns(SeenTestWarning, match=r"2 of the 4 pairs of the test set \(50.0%\) are in the data"):
        found = rs.evaluate(board, test, metrics=("recall@1",), executor="serial")
    np.testing.assert_allclose(found.per_user["recall@1"], [1, 0.5, 0])
    assert found["recall@1"] == pytest.approx(0.5)
    assert found.n_seen == 2
    assert "2 test pairs are in the training data" in str(found)


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
def test_training_data_are_refused_as_a_test_of_ranking_and_not_of_ratings(board):
    training = interactions([(user, item, 1) for user in range(4) for item in range(20) if (user + item) % 2 == 0])
    training = training.take(training.user_codes != training.item_codes)  # what the board leaves out
    with pytest.raises(DataError, match=r"all 36 pairs of the test set .* every metric would be 0.*see split"):
        rs.evaluate(board, training, metrics=("recall@5", "rmse"), executor="serial")
    with pytest.raises(DataError, match="all 36 pairs"):
        rs.compare({"one": board, "two": board}, training, metrics="recall@5", executor="serial")
    assert rs.evaluate(board, training, metrics="rmse", executor="serial").n_seen == 36


def test_one_test_pair_in_a_hundred_may_have_been_seen_without_a_warning():
    ratings = np.triu(np.ones((200, 200)), 1)
    model = rs.factorize(ratings, rank=2, executor="serial")
    unseen = [(user, user, 1) for user in range(199)]
    assert rs.evaluate(model, interactions([*unseen, (3, 5, 1)]), executor="serial").n_seen == 1


def test_one_metric_may_be_given_by_itself(board):
    assert rs.evaluate(board, interactions([(3, 3, 1)]), metrics="recall@1", executor="serial").metrics == {
        "recall@1": 1
    }


def test_unknown_users_are_left_out_and_unknown_items_are_misses(board):
    test = interactions([(3, 3, 1), (3, 777, 1), (999, 3, 1), (998, 3, 1), (998, 4, 1)])
    with pytest.warns(UnknownIdWarning, match=r"2 of the 3 users .* are left out.*fold_in="):
        found = rs.evaluate(board, test, metrics=("recall@1",), executor="serial")
    assert (found.n_users, found.n_unknown_users, found.n_unknown_items) == (1, 2, 1)
    assert found["recall@1"] == 0.5


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
def test_row_that_is_there_twice_counts_once_in_ranking(board):
    found = rs.evaluate(board, interactions([(3, 3, 1), (3, 3, 1), (3, 5, 1)]), metrics="recall@1", executor="serial")
    assert found["recall@1"] == 0.5


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
def test_rating_metrics_compare_scores_of_known_pairs():
    ratings = np.outer([1.0, 2, 3, 4], [1.0, 2, 3])
    model = rs.factorize(ratings, rank=1, executor="serial", tol=1e-8)
    test = interactions([(0, 0, 2), (1, 1, 4), (3, 2, 9), (3, 99, 5), (99, 0, 5)])  # truth: 1, 4, 12
    found = rs.evaluate(model, test, metrics=("rmse", "mae"), executor="serial")
    assert found["rmse"] == pytest.approx(np.sqrt(10 / 3), rel=1e-5)
    assert found["mae"] == pytest.approx(4 / 3, rel=1e-5)
    assert found.per_user == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "popularity"}, "rmse, mae: scores .* by the solver 'popularity' are on another scale"),
        ({"solver": "als-implicit"}, "solver 'als-implicit'"),
        ({"solver": "item-knn"}, "solver 'item-knn'"),
        ({"solver": "gf-cf"}, "solver 'gf-cf'"),
        ({"solver": "bspm"}, "solver 'bspm'"),
        ({"weighting": "binary"}, "with weighting='binary' are on another scale.*recall@20, or .*als-explicit"),
    ],
)
def test_errors_of_scores_that_are_no_values_are_told_once(board, options, said):
    model = rs.factorize(checkerboard(20), rank=2, executor="serial", **options)
    test = interactions([(user, user, 1) for user in range(20)])
    with pytest.warns(DoubtfulDataWarning, match=said) as told:
        rs.evaluate(model, test, metrics=("rmse", "mae", "recall@5"), executor="serial")
    assert len(told) == 1
    rs.evaluate(model, test, metrics="recall@5", executor="serial")


def test_of_several_models_the_one_whose_errors_mean_little_is_named(board):
    test = interactions([(user, user, 1) for user in range(20)])
    models = {"board": board, "popular": rs.factorize(checkerboard(20), solver="popularity", executor="serial")}
    with pytest.warns(DoubtfulDataWarning, match="popular: rmse: scores are") as told:
        rs.compare(models, test, metrics="rmse", executor="serial")
    assert len(told) == 1


def test_rating_metrics_need_values_and_known_pairs(board):
    with pytest.raises(DataError, match="the test set has none"):
        rs.evaluate(board, interactions([(3, 3, 1)], value=False), metrics="rmse", executor="serial")
    with pytest.raises(DataError, match="no errors to average"):
        rs.evaluate(board, interactions([(3, 99, 1)]), metrics="mae", executor="serial")


def test_test_set_of_strangers_shows_ids_of_both(board):
    with pytest.raises(DataError, match=r"no user of the test set is in the model.*int64.*such as 0.*has x"):
        rs.evaluate(board, interactions([("x", "y", 1)]), executor="serial")


def test_empty_test_set_is_refused(board):
    empty = interactions([(3, 3, 1)]).take(np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no rows"):
        rs.evaluate(board, empty, executor="serial")


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        ("recall", OptionError, "recall@20"),
        ("recall@", OptionError, "length of the list"),
        ("recall@x", OptionError, "length of the list"),
        ("recall@0", OptionError, "of at least 1, such as recall@20"),
        ("rmse@5", OptionError, "takes no @k"),
        ("recall@10,ndcg@10", OptionError, r"a list, such as \['recall@10', 'ndcg@10'\]; got 'recall@10,ndcg@10'"),
        ("auc@5", UnknownNameError, "ndcg"),
    ],
)
def test_bad_metric_names_are_refused(board, metric, error, message):
    with pytest.raises(error, match=message):
        rs.evaluate(board, interactions([(3, 3, 1)]), metrics=metric, executor="serial")


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
def test_rating_metrics_are_of_users_in_the_bootstrap_and_of_rows_in_the_value():
    model = rs.factorize(np.outer([1.0, 2, 3, 4], [1.0, 2, 3]), rank=1, executor="serial", tol=1e-8)
    test = interactions([(0, 0, 2), (0, 1, 3), (1, 1, 4), (2, 99, 1)])
    found = rs.evaluate(model, test, metrics="mae", executor="serial")
    assert found["mae"] == pytest.approx(2 / 3, rel=1e-5)
    assert found.sums["mae"].denominator.tolist() == [2, 1, 0]
    low, high = found.intervals()["mae"]
    assert (low, high) == (pytest.approx(0, abs=1e-5), pytest.approx(1, rel=1e-5))


def new_users(board_size=20):
    """Return what new users like, and what they will like: 100 is like user 0, 101 like 1, 102 unlike all."""
    even, odd = range(2, board_size, 2), range(3, board_size, 2)
    fold_in = [(100, item, 1) for item in even] + [(101, item, 1) for item in odd] + [(102, 555, 1), (101, 556, 1)]
    return interactions(fold_in), interactions([(100, 0, 1), (101, 1, 1), (101, 0, 1), (102, 3, 1), (103, 3, 1)])


def test_new_users_are_folded_in_and_what_the_model_does_not_know_is_counted(board):
    fold_in, test = new_users()
    found = rs.evaluate(board, test, fold_in=fold_in, metrics=("recall@1", "novelty@1"), executor="serial")
    assert found.users.to_pylist() == [100, 101, 102]
    np.testing.assert_allclose(found.per_user["recall@1"], [1, 0.5, 0])
    assert (found.n_users, found.n_unknown_users, found.n_unknown_items, found.n_skipped) == (3, 1, 0, 2)
    # What is known of items is of those that the model was fitted to: 9 of 20 users have each.
    np.testing.assert_allclose(found.per_user["novelty@1"], np.log2(20 / 9))


def test_folded_users_have_the_metrics_of_the_same_users_in_the_fit():
    tastes = planted_tastes(200, 60, 4, seed=2)
    data = Interactions.from_arrow(pa.table(tastes.columns()), user="user", item="item", value="value")
    train, test = rs.split(data, how="per-user-random", seed=0)
    model = rs.factorize(train, rank=4, weighting="binary", executor="serial")
    fitted = rs.evaluate(model, test, executor="serial")
    folded = rs.evaluate(model, test, fold_in=train, executor="serial")
    assert folded.metrics == pytest.approx(fitted.metrics, abs=1e-6)
    assert folded.users == fitted.users


def test_models_are_compared_on_new_users(board):
    fold_in, test = new_users()
    found = rs.compare({"one": board, "two": board}, test, fold_in=fold_in, metrics="recall@1", executor="serial")
    assert found["one", "recall@1"].value == 0.5
    assert (found.n_users, found.n_left_out) == (3, 1)


def test_factorization_beats_popularity_where_tastes_were_planted():
    tastes = planted_tastes(600, 200, 6, seed=1)
    data = Interactions.from_arrow(pa.table(tastes.columns()), user="user", item="item", value="value", time="time")
    parts = rs.split(data, how="random", seed=0)
    train, test = parts[0], parts[1]
    quality = {
        solver: rs.evaluate(
            rs.factorize(train, solver=solver, rank=6, weighting="binary", executor="serial"), test, executor="serial"
        )["recall@20"]
        for solver in ("svd", "popularity")
    }
    assert quality["svd"] > 1.3 * quality["popularity"]


@pytest.mark.slow
@pytest.mark.skipif(not GOWALLA.exists(), reason=f"no Gowalla at {GOWALLA}")
def test_gowalla_reaches_the_published_quality():
    train = rs.read_interactions(GOWALLA / "train.txt", format="adjacency")
    test = rs.read_interactions(GOWALLA / "test.txt", format="adjacency")
    model = rs.factorize(train, rank=256, weighting="binary", user_scaling=0.5, item_scaling=0.5, executor="threads")
    found = rs.evaluate(model, test, executor="threads")
    assert found["recall@20"] == pytest.approx(0.1717, abs=5e-4)
    assert found["ndcg@20"] == pytest.approx(0.1447, abs=5e-4)
