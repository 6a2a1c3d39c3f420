import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recscale_dask.model import SeenItems
from recscale_dask.scoring.topk import TopKQuery, top_k


def excluded_of(lists):
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    return SeenItems(indptr, np.array([item for each in lists for item in each], np.int32))


def brute_force(users, items, k, excluded=None):
    """Scores are sums in order in float64, rounded once; ties go to the lower code."""
    scores = np.zeros((len(users), len(items)))
    for j in range(users.shape[1]):
        scores += users[:, j, None].astype(np.float64) * items[:, j].astype(np.float64)
    scores = scores.astype(np.float32)
    answers = []
    for row, line in enumerate(scores):
        out = set(excluded[row]) if excluded is not None else set()
        best = sorted((-score, code) for code, score in enumerate(line.tolist()) if code not in out)[:k]
        answers.append(([code for _, code in best], [-score for score, _ in best]))
    return answers


def ours(users, items, k, excluded=None):
    query = TopKQuery(np.arange(len(users), dtype=np.int32), users, k, excluded_of(excluded) if excluded else None)
    best = top_k(query, candidates=items)
    ends = np.cumsum(best.counts)
    assert best.ranks().tolist() == [rank for count in best.counts for rank in range(1, count + 1)]
    return [
        (best.candidates[a:b].tolist(), best.scores[a:b].tolist())
        for a, b in zip(ends - best.counts, ends, strict=True)
    ]


def normal(n, rank, seed):
    return np.random.default_rng(seed).standard_normal((n, rank)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 10, 499, 500])
def test_best_are_those_of_brute_force(k):
    users, items = normal(20, 16, 0), normal(500, 16, 1)
    assert ours(users, items, k) == brute_force(users, items, k)


def test_excluded_are_never_there_and_fewer_candidates_give_fewer_rows():
    users, items = normal(4, 3, 0), normal(6, 3, 1)
    excluded = [[], [0, 1, 2, 3, 4, 5], [5, 0], [1]]
    found = ours(users, items, 5, excluded)
    assert found == brute_force(users, items, 5, excluded)
    assert [len(codes) for codes, _ in found] == [5, 0, 4, 5]


def test_ties_go_to_the_lower_code():
    users, items = np.ones((2, 2), np.float32), np.ones((50, 2), np.float32)
    items[30] = 2
    assert [codes for codes, _ in ours(users, items, 4)] == [[30, 0, 1, 2]] * 2


def test_zero_vector_gets_the_first_codes_with_score_zero():
    (answer,) = ours(np.zeros((1, 4), np.float32), normal(9, 4, 0), 3)
    assert answer == ([0, 1, 2], [0, 0, 0])


def test_negative_scores_are_ranked_as_others():
    users, items = np.ones((1, 1), np.float32), -np.arange(1, 6, dtype=np.float32)[:, None]
    assert ours(users, items, 3) == [([0, 1, 2], [-1, -2, -3])]


def test_k_larger_than_the_catalogue_gives_the_catalogue():
    users, items = normal(3, 4, 0), normal(5, 4, 1)
    assert ours(users, items, 100) == brute_force(users, items, 5)


def test_no_users_or_no_candidates_give_no_rows():
    assert ours(normal(0, 4, 0), normal(5, 4, 0), 3) == []
    assert ours(normal(2, 4, 0), normal(0, 4, 0), 3) == [([], []), ([], [])]


def test_scores_that_differ_by_less_than_float32_products_round_are_ranked_right():
    rng = np.random.default_rng(0)
    users = rng.standard_normal((5, 64)).astype(np.float32)
    items = (rng.standard_normal(64) + 1e-7 * rng.standard_normal((400, 64))).astype(np.float32)
    assert ours(users, items, 10) == brute_force(users, items, 10)


small = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.1, 0.5, 1.0, 3.0, 1e-20, 1e15])


@settings(max_examples=60)
@given(st.data(), st.integers(1, 5), st.integers(1, 12), st.integers(1, 4), st.integers(1, 15))
def test_any_factors_and_exclusions(data, n_users, n_items, rank, k):
    def draw(n):
        return np.array(data.draw(st.lists(small, min_size=n * rank, max_size=n * rank)), np.float32).reshape(n, rank)

    users, items = draw(n_users), draw(n_items)
    excluded = [data.draw(st.lists(st.integers(0, n_items - 1), unique=True)) for _ in range(n_users)]
    assert ours(users, items, k, excluded) == brute_force(users, items, k, excluded)
