"""Values worked out by hand, those of trec_eval (by ir-measures) and of scikit-learn, and properties."""

import ir_measures
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import average_precision_score, mean_absolute_error, mean_squared_error, ndcg_score

from recscale_dask.api.plugins import plugin_manager
from recscale_dask.errors import OptionError, PluginError
from recscale_dask.evaluation.catalogue import coverage, gini, novelty
from recscale_dask.evaluation.error import mae, rmse
from recscale_dask.evaluation.metric import CatalogueMetric, ListMetric, Lists, RatingMetric, Training
from recscale_dask.evaluation.ranking import average_precision, hit_rate, ndcg, precision, recall, reciprocal_rank
from recscale_dask.evaluation.trial import parse_metric

HITS = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
RELEVANT = np.array([3, 1, 4, 2])
TREC = {recall: R, precision: P, ndcg: nDCG, average_precision: AP, reciprocal_rank: RR, hit_rate: Success}


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (recall, 3, [2 / 3, 0, 0, 1]),
        (recall, 5, [2 / 3, 1, 0, 1]),
        (precision, 3, [2 / 3, 0, 0, 2 / 3]),
        (precision, 5, [2 / 5, 1 / 5, 0, 2 / 5]),
        (ndcg, 1, [1, 0, 0, 1]),
        (ndcg, 3, [1.5 / (1 + 1 / np.log2(3) + 0.5), 0, 0, 1]),
        (ndcg, 5, [1.5 / (1 + 1 / np.log2(3) + 0.5), 1 / np.log2(6), 0, 1]),
        (average_precision, 1, [1 / 3, 0, 0, 1 / 2]),
        (average_precision, 5, [(1 + 2 / 3) / 3, 1 / 5, 0, 1]),
        (reciprocal_rank, 4, [1, 0, 0, 1]),
        (reciprocal_rank, 5, [1, 1 / 5, 0, 1]),
        (hit_rate, 4, [1, 0, 0, 1]),
        (hit_rate, 5, [1, 1, 0, 1]),
    ],
)
def test_values_worked_out_by_hand(metric, k, expected):
    np.testing.assert_allclose(metric(HITS, RELEVANT, k), expected, rtol=1e-14)


def test_precision_fills_short_lists_up_with_misses():
    assert precision(np.array([[True, True]]), np.array([5]), 10).tolist() == [0.2]


@pytest.mark.parametrize("metric", TREC)
def test_lists_without_entries_and_users_without_test_items_have_zero(metric):
    assert metric(np.zeros((2, 0), bool), np.array([1, 2]), 5).tolist() == [0, 0]
    assert metric(np.zeros((1, 3), bool), np.array([0]), 2).tolist() == [0]


lists = st.integers(1, 12).flatmap(
    lambda depth: st.tuples(st.lists(st.booleans(), min_size=0, max_size=depth), st.integers(0, 5))
)
tables = st.lists(lists, min_size=1, max_size=6)


@given(tables, st.integers(1, 15))
def test_metrics_are_those_of_trec_eval(table, k):
    """Lists may be shorter than k, empty, or without a hit, and users may have no test item at all."""
    hits = np.zeros((len(table), 15), bool)
    for row, (each, _) in zip(hits, table, strict=True):
        row[: len(each)] = each
    n_relevant = hits.sum(axis=1) + [missed for _, missed in table]
    run, truth = {}, {}
    for user, (each, missed) in enumerate(table):
        right = [f"item{place}" for place, hit in enumerate(each) if hit]
        truth[str(user)] = dict.fromkeys([*right, *(f"missed{place}" for place in range(missed))], 1) or {"none": 0}
        run[str(user)] = {f"item{place}": -float(place) for place in range(len(each))} or {"other": 0.0}
    for metric, theirs in TREC.items():
        expected = {each.query_id: each.value for each in ir_measures.iter_calc([theirs @ k], truth, run)}
        ours = metric(hits, n_relevant, k)
        np.testing.assert_allclose(ours, [expected[str(user)] for user in range(len(table))], atol=1e-6)


cases = st.integers(1, 12).flatmap(
    lambda depth: st.tuples(
        st.lists(st.booleans(), min_size=depth, max_size=depth), st.integers(0, 5), st.integers(1, depth)
    )
)


@given(cases)
def test_ndcg_is_that_of_scikit_learn_for_binary_gains(case):
    hits, missed, k = case
    n_relevant = sum(hits) + missed
    assume(n_relevant and len(hits) + missed > 1)
    truth = np.array([[*hits, *[True] * missed]], float)
    scores = -np.arange(truth.shape[1], dtype=float)[None]
    ours = ndcg(np.array([hits]), np.array([n_relevant]), k)
    np.testing.assert_allclose(ours, ndcg_score(truth, scores, k=k), rtol=1e-12)


@given(st.lists(st.booleans(), min_size=1).filter(any))
def test_average_precision_of_a_whole_ranking_is_that_of_scikit_learn(hits):
    ours = average_precision(np.array([hits]), np.array([sum(hits)]), len(hits))
    assert ours[0] == pytest.approx(average_precision_score(hits, -np.arange(len(hits))), abs=1e-9)


@given(cases)
def test_metrics_are_between_zero_and_one_and_perfect_lists_have_the_most(case):
    hits, missed, k = case
    n_relevant = max(1, sum(hits) + missed)
    perfect = np.arange(len(hits)) < n_relevant
    most = {recall: min(k, perfect.sum()) / n_relevant, precision: min(k, perfect.sum()) / k}
    most[average_precision] = most[recall]
    for metric in TREC:
        (value,) = metric(np.array([hits]), np.array([n_relevant]), k)
        assert 0 <= value <= 1 + 1e-12
        assert metric(perfect[None], np.array([n_relevant]), k)[0] == pytest.approx(most.get(metric, 1))


@given(cases)
def test_a_hit_further_up_is_never_worse(case):
    hits, missed, k = case
    n_relevant = np.array([max(1, sum(hits) + missed)])
    better = sorted(hits, reverse=True)
    for metric in TREC:
        assert metric(np.array([better]), n_relevant, k) >= metric(np.array([hits]), n_relevant, k) - 1e-12


@given(tables, st.integers(1, 15))
def test_value_of_a_user_does_not_depend_on_the_others_of_the_batch(table, k):
    hits = np.zeros((len(table), 15), bool)
    for row, (each, _) in zip(hits, table, strict=True):
        row[: len(each)] = each
    n_relevant = hits.sum(axis=1) + 1
    for metric in TREC:
        alone = [metric(hits[[user]], n_relevant[[user]], k)[0] for user in range(len(hits))]
        assert metric(hits, n_relevant, k).tolist() == alone


# -- what is shown ---------------------------------------------------------------------------------

TRAINING = Training(popularity=np.array([4, 2, 1, 0]), n_users=8)


def shown(*items):
    depth = max(len(each) for each in items)
    table = np.array([[*each, *[-1] * (depth - len(each))] for each in items], np.int32)
    return Lists(table, np.zeros(table.shape, bool), np.ones(len(table), np.int64), TRAINING)


def test_novelty_is_the_mean_information_of_what_a_user_is_shown():
    found = novelty.function(shown([0, 1, 2], [2], [], [3, 3]), 2)
    np.testing.assert_allclose(found, [(1 + 2) / 2, 3, np.nan, 3])  # bits; an item of nobody is as one of somebody


def test_coverage_is_the_share_of_items_that_are_shown_to_anyone():
    assert coverage.function(np.array([5, 0, 1, 0]), TRAINING) == 0.5
    assert coverage.function(np.zeros(4, np.int64), TRAINING) == 0


def test_gini_is_zero_for_equal_shares_and_nears_one_for_one_item():
    assert gini.function(np.array([3, 3, 3, 3]), TRAINING) == 0
    assert gini.function(np.array([0, 0, 7, 0]), TRAINING) == 0.75
    assert gini.function(np.zeros(4, np.int64), TRAINING) == 0


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20).filter(any))
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    x = np.array(counts, float)
    expected = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    assert gini.function(np.array(counts), TRAINING) == pytest.approx(expected, abs=1e-12)


# -- rating errors and contracts -------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1))
def test_rating_errors_are_those_of_scikit_learn(pairs):
    scores, values = np.array(pairs).T
    assert rmse(scores - values) == pytest.approx(np.sqrt(mean_squared_error(values, scores)), abs=1e-9)
    assert mae(scores - values) == pytest.approx(mean_absolute_error(values, scores), abs=1e-9)


def test_every_built_in_metric_is_one():
    for name in ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "novelty", "coverage", "gini"):
        assert parse_metric(f"{name}@7", lambda base: plugin_manager().resolve("metrics", base)).k == 7
    for name in ("rmse", "mae"):
        found = parse_metric(name, lambda base: plugin_manager().resolve("metrics", base))
        assert isinstance(found.metric, RatingMetric)
        assert found.smaller_is_better


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([], "expected a function of hits, n_relevant and k"),
        (lambda hits, n_relevant, k: 0.5, r"gave float64 of shape \(\) for 5 users"),
        (lambda hits, n_relevant, k: np.array(["a", "b"]), "expected one number for each user"),
        (ListMetric(lambda lists, k: lists.hits), r"shape \(5, 6\)"),
        (lambda hits, n_relevant, k: hits.sum(axis=1) / n_relevant, "first k columns alone"),
        (lambda hits, n_relevant, k: hits[:, :k].sum(axis=1) / max(1, hits[:, :k].sum()), "batches differ"),
        (lambda hits, n_relevant, k: np.full(len(hits), np.nan), "NaN for each of 5 users"),
        (CatalogueMetric(lambda counts, training: counts), "expected one number"),
        (CatalogueMetric(lambda counts, training: float("nan")), "expected one number"),
    ],
)
def test_target_that_is_no_metric_is_refused_before_any_work(target, message):
    with pytest.raises(PluginError, match=message):
        parse_metric("odd@3", lambda base: target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (RatingMetric(loss=np.mean), "expected one loss each"),
        (RatingMetric(loss=lambda errors: errors**2 / (1 + np.abs(errors).max())), "for each alone"),
        (RatingMetric(loss=np.square, finish=np.negative), "increasing"),
    ],
)
def test_rating_metric_that_cannot_be_right_is_refused_before_any_work(target, message):
    with pytest.raises(PluginError, match=message):
        parse_metric("odd", lambda base: target)


def test_rating_metric_of_a_plugin_takes_no_length():
    with pytest.raises(OptionError, match="takes no @k"):
        parse_metric("bias@3", lambda base: RatingMetric(loss=lambda errors: errors))
