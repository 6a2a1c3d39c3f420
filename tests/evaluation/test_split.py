import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError
from recscale_dask.evaluation.split import split


def interactions(table, *, times=True, values=True):
    user, item, value, time = zip(*table, strict=True)
    arrow = pa.table({"user": user, "item": item, "value": value, "time": time})
    names = {"value": "value" if values else None, "time": "time" if times else None}
    return Interactions.from_arrow(arrow, user="user", item="item", **names)


def rows(data):
    return list(zip(*data.to_arrow().to_pydict().values(), strict=True))


def many(seed=0, n=2000, n_users=100):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, n_users, n), rng.integers(0, 50, n), rng.integers(1, 6, n), rng.integers(0, 99, n)]
    return [tuple(map(int, row)) for row in np.column_stack(columns)]


TABLES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 5), st.integers(0, 3)), min_size=1)


@pytest.mark.parametrize("how", ["random", "temporal", "leave-one-out"])
@given(table=TABLES, random=st.randoms(), seed=st.integers(0, 5))
def test_the_two_sets_are_a_partition_that_does_not_depend_on_row_order(how, table, random, seed):
    table = [*table, (9, 0, 1, 0), (9, 1, 1, 9), (9, 2, 1, 9)]  # enough for both sets to have rows
    train, test = split(interactions(table), how, fraction=0.5, seed=seed)
    assert sorted(rows(train) + rows(test)) == sorted(table)
    for again, before in zip(
        split(interactions(random.sample(table, len(table))), how, fraction=0.5, seed=seed), (train, test), strict=True
    ):
        assert rows(again) == rows(before)
        assert again.users == before.users


@pytest.mark.parametrize("how", ["random", "temporal", "leave-one-out"])
def test_each_set_knows_only_the_ids_that_occur_in_it(how):
    for part in split(interactions(many()), how):
        assert len(np.unique(part.user_codes)) == part.n_users
        assert len(np.unique(part.item_codes)) == part.n_items


def test_a_random_split_takes_the_fraction_and_leaves_every_user_in_training():
    table = many()
    train, test = split(interactions(table), fraction=0.3)
    assert len(test) == 600
    assert {row[0] for row in rows(train)} == {row[0] for row in table}


def test_a_random_split_changes_with_the_seed_only():
    data = interactions(many())
    assert rows(split(data, seed=1)[1]) == rows(split(data, seed=1)[1]) != rows(split(data, seed=2)[1])


def test_users_with_one_row_stay_in_training():
    table = [(user, 0, 1, 0) for user in range(50)] + [(99, item, 1, 0) for item in range(50)]
    for how in ("random", "leave-one-out"):
        _, test = split(interactions(table), how, fraction=0.4)
        assert test.users.ids.to_pylist() == [99]


def test_a_temporal_split_tests_on_the_latest_rows():
    train, test = split(interactions(many()), "temporal", fraction=0.25)
    assert len(test) == 500
    assert train.times.max() <= test.times.min()


def test_ties_in_time_are_cut_by_user_and_then_item():
    table = [(user, item, 1, 7) for user in (2, 1) for item in (1, 2)]
    train, test = split(interactions(table), "temporal", fraction=0.25)
    assert rows(test) == [(2, 2, 1, 7)]
    assert rows(train) == [(1, 1, 1, 7), (1, 2, 1, 7), (2, 1, 1, 7)]


def test_leave_one_out_holds_out_the_last_of_each_user():
    table = [(1, 10, 1, 3), (1, 11, 1, 9), (1, 12, 1, 4), (2, 10, 1, 1), (3, 10, 1, 2), (3, 11, 1, 1)]
    _, test = split(interactions(table), "leave-one-out")
    assert rows(test) == [(1, 11, 1, 9), (3, 10, 1, 2)]


def test_leave_one_out_without_times_holds_out_one_at_random():
    data = interactions(many(), times=False, values=False)
    first, other = (split(data, "leave-one-out", seed=seed)[1] for seed in (0, 1))
    assert len(first) == len(other) == 100
    assert rows(first) != rows(other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "lucky"}, "random, temporal, leave-one-out"),
        ({"fraction": 0}, "above 0 and below 1"),
        ({"fraction": 1.0}, "above 0 and below 1"),
    ],
)
def test_an_impossible_option_says_what_is_possible(options, message):
    with pytest.raises(OptionError, match=message):
        split(interactions(many()), **options)


def test_what_cannot_be_split_says_so():
    with pytest.raises(DataError, match="needs times"):
        split(interactions(many(), times=False), "temporal")
    singles = interactions([(user, 1, 1, 1) for user in range(10)])
    with pytest.raises(DataError, match="leaves the test set empty"):
        split(singles, "leave-one-out")
    with pytest.raises(DataError, match="leaves the training set empty"):
        split(singles, "temporal", fraction=0.99)
