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


WAYS = {
    "random": {"fraction": 0.5},
    "temporal": {"fraction": 0.5},
    "leave-one-out": {},
    "leave-k-out": {"k": 2, "by": "random"},
    "per-user-random": {"fraction": 0.5},
    "per-user-temporal": {"fraction": 0.5},
    "held-out-users": {"users": 1, "fraction": 0.4},
}


@pytest.mark.parametrize("how", WAYS)
@given(table=TABLES, random=st.randoms(), seed=st.integers(0, 5))
def test_the_sets_are_a_partition_that_does_not_depend_on_row_order(how, table, random, seed):
    table = [*table, (9, 0, 1, 0), (9, 1, 1, 9), (9, 2, 1, 9), (8, 1, 1, 1)]  # enough for all sets to have rows
    parts = split(interactions(table), how, seed=seed, **WAYS[how])
    assert sorted(row for part in parts for row in rows(part)) == sorted(table)
    again = split(interactions(random.sample(table, len(table))), how, seed=seed, **WAYS[how])
    for one, other in zip(again, parts, strict=True):
        assert rows(one) == rows(other)
        assert one.users == other.users


@pytest.mark.parametrize("how", WAYS)
def test_each_set_knows_only_the_ids_that_occur_in_it(how):
    for part in split(interactions(many()), how, **WAYS[how]):
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
    for how, fraction in (("random", 0.4), ("leave-one-out", None)):
        _, test = split(interactions(table), how, fraction=fraction)
        assert test.users.ids.to_pylist() == [99]


def test_a_temporal_split_tests_on_the_latest_rows():
    train, test = split(interactions(many()), "temporal", fraction=0.25)
    assert len(test) == 500
    assert train.times.max() <= test.times.min()


def test_ties_in_time_are_cut_at_random_and_not_by_ids():
    table = [(user, item, 1, 7) for user in range(20) for item in range(20)]
    _, test = split(interactions(table), "temporal", fraction=0.25)
    assert len(test.users) == 20
    _, last = split(interactions(table), "leave-one-out")
    assert np.unique(last.item_codes).size > 5
    _, other = split(interactions(table), "leave-one-out", seed=1)
    assert rows(last) != rows(other)


def test_leave_one_out_holds_out_the_last_of_each_user():
    table = [(1, 10, 1, 3), (1, 11, 1, 9), (1, 12, 1, 4), (2, 10, 1, 1), (3, 10, 1, 2), (3, 11, 1, 1)]
    _, test = split(interactions(table), "leave-one-out")
    assert rows(test) == [(1, 11, 1, 9), (3, 10, 1, 2)]


def test_leave_one_out_without_times_holds_out_one_at_random():
    data = interactions(many(), times=False, values=False)
    first, other = (split(data, "leave-one-out", seed=seed)[1] for seed in (0, 1))
    assert len(first) == len(other) == 100
    assert rows(first) != rows(other)


def by_user(data):
    found = {}
    for row in rows(data):
        found.setdefault(row[0], []).append(row)
    return found


def test_leave_k_out_holds_out_the_latest_k_of_users_that_have_more():
    table = [(1, item, 1, item) for item in range(5)] + [(2, item, 1, 9 - item) for item in range(3)]
    table += [(3, item, 1, 0) for item in range(2)]
    train, test = split(interactions(table), "leave-k-out", k=2)
    assert rows(test) == [(1, 3, 1, 3), (1, 4, 1, 4), (2, 0, 1, 9), (2, 1, 1, 8)]
    assert {user: len(each) for user, each in by_user(train).items()} == {1: 3, 2: 1, 3: 2}


def test_leave_k_out_at_random_changes_with_the_seed_only():
    data = interactions(many())
    first, again, other = (rows(split(data, "leave-k-out", k=3, by="random", seed=seed)[1]) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(other) == 300


def test_leave_one_out_is_leave_k_out_with_one():
    data = interactions(many())
    for one, k in zip(split(data, "leave-one-out"), split(data, "leave-k-out", k=1), strict=True):
        assert rows(one) == rows(k)


@pytest.mark.parametrize("how", ["per-user-random", "per-user-temporal"])
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8), fraction=st.floats(0.05, 0.95))
def test_each_user_is_split_by_the_fraction_rounded_and_keeps_a_row(how, sizes, fraction):
    table = [(user, item, 1, (7 * item) % 13) for user, size in enumerate([*sizes, 100]) for item in range(size)]
    train, test = split(interactions(table), how, fraction=fraction)
    kept, held_out = by_user(train), by_user(test)
    for user, size in enumerate([*sizes, 100]):
        assert len(held_out.get(user, [])) == min(int(np.floor(fraction * size + 0.5)), size - 1)
        assert len(kept[user]) >= 1
        if how == "per-user-temporal":
            latest = max(row[3] for row in kept[user])
            assert all(row[3] >= latest for row in held_out.get(user, []))


def test_a_split_per_user_at_random_does_not_look_at_times():
    table = many()
    without = [(user, item, value, 0) for user, item, value, _ in set(table)]
    train, test = split(interactions(without), "per-user-random", seed=3)
    assert len(test) == pytest.approx(0.2 * len(without), rel=0.05)
    plain = split(interactions(without, times=False), "per-user-random", seed=3)
    assert [row[:3] for row in rows(train)] == rows(plain[0])


def test_held_out_users_are_in_no_training_row_and_in_both_of_their_parts():
    table = many()
    train, fold_in, test = split(interactions(table), "held-out-users", users=0.2, fraction=0.3, seed=1)
    outside = set(by_user(test))
    assert len(outside) == 20
    assert set(by_user(fold_in)) == outside
    assert not outside & set(by_user(train))
    for user, held_out in by_user(test).items():
        size = sum(row[0] == user for row in table)
        assert len(held_out) == int(np.floor(0.3 * size + 0.5))
        assert min(row[3] for row in held_out) >= max(row[3] for row in by_user(fold_in)[user])


def test_users_to_hold_out_can_be_a_number_and_have_two_rows_at_least():
    table = [(user, item, 1, item) for user in range(6) for item in range(1 + user % 2)]
    _, fold_in, test = split(interactions(table), "held-out-users", users=3, fraction=0.01, by="random")
    assert set(by_user(fold_in)) == set(by_user(test)) == {1, 3, 5}
    assert len(test) == len(fold_in) == 3
    with pytest.raises(DataError, match="4 users cannot be held out: 3 of 6"):
        split(interactions(table), "held-out-users", users=4)
    with pytest.raises(DataError, match="one user at least must stay"):
        split(interactions([row for row in table if row[0] % 2]), "held-out-users", users=3)


def test_other_seeds_hold_out_other_users():
    data = interactions(many())
    held_out = [set(by_user(split(data, "held-out-users", seed=seed)[2])) for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "lucky"}, "random, temporal, leave-one-out"),
        ({"fraction": 0}, "above 0 and below 1"),
        ({"fraction": 1.0}, "above 0 and below 1"),
        ({"how": "leave-k-out"}, "how='leave-k-out' needs k, such as k=1"),
        ({"fraction": "a"}, "above 0 and below 1; got fraction='a'"),
        ({"seed": "a"}, "seed must be a whole number of at least 0; got seed='a'"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got seed=-1"),
        ({"how": "leave-k-out", "k": 0}, "at least 1"),
        ({"how": "leave-k-out", "k": 1, "by": "luck"}, "use 'time' or 'random'"),
        ({"k": 2}, "k is an option of how='leave-k-out'; got k=2 for 'random'"),
        ({"how": "temporal", "by": "time"}, "by is an option of how='leave-k-out' and how='held-out-users'"),
        ({"how": "random", "users": 5}, "users is an option of how='held-out-users'"),
        ({"how": "held-out-users", "users": 0}, "users must be a whole number of at least 1"),
        ({"how": "held-out-users", "users": 1.5}, "share above 0 and below 1"),
    ],
)
def test_an_impossible_option_says_what_is_possible(options, message):
    with pytest.raises(OptionError, match=message):
        split(interactions(many()), **options)


def test_what_cannot_be_split_says_so():
    with pytest.raises(DataError, match="needs times"):
        split(interactions(many(), times=False), "temporal")
    with pytest.raises(DataError, match="needs times"):
        split(interactions(many(), times=False), "per-user-temporal")
    with pytest.raises(DataError, match="needs times"):
        split(interactions(many(), times=False), "leave-k-out", k=1, by="time")
    with pytest.raises(DataError, match="got a dict"):
        split({"user": [1], "item": [2]})
    singles = interactions([(user, 1, 1, 1) for user in range(10)])
    with pytest.raises(DataError, match="leaves the test set empty"):
        split(singles, "leave-one-out")
    with pytest.raises(DataError, match="leaves the training set empty"):
        split(singles, "temporal", fraction=0.99)
