"""Whole rows of scores, and the best of each row, against plain NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recscale_dask.linalg import row_scores


def read_only(array):
    array.flags.writeable = False
    return array


def best(scores, k, least=-np.inf, lists=None, own=False):
    n = len(scores)
    codes, values, counts = np.empty((n, k), np.int32), np.empty((n, k), np.float32), np.zeros(n, np.int64)
    indptr, items = (np.zeros(0, np.int64), np.zeros(0, np.int32)) if lists is None else lists
    row_scores.select_best(scores, read_only(items), read_only(indptr), float(least), own, codes, values, counts)
    return [list(zip(codes[i, : counts[i]].tolist(), values[i, : counts[i]].tolist(), strict=True)) for i in range(n)]


def brute_force(row, k, least, allowed):
    pairs = [(code, float(row[code])) for code in allowed if row[code] >= least]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_best_of_rows_are_those_of_a_sort_with_ties_by_code(data):
    n_rows, n_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 700))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # Few values, so that there are many ties.
    scores = rng.integers(-3, data.draw(st.integers(-2, 200)), (n_rows, n_items)).astype(np.float32)
    scores[rng.random((n_rows, n_items)) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    k, least = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([-np.inf, 0.0, 5.5]))
    kind = data.draw(st.sampled_from(["all", "one list", "own lists"]))
    chosen = rng.random((n_rows, n_items)) < 0.5
    lists, own = None, kind == "own lists"
    if kind == "all":
        chosen[:] = True
    elif kind == "one list":
        chosen[:] = chosen[0]
        items = np.flatnonzero(chosen[0]).astype(np.int32)
        lists = np.array([0, len(items)]), items
    else:
        indptr = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]).astype(np.int64)
        lists = indptr, np.nonzero(chosen)[1].astype(np.int32)
    found = best(scores, min(k, n_items), least, lists, own)
    assert found == [brute_force(scores[i], k, least, np.flatnonzero(chosen[i]).tolist()) for i in range(n_rows)]


@pytest.mark.parametrize(("n_users", "n_items", "rank"), [(1, 1, 1), (5, 17, 3), (7, 40, 8), (96, 33, 5), (6, 16, 0)])
def test_products_of_factors_are_added_to_what_is_there(n_users, n_items, rank):
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((n_users, rank)), rng.standard_normal((n_items, rank))
    out = np.ones((n_users, n_items), np.float32)
    rows, panels = row_scores.padded_rows(users.astype(np.float32)), row_scores.factor_panels(items.astype(np.float32))
    row_scores.add_factor_scores(read_only(rows), read_only(panels), out)
    np.testing.assert_allclose(out, 1 + users @ items.T, rtol=1e-5, atol=1e-5)


def test_score_of_a_user_does_not_depend_on_who_the_others_are():
    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, 37)).astype(np.float32) for n in (50, 70))
    panels = read_only(row_scores.factor_panels(items))

    def scores(codes):
        out = np.zeros((len(codes), 70), np.float32)
        row_scores.add_factor_scores(read_only(row_scores.padded_rows(users[codes])), panels, out)
        return out

    order = rng.permutation(50)
    np.testing.assert_array_equal(scores(order), scores(np.arange(50))[order])
    np.testing.assert_array_equal(scores([11]), scores(np.arange(50))[[11]])


@pytest.mark.parametrize(("n_rows", "n_items"), [(32, 16), (3, 50), (1, 5)])
def test_tile_is_the_transpose_of_rows(n_rows, n_items):
    rng = np.random.default_rng(0)
    tile = rng.random((n_items, 32), dtype=np.float32)
    out = np.ones((n_rows, n_items), np.float32)
    row_scores.add_tile(tile, out)
    np.testing.assert_array_equal(out, 1 + tile.T[:n_rows])
