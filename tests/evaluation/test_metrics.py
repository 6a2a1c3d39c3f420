import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recscale_dask.evaluation.error import mae, rmse
from recscale_dask.evaluation.ranking import average_precision, ndcg, precision, recall

HITS = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
RELEVANT = np.array([3, 1, 4, 2])
METRICS = (recall, precision, ndcg, average_precision)


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
        (average_precision, 3, [(1 + 2 / 3) / 3, 0, 0, 1]),
        (average_precision, 5, [(1 + 2 / 3) / 3, 1 / 5, 0, 1]),
    ],
)
def test_values_worked_out_by_hand(metric, k, expected):
    np.testing.assert_allclose(metric(HITS, RELEVANT, k), expected, rtol=1e-14)


def test_precision_fills_short_lists_up_with_misses():
    assert precision(np.array([[True, True]]), np.array([5]), 10).tolist() == [0.2]


@pytest.mark.parametrize("metric", METRICS)
def test_lists_without_entries_have_zero(metric):
    assert metric(np.zeros((2, 0), bool), np.array([1, 2]), 5).tolist() == [0, 0]


cases = st.integers(1, 12).flatmap(
    lambda depth: st.tuples(
        st.lists(st.booleans(), min_size=depth, max_size=depth), st.integers(0, 5), st.integers(1, depth)
    )
)


@given(cases)
def test_ndcg_is_that_of_scikit_learn_for_binary_gains(case):
    hits, missed, k = case
    n_relevant = sum(hits) + missed
    if n_relevant == 0 or len(hits) + missed < 2:
        return
    truth = np.array([[*hits, *[True] * missed]], float)
    scores = -np.arange(truth.shape[1], dtype=float)[None]
    ours = ndcg(np.array([hits]), np.array([n_relevant]), k)
    np.testing.assert_allclose(ours, ndcg_score(truth, scores, k=k), rtol=1e-12)


@given(cases)
def test_metrics_are_between_zero_and_one_and_a_perfect_list_has_one(case):
    hits, missed, k = case
    n_relevant = max(1, sum(hits) + missed)
    for metric in METRICS:
        (value,) = metric(np.array([hits]), np.array([n_relevant]), k)
        assert 0 <= value <= 1 + 1e-12
    perfect = np.arange(len(hits)) < n_relevant
    assert ndcg(perfect[None], np.array([n_relevant]), k)[0] == pytest.approx(1)
    assert average_precision(perfect[None], np.array([n_relevant]), k)[0] == pytest.approx(
        min(k, perfect.sum()) / min(k, n_relevant)
    )


@given(cases)
def test_a_hit_further_up_is_never_worse(case):
    hits, missed, k = case
    n_relevant = np.array([max(1, sum(hits) + missed)])
    better = sorted(hits, reverse=True)
    for metric in METRICS:
        assert metric(np.array([better]), n_relevant, k) >= metric(np.array([hits]), n_relevant, k) - 1e-12


def test_rating_errors():
    errors = np.array([1.0, -3, 0, 2])
    assert rmse(errors) == pytest.approx(np.sqrt(14 / 4))
    assert mae(errors) == pytest.approx(1.5)
