import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recscale_dask.linalg import topk_search
from recscale_dask.linalg.topk import pair_scores
from recscale_dask.model import SeenItems
from recscale_dask.scoring.topk import TopKQuery, prepare_candidates, top_k


def lists_of(lists):
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    return SeenItems(indptr, np.array([item for each in lists for item in each], np.int32))


def all_scores(users, items):
    """Scores are added up in float64: eight sums of every eighth product, then in halves; rounded once."""
    sums = np.zeros((8, len(users), len(items)))
    for j in range(users.shape[1]):
        sums[j % 8] += users[:, j, None].astype(np.float64) * items[:, j].astype(np.float64)
    for half in (4, 2, 1):
        sums = sums[:half] + sums[half : 2 * half]
    with np.errstate(over="ignore"):
        return sums[0].astype(np.float32)


def brute_force(users, items, k, excluded=None, allowed=None, min_score=-np.inf):
    """The best by score, then by the lower code."""
    answers = []
    for row, line in enumerate(all_scores(users, items).tolist()):
        kept = set(range(len(items))) if allowed is None else set(allowed[row])
        kept -= set(excluded[row]) if excluded is not None else set()
        best = sorted((-score, code) for code, score in enumerate(line) if code in kept and score >= min_score)[:k]
        answers.append(([code for _, code in best], [-score for score, _ in best]))
    return answers


def ask(users, items, k, excluded=None, allowed=None, min_score=-np.inf):
    lists = [None if each is None else lists_of(each) for each in (excluded, allowed)]
    return top_k(TopKQuery(users, k, *lists, min_score), candidates=items)


def ours(*query, **filters):
    best = ask(*query, **filters)
    ends = np.cumsum(best.counts)
    assert best.ranks().tolist() == [rank for count in best.counts for rank in range(1, count + 1)]
    return [
        (best.candidates[a:b].tolist(), best.scores[a:b].tolist())
        for a, b in zip(ends - best.counts, ends, strict=True)
    ]


def normal(n, rank, seed):
    return np.random.default_rng(seed).standard_normal((n, rank)).astype(np.float32)


def with_decaying_lengths(n, rank, seed):
    return (normal(n, rank, seed) * (1 + np.arange(n)[:, None]) ** -0.7).astype(np.float32)


# -- what the best are -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 10, 499, 500])
def test_best_are_those_of_brute_force(k):
    users, items = normal(20, 15, 0), normal(500, 15, 1)
    assert ours(users, items, k) == brute_force(users, items, k)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_best_are_those_of_brute_force_where_most_candidates_are_left_out(k):
    users, items = normal(50, 9, 0), with_decaying_lengths(3000, 9, 1)
    assert ours(users, items, k) == brute_force(users, items, k)


def test_excluded_are_never_there_and_fewer_candidates_give_fewer_rows():
    users, items = normal(4, 3, 0), normal(6, 3, 1)
    excluded = [[], [0, 1, 2, 3, 4, 5], [5, 0], [1]]
    found = ours(users, items, 5, excluded)
    assert found == brute_force(users, items, 5, excluded)
    assert [len(codes) for codes, _ in found] == [5, 0, 4, 5]


def test_only_allowed_are_there_and_an_empty_list_allows_nothing():
    users, items = normal(4, 3, 0), normal(60, 3, 1)
    allowed = [[], [7], list(range(60)), [3, 5, 8, 13, 21, 34, 55]]
    found = ours(users, items, 5, allowed=allowed)
    assert found == brute_force(users, items, 5, allowed=allowed)
    assert [len(codes) for codes, _ in found] == [0, 1, 5, 5]


def test_excluded_and_allowed_is_not_there():
    users, items = normal(2, 3, 0), normal(6, 3, 1)
    assert [sorted(codes) for codes, _ in ours(users, items, 5, [[1], [0, 1, 2]], [[0, 1, 4], [0, 1, 2]])] == [
        [0, 4],
        [],
    ]


def test_least_score_is_included():
    users, items = np.ones((1, 1), np.float32), np.arange(10, dtype=np.float32)[:, None]
    assert ours(users, items, 10, min_score=7) == [([9, 8, 7], [9, 8, 7])]
    assert ours(users, items, 10, min_score=np.nextafter(7, 8)) == [([9, 8], [9, 8])]
    assert ours(users, items, 2, min_score=-5) == [([9, 8], [9, 8])]
    assert ours(users, items, 10, min_score=np.inf) == [([], [])]
    assert ours(users, items, 10, allowed=[[2, 8]], min_score=7) == [([8], [8])]


def test_ties_go_to_the_lower_code():
    users, items = np.ones((2, 2), np.float32), np.ones((50, 2), np.float32)
    items[30] = 2
    assert [codes for codes, _ in ours(users, items, 4)] == [[30, 0, 1, 2]] * 2


def test_more_equal_candidates_than_a_shortlist_holds_are_ranked_by_code():
    users, items = normal(3, 8, 0), np.tile(normal(4, 8, 1), (600, 1))
    for excluded in (None, [[], list(range(0, 2400, 3)), list(range(2390))]):
        assert ours(users, items, 20, excluded) == brute_force(users, items, 20, excluded)


def test_scores_that_differ_by_less_than_float32_products_round_are_ranked_right():
    rng = np.random.default_rng(0)
    users = rng.standard_normal((5, 64)).astype(np.float32)
    items = (rng.standard_normal(64) + 1e-7 * rng.standard_normal((400, 64))).astype(np.float32)
    assert ours(users, items, 10) == brute_force(users, items, 10)


def test_zero_vector_gets_the_first_codes_with_score_zero():
    users, items = np.zeros((1, 4), np.float32), normal(9, 4, 0)
    assert ours(users, items, 3, [[1]]) == [([0, 2, 3], [0, 0, 0])]
    assert ours(users, items, 3, min_score=0.1) == [([], [])]
    assert ask(users, items, 3).scored == 3


def test_candidates_of_zeros_rank_by_score_zero():
    users, items = np.ones((1, 2), np.float32), -np.ones((40, 2), np.float32)
    items[[5, 30]] = 0
    assert ours(users, items, 3) == [([5, 30, 0], [0, 0, -2])]
    assert ours(users, np.zeros((40, 2), np.float32), 3) == [([0, 1, 2], [0, 0, 0])]


def test_negative_scores_are_ranked_as_others():
    users, items = np.ones((1, 1), np.float32), -np.arange(1, 6, dtype=np.float32)[:, None]
    assert ours(users, items, 3) == [([0, 1, 2], [-1, -2, -3])]


def test_k_larger_than_the_catalogue_gives_the_catalogue():
    users, items = normal(3, 4, 0), normal(5, 4, 1)
    assert ours(users, items, 100) == brute_force(users, items, 5)


def test_no_users_no_candidates_or_no_factors():
    assert ours(normal(0, 4, 0), normal(5, 4, 0), 3) == []
    assert ours(normal(2, 4, 0), normal(0, 4, 0), 3) == [([], []), ([], [])]
    assert ours(normal(1, 0, 0), normal(5, 0, 0), 3) == [([0, 1, 2], [0, 0, 0])]


@pytest.mark.parametrize(("of_users", "of_items"), [(1e30, 1e30), (1e-30, 1e-30), (1e38, 1e-38), (1e-44, 1.0)])
def test_scores_beyond_float32_and_below_it(of_users, of_items):
    users, items = (of_users * normal(5, 3, 0)).astype(np.float32), (of_items * normal(90, 3, 1)).astype(np.float32)
    assert ours(users, items, 20) == brute_force(users, items, 20)


def test_one_candidate_a_million_times_longer_than_all_others():
    users, items = normal(10, 8, 0), normal(700, 8, 1)
    items[500] *= 1e6
    assert ours(users, items, 12) == brute_force(users, items, 12)


small = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.1, 0.5, 1.0, 3.0, 1e-20, 1e15])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 12), st.integers(1, 4), st.integers(1, 15))
def test_any_factors_and_filters(data, n_users, n_items, rank, k):
    def draw(n):
        return np.array(data.draw(st.lists(small, min_size=n * rank, max_size=n * rank)), np.float32).reshape(n, rank)

    def draw_lists():
        lists = [sorted(data.draw(st.sets(st.integers(0, n_items - 1)))) for _ in range(n_users)]
        return data.draw(st.sampled_from([None, lists]))

    users, items = draw(n_users), draw(n_items)
    filters = {"excluded": draw_lists(), "allowed": draw_lists(), "min_score": data.draw(small | st.just(-np.inf))}
    assert ours(users, items, k, **filters) == brute_force(users, items, k, **filters)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(1, 600),
    rank=st.integers(1, 20),
    k=st.integers(1, 60),
    digits=st.sampled_from([0, 1, 6]),
    decay=st.sampled_from([0.0, 0.5, 2.0]),
    copies=st.booleans(),
    filtered=st.booleans(),
)
def test_any_shape(seed, n_items, rank, k, digits, decay, copies, filtered):
    """Few digits make many ties, copies of candidates make exact ones, and decay leaves most candidates out."""
    rng = np.random.default_rng(seed)
    users = rng.standard_normal((7, rank)).round(digits).astype(np.float32)
    items = rng.standard_normal((n_items, rank)) * (1 + np.arange(n_items)[:, None]) ** -decay
    items = items.round(digits).astype(np.float32)
    if copies:
        items = items[rng.integers(0, n_items, n_items)]
    filters = {}
    if filtered:
        filters["excluded"] = [np.flatnonzero(rng.random(n_items) < rng.random()).tolist() for _ in users]
        filters["min_score"] = float(np.median(all_scores(users, items)))
    assert ours(users, items, k, **filters) == brute_force(users, items, k, **filters)


# -- what it must not depend on ------------------------------------------------------------------------


def test_answers_do_not_depend_on_how_many_rows_are_searched_together(monkeypatch):
    users, items = normal(30, 8, 0), normal(400, 8, 1)
    whole = ours(users, items, 5)
    monkeypatch.setattr(topk_search, "BLOCK_ROWS", 7)
    assert ours(users, items, 5) == whole


def test_prepared_candidates_travel_and_give_the_same_answers():
    users, items = normal(9, 5, 0), normal(100, 5, 1)
    prepared = prepare_candidates(items)
    assert ours(users, prepared, 5) == ours(users, items, 5)
    assert ours(users, pickle.loads(pickle.dumps(prepared)), 5) == ours(users, items, 5)


# -- what is left out ----------------------------------------------------------------------------------


def test_candidates_that_are_too_short_are_not_scored():
    users, items = normal(40, 8, 0), with_decaying_lengths(5000, 8, 1)
    best = ask(users, items, 5)
    assert best.scored < 0.2 * 40 * 5000
    assert ask(users, items, 5000).scored == 40 * 5000


def test_few_allowed_candidates_are_all_that_is_scored():
    assert ask(normal(1, 4, 0), normal(5000, 4, 1), 5, allowed=[[17, 4711]]).scored == 2


def test_scores_of_pairs_are_those_of_brute_force():
    users, items = normal(20, 37, 0), normal(30, 37, 1)
    rows, columns = (codes.ravel().astype(np.int32) for codes in np.indices((20, 30)))
    for n in (0, 1, 3, 4, 599, 600):
        out = np.empty(n, np.float32)
        pair_scores(users, items, rows[:n], columns[:n], out)
        assert out.tolist() == all_scores(users, items).ravel()[:n].tolist()
