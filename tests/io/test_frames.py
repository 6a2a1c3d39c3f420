import subprocess
import sys
import uuid

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from recscale_dask.errors import DataError, OptionError
from recscale_dask.io.frames import Columns, Found, read_frame

DATA = {"title": ["x", "y", "z"], "movieId": ["007", "b", "007"], "userId": [3, 1, 2], "rating": [1.5, 2, 3]}
EXPECTED = {"userId": [3, 1, 2], "movieId": ["007", "b", "007"], "rating": [1.5, 2, 3]}


def dask_frame():
    import dask.dataframe as dd

    return dd.from_pandas(pd.DataFrame(DATA), npartitions=2)


def duckdb_relation():
    table = pa.table(DATA)
    return duckdb.connect().from_arrow(table)


FRAMES = {
    "pandas": lambda: pd.DataFrame(DATA),
    "pandas with a named index": lambda: pd.DataFrame(DATA).set_index("userId"),
    "pandas with a gap in its index": lambda: pd.DataFrame(DATA, index=[5, 7, 9]),
    "Polars": lambda: pl.DataFrame(DATA),
    "lazy Polars": lambda: pl.LazyFrame(DATA),
    "PyArrow": lambda: pa.table(DATA),
    "a record batch": lambda: pa.record_batch(DATA),
    "a record batch reader": lambda: pa.table(DATA).to_reader(),
    "DuckDB": duckdb_relation,
    "Dask": dask_frame,
}


@pytest.mark.parametrize("library", FRAMES)
def test_the_needed_columns_of_any_frame_come_as_one_table(library):
    selection = read_frame(FRAMES[library](), Columns())
    assert selection.columns == Found("userId", "movieId", "rating")
    assert selection.table.select(selection.columns.names).to_pydict() == EXPECTED
    assert selection.table.num_columns == 3


@pytest.mark.parametrize("library", ["pandas", "Polars", "lazy Polars", "PyArrow", "DuckDB", "Dask"])
def test_columns_can_be_given_by_position(library):
    found = read_frame(FRAMES[library](), Columns(user=0, item=1, value=3)).columns
    assert found == Found("title", "movieId", "rating")


@pytest.mark.parametrize("library", FRAMES)
def test_a_missing_column_lists_those_there_are(library):
    with pytest.raises(DataError, match=r"no column is called 'who' \(user=\); the columns are .*title"):
        read_frame(FRAMES[library](), Columns(user="who"))


def test_columns_that_are_not_needed_may_be_what_arrow_cannot_hold():
    frame = pd.DataFrame({"user": [1], "item": [2], "junk": [object()]})
    assert read_frame(frame, Columns()).table.column_names == ["user", "item"]
    with pytest.raises(DataError, match="Arrow cannot hold this pandas frame"):
        read_frame(frame, Columns(item="junk"))


def test_pandas_columns_may_be_numbers():
    selection = read_frame(pd.DataFrame(np.array([[5, 6], [7, 8]])), Columns(user=1, item=0))
    assert selection.table.to_pydict() == {"1": [6, 8], "0": [5, 7]}


def test_uuids_in_pandas_stay_uuids():
    frame = pd.DataFrame({"user": [uuid.UUID(int=1)], "item": [1]})
    assert read_frame(frame, Columns()).table["user"].to_pylist() == [uuid.UUID(int=1)]


def test_a_frame_without_rows_keeps_its_columns():
    assert read_frame(pa.table({"user": [1], "item": [1]}).slice(1).to_reader(), Columns()).table.num_rows == 0


@pytest.mark.parametrize("thing", [5, {"user": [1]}, np.eye(2), scipy.sparse.eye_array(2), pd.Series([1])])
def test_what_is_not_a_frame_is_refused_with_what_is(thing):
    with pytest.raises(DataError, match=r"PyArrow, DuckDB, Dask or Spark frame|cannot tell which column"):
        read_frame(thing, Columns())


@pytest.mark.parametrize(
    ("names", "columns", "found"),
    [
        (["User ID", "product_id", "Count"], Columns(), Found("User ID", "product_id", "Count")),
        (["visitorid", "itemid", "ts"], Columns(), Found("visitorid", "itemid", time="ts")),
        (["uid", "iid", "score", "time"], Columns(value=False, time=False), Found("uid", "iid")),
        (["a", "b", "c"], Columns("c", "a", "b"), Found("c", "a", "b")),
        (["user", "item", "rating", "weight"], Columns(value="weight"), Found("user", "item", "weight")),
    ],
)
def test_names_are_taken_or_guessed(names, columns, found):
    assert columns.find(names) == found


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (["user", "userId", "item"], Columns(), "'user' and 'userId' could each be the user column; .* user="),
        (["user", "item", "rating", "plays"], Columns(), r"'rating' and 'plays' .*\(value=False for none\)"),
        (["who", "item"], Columns(), "which column holds the users; name it with user=; the columns are who, item"),
        (["a", "b"], Columns(0, 2), "item=2: there are 2 columns, counted from 0"),
        (["a", "a"], Columns("a", 1), "more than one column is called 'a'"),
        (["user", "item"], Columns("user", "user"), "uses a column twice"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(names, columns, message):
    with pytest.raises(DataError, match=message):
        columns.find(names)


@pytest.mark.parametrize("columns", [Columns(user=False), Columns(item=True), Columns(0, 1, True)])
def test_true_is_no_column_and_ids_cannot_be_ignored(columns):
    with pytest.raises(OptionError, match="is not a column"):
        columns.find(["user", "item"])


def test_no_frame_library_is_needed_to_read_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'polars', 'duckdb', 'distributed']));"
        "from recscale_dask.io.interactions import read_interactions;"
        f"assert len(read_interactions({str(tmp_path / 'a.csv')!r})) == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
