import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, OptionError


def interactions(user, item, value=None, time=None):
    columns = {"user": user, "item": item, "value": value, "time": time}
    table = pa.table({name: each for name, each in columns.items() if each is not None})
    return Interactions.from_arrow(table, **{name: name for name in table.column_names})


def rows(data):
    return list(zip(*data.to_arrow().to_pydict().values(), strict=True))


def test_original_ids_values_and_times_come_back():
    data = interactions(["b", "a"], [7, -1], [0.5, 2], [10, 9])
    assert rows(data) == [("b", 7, 0.5, 10), ("a", -1, 2.0, 9)]
    assert (len(data), data.n_users, data.n_items) == (2, 2, 2)
    assert data.user_codes.tolist() == [1, 0]
    assert data.values.dtype == np.float32


def test_without_values_and_times_there_are_two_columns():
    assert interactions([1], [2]).to_arrow().column_names == ["user", "item"]
    assert interactions([1], [2]).to_arrow(["u", "i", "v", "t"]).column_names == ["u", "i"]


def test_taking_rows_keeps_the_vocabularies_and_compact_shrinks_them():
    data = interactions([1, 2, 3], [4, 5, 6])
    part = data.take(np.array([False, True, True]))
    assert part.users is data.users
    assert rows(part.compact()) == rows(part) == [(2, 5), (3, 6)]
    assert part.compact().users == Vocabulary.from_ids([2, 3])[0]


@pytest.mark.parametrize(
    ("cell", "found"),
    [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (None, "no value"), (1e39, "too large")],
)
def test_a_value_that_is_not_a_finite_number_is_named_by_row_and_column(cell, found):
    table = pa.table({"u": [1, 2, 3], "i": [1, 2, 3], "rating": pa.array([1.0, cell, cell])})
    with pytest.raises(DataError, match=rf"value column 'rating' has .*{found}.* in row 2 \(counting from 1\)"):
        Interactions.from_arrow(table, user="u", item="i", value="rating")


@pytest.mark.parametrize("bad_row", [0, 1, 2, 5, 6])
def test_text_that_is_no_number_is_named_by_row(bad_row):
    values = [str(each / 2) for each in range(7)]
    assert interactions(range(7), range(7), values).values.tolist() == [each / 2 for each in range(7)]
    values[bad_row:] = ["many"] * (7 - bad_row)
    with pytest.raises(DataError, match=f"'value' has 'many', which is not a number, in row {bad_row + 1} "):
        interactions(range(7), range(7), values)


def test_values_of_another_kind_are_refused():
    with pytest.raises(DataError, match="value column 'value' holds list<"):
        interactions([1], [1], [[1.0]])


@pytest.mark.parametrize("column", ["user", "item"])
def test_a_missing_id_is_named_by_row_and_column(column):
    with pytest.raises(DataError, match=f"{column} column '{column}' has no id in row 3"):
        interactions(**{"user": [1, 2, 3], "item": [1, 2, 3], column: ["a", "b", None]})


def test_ids_of_another_type_are_refused_by_column():
    with pytest.raises(DataError, match="item column 'item': ids must be integers"):
        interactions([1], [1.5])


def test_empty_input_and_missing_columns_are_refused():
    with pytest.raises(DataError, match="no interactions"):
        interactions(pa.array([], pa.int64()), pa.array([], pa.int64()))
    table = pa.table({"who": [1], "what": [2]})
    with pytest.raises(DataError, match="no column 'rating'; the columns are who, what"):
        Interactions.from_arrow(table, user="who", item="what", value="rating")


DAY = dt.datetime(2020, 1, 2, 3, 4, 5, 6)
MICROSECONDS = 1577934245000006


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (5, 5),
        (5.75, 5),
        (-0.5, -1),
        ("17", 17),
        ("17.5", 17),
        (str(2**62 + 1), 2**62 + 1),
        (DAY, MICROSECONDS),
        (DAY.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), MICROSECONDS - 3_600_000_000),
        (DAY.isoformat(), MICROSECONDS),
        (DAY.date(), 1577923200000000),
        ("2020-01-02", 1577923200000000),
        (pa.scalar(MICROSECONDS * 1000 + 7, pa.timestamp("ns")), MICROSECONDS),
    ],
)
def test_times_become_integers(time, expected):
    data = interactions([1], [1], time=pa.array([time]))
    assert data.times.tolist() == [expected]
    assert data.times.dtype == np.int64


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e19, "yesterday", None, pa.scalar(1, pa.duration("s"))])
def test_times_that_are_none_are_refused(time):
    with pytest.raises(DataError, match=r"time column 'time' (has|holds) .*time=False"):
        interactions([1], [1], time=pa.array([time]))


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(-(2.0**90), 2.0**90, width=32), st.integers(0, 3)),
    min_size=1,
)


@given(ROWS, st.randoms(), st.sampled_from(["sum", "max", "last"]))
def test_aggregation_does_not_depend_on_row_order(table, random, how):
    first = interactions(*zip(*table, strict=True)).aggregate(how)
    second = interactions(*zip(*random.sample(table, len(table)), strict=True)).aggregate(how)
    assert rows(first) == rows(second)
    pairs = [each[:2] for each in rows(first)]
    assert pairs == sorted({each[:2] for each in table})


def test_aggregation_on_a_known_table():
    data = interactions([2, 1, 2, 2], [1, 1, 1, 1], [5, 3, 2, 1], [1, 9, 4, 2])
    assert rows(data.aggregate()) == [(1, 1, 3, 9), (2, 1, 8, 4)]
    assert rows(data.aggregate("max")) == [(1, 1, 3, 9), (2, 1, 5, 4)]
    assert rows(data.aggregate("last")) == [(1, 1, 3, 9), (2, 1, 2, 4)]


def test_last_without_times_is_the_last_row():
    data = interactions([2, 1, 2], [1, 1, 1], [5, 3, 2])
    assert rows(data.aggregate("last")) == [(1, 1, 3), (2, 1, 2)]


def test_without_values_a_sum_counts_the_rows():
    repeated = interactions([2, 1, 2], [1, 1, 1])
    assert rows(repeated.aggregate()) == [(1, 1, 1), (2, 1, 2)]
    assert rows(repeated.aggregate("max")) == [(1, 1), (2, 1)]
    assert interactions([2, 1], [1, 1], time=[5, 5]).aggregate("last").values is None
    assert interactions([2, 2], [1, 1], time=[5, 6]).aggregate("last").times.tolist() == [6]


def test_a_sum_beyond_float32_names_the_pair():
    with pytest.raises(DataError, match="user 'u' and item 3 add up to more"):
        interactions(["u", "u"], [3, 3], [3e38, 3e38]).aggregate()


def test_an_unknown_aggregation_lists_the_choices():
    with pytest.raises(OptionError, match="sum, max, last"):
        interactions([1], [1]).aggregate("mean")
