import inspect
import re
import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError, OutputError, UnknownNameError
from recscale_dask.io.interactions import read_interactions, write_interactions

SHARED = Path(__file__).parents[3] / "shared/data"
RATINGS, GOWALLA = SHARED / "ml-latest-small/ratings.csv", SHARED / "gowalla/train.txt"


def rows(data):
    return list(zip(*data.to_arrow().to_pydict().values(), strict=True))


def interactions(**columns):
    table = pa.table(columns)
    return Interactions.from_arrow(table, **{name: name for name in table.column_names})


@pytest.mark.skipif(not RATINGS.exists(), reason=f"needs the MovieLens data at {RATINGS}")
def test_movielens_is_read_without_naming_columns():
    data = read_interactions(RATINGS)
    assert (data.n_users, data.n_items, len(data)) == (671, 9066, 100_004)
    assert rows(data)[0] == (1, 31, 2.5, 1260759144)
    assert len(data.aggregate()) == 100_004


@pytest.mark.skipif(not GOWALLA.exists(), reason=f"needs the Gowalla data at {GOWALLA}")
def test_gowalla_is_read_as_adjacency():
    data = read_interactions(GOWALLA, format="adjacency")
    assert (data.n_users, data.n_items, len(data)) == (29_858, 40_981, 810_128)
    assert data.values is None


def test_frames_and_paths_give_the_same_interactions(tmp_path):
    frame = pl.DataFrame({"user": ["a", "b"], "item": [2, 1], "rating": [1.0, 2.0], "ts": [5, 6]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    expected = [("a", 2, 1.0, 5), ("b", 1, 2.0, 6)]
    for source in (frame, frame.lazy(), frame.to_pandas(), tmp_path / "a.csv", str(tmp_path / "a.parquet")):
        assert rows(read_interactions(source)) == expected
    assert rows(read_interactions(frame, value=False, time=False)) == [("a", 2), ("b", 1)]
    assert rows(read_interactions(frame, user="item", item="user", value="ts", time=False))[0] == (2, "a", 5.0)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".feather"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    data = interactions(
        user=["007", 'a,"b'], item=[2**60, 1], value=pa.array([0.1, 2], pa.float32()), time=[-(2**60), 2]
    )
    path = tmp_path / f"out{suffix}"
    write_interactions(data, path)
    assert rows(read_interactions(path)) == rows(data)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@given(
    st.lists(
        st.tuples(
            st.text("aZ07 ,;|\t\"'é", min_size=1),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
    )
)
def test_any_rows_survive_csv(tmp_path_factory, table):
    user, item, value = zip(*table, strict=True)
    data = interactions(user=user, item=item, value=value)
    path = tmp_path_factory.getbasetemp() / "round.csv"
    write_interactions(data, path, overwrite=True)
    back = read_interactions(path)
    np.testing.assert_array_equal(back.values, data.values)
    assert back.items == data.items
    assert back.users.text().to_pylist() == data.users.text().to_pylist() or back.users.ids.type == pa.int64()


def test_uuids_are_written_as_text_where_there_is_no_other_way(tmp_path):
    ids = [uuid.UUID(int=2), uuid.UUID(int=1)]
    data = interactions(user=ids, item=[1, 2])
    write_interactions(data, tmp_path / "a.csv")
    write_interactions(data, tmp_path / "a.parquet")
    assert rows(read_interactions(tmp_path / "a.csv")) == [(str(ids[0]), 1), (str(ids[1]), 2)]
    assert rows(read_interactions(tmp_path / "a.parquet")) == rows(data)


def test_a_bad_cell_is_named_with_file_row_and_column(tmp_path):
    path = tmp_path / "a.csv"
    for cell, found in (("many", "'many', which is not a number"), ("nan", "NaN"), ("", "no value")):
        path.write_text(f"user,item,rating\n1,2,3\n4,5,{cell}\n")
        with pytest.raises(DataError, match=rf"a\.csv: value column 'rating' has {found}.* in row 2 "):
            read_interactions(path)
        assert len(read_interactions(path, value=False)) == 2
    path.write_text("user,item\n1,2\n,5\n")
    with pytest.raises(DataError, match="user column 'user' has no id in row 2"):
        read_interactions(path)


def test_a_file_with_only_a_header_has_no_interactions(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n")
    with pytest.raises(DataError, match=r"a\.csv: there are no interactions"):
        read_interactions(tmp_path / "a.csv")


def test_dates_in_text_become_microseconds(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,date\n1,2,1970-01-01 00:00:01\n1,3,1970-01-02\n")
    assert read_interactions(tmp_path / "a.csv").times.tolist() == [1_000_000, 86_400_000_000]


def test_the_help_has_what_it_takes_and_nothing_else():
    told = inspect.getdoc(rs.read_interactions)
    for each in inspect.signature(rs.read_interactions).parameters:
        assert re.search(rf"^[\w, ]*\b{each}\b[\w, ]* : ", told, re.MULTILINE), each
    assert "readers" not in told


def test_an_unknown_format_lists_those_there_are(tmp_path):
    with pytest.raises(UnknownNameError, match="'xlsx'; there are adjacency, arrow, csv, movielens, parquet, tsv"):
        read_interactions(tmp_path, format="xlsx")
    with pytest.raises(OptionError, match="is for paths"):
        read_interactions(pl.DataFrame({"user": [1], "item": [2]}), format="csv")


def test_further_readers_can_be_given():
    def read_fixed(source, columns):
        assert source == "anywhere"
        return pa.table({"who": [1], "item": [2], "rating": [3.0]})

    data = read_interactions("anywhere", user="who", format="fixed", readers={"fixed": read_fixed})
    assert rows(data) == [(1, 2, 3.0)]


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    data = interactions(user=[1], item=[2])
    write_interactions(data, tmp_path / "a.csv")
    with pytest.raises(OutputError, match="exists"):
        write_interactions(data, tmp_path / "a.csv")
    write_interactions(interactions(user=[3], item=[4]), tmp_path / "a.csv", overwrite=True)
    assert rows(read_interactions(tmp_path / "a.csv")) == [(3, 4)]
    with pytest.raises(OutputError, match=r"end it in \.csv"):
        write_interactions(data, tmp_path / "a.xlsx")
    with pytest.raises(OutputError, match=r"cannot write .*there is no folder"):
        write_interactions(data, tmp_path / "nowhere/a.parquet")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_interactions(data, tmp_path / "b.csv", overwrite=True)
