from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError, UnknownNameError
from recscale_dask.scoring import request as scoring
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
    found = rs.evaluate(board, test, metrics=("recall@1",), executor="serial")
    np.testing.assert_allclose(found.per_user["recall@1"], [1, 0.5, 0])
    assert found["recall@1"] == pytest.approx(0.5)


def test_one_metric_may_be_given_by_itself(board):
    assert rs.evaluate(board, interactions([(3, 3, 1)]), metrics="recall@1", executor="serial").metrics == {
        "recall@1": 1
    }


def test_unknown_users_are_left_out_and_unknown_items_are_misses(board):
    test = interactions([(3, 3, 1), (3, 777, 1), (999, 3, 1), (998, 3, 1), (998, 4, 1)])
    found = rs.evaluate(board, test, metrics=("recall@1",), executor="serial")
    assert (found.n_users, found.n_unknown_users, found.n_unknown_items) == (1, 2, 1)
    assert found["recall@1"] == 0.5


def test_row_that_is_there_twice_counts_once_in_ranking(board):
    found = rs.evaluate(board, interactions([(3, 3, 1), (3, 3, 1), (3, 5, 1)]), metrics="recall@1", executor="serial")
    assert found["recall@1"] == 0.5


def test_rating_metrics_compare_scores_of_known_pairs():
    ratings = np.outer([1.0, 2, 3, 4], [1.0, 2, 3])
    model = rs.factorize(ratings, rank=1, executor="serial", tol=1e-8)
    test = interactions([(0, 0, 2), (1, 1, 4), (3, 2, 9), (3, 99, 5), (99, 0, 5)])  # truth: 1, 4, 12
    found = rs.evaluate(model, test, metrics=("rmse", "mae"), executor="serial")
    assert found["rmse"] == pytest.approx(np.sqrt(10 / 3), rel=1e-5)
    assert found["mae"] == pytest.approx(4 / 3, rel=1e-5)
    assert found.per_user == {}


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
        ("auc@5", UnknownNameError, "ndcg"),
    ],
)
def test_bad_metric_names_are_refused(board, metric, error, message):
    with pytest.raises(error, match=message):
        rs.evaluate(board, interactions([(3, 3, 1)]), metrics=metric, executor="serial")


def test_result_is_the_same_on_every_executor_and_in_any_batches(board, monkeypatch):
    test = interactions([(user, (user * 7) % 20, 1) for user in range(20)])
    results = [rs.evaluate(board, test, executor=name).metrics for name in ("serial", "threads", "processes")]
    monkeypatch.setattr(scoring, "BATCH_USERS", 3)
    results.append(rs.evaluate(board, test, executor="serial").metrics)
    assert all(result == results[0] for result in results)


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
