"""Evaluation end to end against lists that are made slowly, and judged by ir-measures."""

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from ir_measures import AP, RR, P, R, Success, nDCG

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.scoring import request as scoring

# Random pairs, of which many are in the training data.
pytestmark = pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")

NAMES = ("recall@3", "precision@3", "ndcg@10", "map@10", "mrr@3", "hit_rate@3")
TREC = (R @ 3, P @ 3, nDCG @ 10, AP @ 10, RR @ 3, Success @ 3)
MORE = ("novelty@3", "coverage@3", "coverage@10", "gini@3")


def interactions(users, items):
    return Interactions.from_arrow(pa.table({"user": users, "item": items}), user="user", item="item")


def random_case(seed, n_users=40, n_items=25):
    """Return a model with many ties, and a test set with users and items that it does not know."""
    rng = np.random.default_rng(seed)
    seen = rng.random((n_users, n_items)) < 0.3
    seen[:3] = True
    seen[0, 4:] = False  # a user with many candidates, and two with none or fewer than k
    seen[2, :2] = False
    model = rs.factorize(
        interactions(*np.nonzero(seen)), rank=2, weighting="binary", executor="serial", solver="popularity"
    )
    rows, columns = np.nonzero(rng.random((n_users + 3, n_items + 3)) < 0.15)
    return model, seen, interactions(rows, columns)


def slow_lists(model, seen, k):
    scores = model.user_factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)
    order = [np.lexsort((np.arange(seen.shape[1]), -scores[user].astype(np.float32))) for user in range(len(seen))]
    return [[int(item) for item in each if not seen[user, item]][:k] for user, each in enumerate(order)]


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_ir_measures_on_lists_made_slowly(seed, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_USERS", 7)
    model, seen, test = random_case(seed)
    found = rs.evaluate(model, test, metrics=(*NAMES, *MORE), executor="serial")
    lists = slow_lists(model, seen, 10)
    truth, run = {}, {}
    for row in test.to_arrow().to_pylist():
        if row["user"] < len(seen):
            truth.setdefault(str(row["user"]), {})[str(row["item"])] = 1
    for user in truth:
        ranked = lists[int(user)]
        run[user] = {str(item): -float(place) for place, item in enumerate(ranked)} or {"none": 0.0}
    expected = {(each.query_id, each.measure): each.value for each in ir_measures.iter_calc(TREC, truth, run)}
    users = [str(user) for user in found.users.to_pylist()]
    assert sorted(users) == sorted(truth)
    assert found.n_users == len(truth)
    for name, theirs in zip(NAMES, TREC, strict=True):
        values = [expected[user, theirs] for user in users]
        np.testing.assert_allclose(found.per_user[name], values, atol=1e-6)
        assert found[name] == pytest.approx(np.mean(values), abs=1e-6)
    judged = [lists[int(user)] for user in users]
    popularity = seen.sum(axis=0)
    information = [np.mean([-np.log2(popularity[item] / len(seen)) for item in each[:3]]) for each in judged if each]
    assert found["novelty@3"] == pytest.approx(np.mean(information))
    counts = {k: np.bincount([item for each in judged for item in each[:k]], minlength=25) for k in (3, 10)}
    for k in (3, 10):
        assert found[f"coverage@{k}"] == np.mean(counts[k] > 0)
    spread = np.abs(counts[3][:, None] - counts[3]).mean() / (2 * counts[3].mean())
    assert found["gini@3"] == pytest.approx(spread)


def test_metrics_at_several_k_are_those_at_each_alone():
    model, _, test = random_case(9)
    together = rs.evaluate(model, test, metrics=(*NAMES, *MORE), executor="serial")
    for name in (*NAMES, *MORE):
        assert rs.evaluate(model, test, metrics=name, executor="serial")[name] == together[name]


@pytest.mark.parametrize("name", ["threads", "processes", "dask"])
def test_every_executor_gives_the_same_bits_in_any_batches(name, monkeypatch):
    model, _, test = random_case(5)
    names = (*NAMES, *MORE)
    here = rs.evaluate(model, test, metrics=names, executor="serial")
    monkeypatch.setattr(scoring, "BATCH_USERS", 9)
    with rs.open_executor(name, n_workers=2) as executor:
        there = rs.evaluate(model, test, metrics=names, executor=executor)
    assert there.metrics == here.metrics
    assert all(there.per_user[each].tobytes() == here.per_user[each].tobytes() for each in here.per_user)
    assert there.intervals() == here.intervals()


def test_users_are_named_in_the_order_of_their_values():
    model = rs.factorize(interactions(["b", "b", "a"], ["x", "y", "x"]), rank=1, executor="serial")
    found = rs.evaluate(model, interactions(["a", "b", "c"], ["y", "z", "x"]), metrics="recall@1", executor="serial")
    assert found.users.to_pylist() == ["a", "b"]
    assert found.per_user["recall@1"].tolist() == [1, 0]


def test_intervals_hold_the_value_and_the_catalogue_has_none():
    model, _, test = random_case(3)
    found = rs.evaluate(model, test, metrics=("recall@3", "coverage@3", "novelty@3"), executor="serial")
    intervals = found.intervals(level=0.8, seed=1)
    assert list(intervals) == ["recall@3", "novelty@3"]
    assert all(intervals[name].low < found[name] < intervals[name].high for name in intervals)
    assert found.intervals(level=0.5, seed=1)["recall@3"].high < intervals["recall@3"].high
    only = rs.evaluate(model, test, metrics="coverage@3", executor="serial")
    assert only.intervals() == {}
    text = str(found).splitlines()
    assert text[0].startswith(f"recall@3    {found['recall@3']:.4f}  [")
    assert text[1] == f"coverage@3  {found['coverage@3']:.4f}"
    assert text[3] == f"Over {found.n_users} users. [95% intervals, by bootstrap over users]"


@pytest.mark.parametrize("solver", [each.name for each in rs.list_solvers()])
def test_models_of_every_solver_are_judged_by_the_lists_that_they_recommend(solver):
    users, items = np.nonzero(np.random.default_rng(0).random((60, 40)) < 0.25)
    train, test = rs.split(interactions(users, items), how="per-user-random", fraction=0.3)
    weighting = None if solver == "als-explicit" else "binary"
    model = rs.factorize(train, solver=solver, rank=4, weighting=weighting, executor="serial")
    found = rs.evaluate(model, test, metrics=("recall@5", "coverage@5"), executor="threads")
    lists = model.recommend(k=5, executor="serial").to_pylist()
    right = {(row["user"], row["item"]) for row in test.to_arrow().to_pylist()}
    asked = set(found.users.to_pylist())
    hits = dict.fromkeys(asked, 0)
    for row in lists:
        hits[row["user"]] = hits.get(row["user"], 0) + ((row["user"], row["item"]) in right)
    sizes = {user: sum(one == user for one, _ in right) for user in asked}
    expected = [hits[user] / sizes[user] for user in found.users.to_pylist()]
    np.testing.assert_allclose(found.per_user["recall@5"], expected)
    shown = {row["item"] for row in lists if row["user"] in asked}
    assert found["coverage@5"] == len(shown) / len(model.items)
    folded = rs.evaluate(model, test, fold_in=train, metrics=("recall@5",), executor="serial")
    assert folded["recall@5"] == pytest.approx(found["recall@5"], abs=0.02)
