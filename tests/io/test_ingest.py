"""A store that was ingested has the bytes of the one that is made in memory."""

import datetime
import filecmp
import uuid
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.errors import DataError, OptionError, OutputError
from recscale_dask.io import ingest_ids, ingest_room, pieces, text

N = 4000


def table(n=N, *, users=None, items=None, seed=0):
    """Rows with many repeated pairs, in no order; values whose sum depends on the order of adding."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 60, n), rng.integers(0, 50, n)
    columns = {
        "user": user * 7 + 3 if users is None else users(user),
        "item": item if items is None else items(item),
        "rating": (rng.normal(size=n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32),
        "time": rng.integers(0, 50, n),
    }
    return pa.table(columns)


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two folders have the same files."""
    names = sorted(str(each.relative_to(one)) for each in one.rglob("*") if each.is_file())
    assert names == sorted(str(each.relative_to(other)) for each in other.rglob("*") if each.is_file())
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


def assert_same_store(tmp_path, source, memory_source=None, *, duplicates="sum", **columns):
    """Hold the store of an ingest against that of the matrix in memory."""
    data = rs.read_interactions(source if memory_source is None else memory_source, **columns)
    rs.UserItemMatrix.from_interactions(data, duplicates=duplicates).save(tmp_path / "memory", overwrite=True)
    matrix = rs.ingest(source, tmp_path / "ingested", duplicates=duplicates, overwrite=True, **columns)
    assert matrix.is_stored
    assert same_bytes(tmp_path / "memory", tmp_path / "ingested")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Make everything that goes piece by piece do so many times."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", 300)
    monkeypatch.setattr("recscale_dask.io.columnar.PIECE_ROWS", 300)
    monkeypatch.setattr(text, "_PIECE_BYTES", 4000)
    monkeypatch.setattr(ingest_ids, "_FIRST_ROOM", 8)
    monkeypatch.setattr(ingest_room.Room, "chunk_rows", 700)
    monkeypatch.setattr(ingest_room.Room, "group_rows", 500)


@pytest.mark.parametrize("duplicates", ["sum", "max", "last"])
@pytest.mark.parametrize("left_out", [(), ("time",), ("rating", "time")], ids=["all", "no times", "no values"])
def test_repeated_pairs_are_combined_as_in_memory(tmp_path, duplicates, left_out):
    pq.write_table(table().drop_columns(left_out), tmp_path / "a.parquet", row_group_size=900)
    assert_same_store(tmp_path, tmp_path / "a.parquet", duplicates=duplicates)


def as_uuids(numbers):
    made = [uuid.uuid5(uuid.NAMESPACE_OID, str(each)).bytes for each in numbers]
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(made, pa.binary(16)))


KINDS = {
    "int8": lambda n: pa.array(n.astype(np.int8) - 30),
    "uint16": lambda n: pa.array(n.astype(np.uint16)),
    "int64 far apart": lambda n: pa.array((n - 30) * 3 * 10**15),
    "uint64 above int64": lambda n: pa.array(n.astype(np.uint64) + np.uint64(2**63 - 20)),
    "uint64 far apart": lambda n: pa.array(n.astype(np.uint64) * np.uint64(3 * 10**17)),
    "text": lambda n: pa.array([f"u{each}" if each % 9 else "" for each in n]),
    "text of all lengths": lambda n: pa.array(["é" * int(each) for each in n]),
    "large text": lambda n: pa.array([f"{each:05d}" for each in n], pa.large_string()),
    "dictionary": lambda n: pa.array([f"{each}" for each in n]).dictionary_encode(),
    "uuid": as_uuids,
    "fixed binary": lambda n: pa.array([int(each).to_bytes(3, "little") for each in n], pa.binary(3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_every_kind_stay_what_they_are(tmp_path, kind):
    frame = table(users=KINDS[kind], items=KINDS["text"])
    assert_same_store(tmp_path, frame)
    assert_same_store(tmp_path, frame.slice(1, 1500).combine_chunks().slice(7))


def test_integers_that_turn_out_to_lie_far_apart_keep_their_rows(tmp_path):
    def users(numbers):  # narrow for long, then wide
        return pa.array(np.where(np.arange(len(numbers)) < 2500, numbers, -numbers * 10**12))

    assert_same_store(tmp_path, table(users=users))


@pytest.mark.filterwarnings("ignore:all .* values are 0:recscale_dask.errors.DoubtfulDataWarning")
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)),
            st.text(max_size=3),
            st.floats(-10, 10, width=32),
        ),
        min_size=1,
    )
)
def test_any_rows_give_the_store_of_the_matrix_in_memory(tmp_path_factory, rows):
    users, items, values = (list(column) for column in zip(*rows, strict=True))
    frame = pa.table({"user": pa.array(users, pa.int64()), "item": items, "value": pa.array(values, pa.float32())})
    assert_same_store(tmp_path_factory.mktemp("any"), frame)


def test_every_format_gives_the_same_store(tmp_path):
    data = table()
    pq.write_table(data, tmp_path / "a.parquet", row_group_size=1000)
    pyarrow.feather.write_feather(data, tmp_path / "a.arrow", chunksize=1100)
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as file, pa.ipc.new_stream(file, data.schema) as writer:
        writer.write_table(data, 800)
    lines = [",".join(map(str, row.values())) for row in data.to_pylist()]
    (tmp_path / "a.csv").write_text("user,item,rating,time\n" + "\n".join(lines))
    (tmp_path / "bare.csv").write_text("\r\n".join(lines) + "\r\n\r\n")
    (tmp_path / "old.csv").write_bytes("\r".join(lines).encode())
    (tmp_path / "a.tsv").write_text("\n".join(lines).replace(",", "\t"))
    (tmp_path / "a.dat").write_text("\n".join(lines).replace(",", "::"))
    rs.ingest(tmp_path / "a.parquet", tmp_path / "first")
    for name in ("a.arrow", "b.arrow", "a.csv", "bare.csv", "old.csv", "a.tsv", "a.dat"):
        assert_same_store(tmp_path, tmp_path / name)
        assert same_bytes(tmp_path / "first", tmp_path / "ingested"), name


def test_every_frame_gives_the_same_store(tmp_path):
    data = table()
    rs.ingest(data, tmp_path / "first")
    connection = duckdb.connect()
    frames = [
        data.to_pandas(),
        data.to_pandas().set_index(["user", "item"]),
        pl.from_arrow(data),
        pl.from_arrow(data).lazy(),
        connection.from_arrow(data),
        pa.RecordBatchReader.from_batches(data.schema, data.to_batches(500)),
    ]
    for number, frame in enumerate(frames):
        rs.ingest(frame, tmp_path / str(number))
        assert same_bytes(tmp_path / "first", tmp_path / str(number)), type(frame)


def test_several_inputs_globs_folders_urls_and_path_keys(tmp_path):
    data = table()
    for number in range(3):
        (tmp_path / f"in/day={number:02d}").mkdir(parents=True)
        pq.write_table(data.slice(number * 1000, 1000), tmp_path / f"in/day={number:02d}/a.parquet")
        (tmp_path / f"items/item={number:02d}").mkdir(parents=True)
        part = data.slice(number * 1000, 1000).drop_columns("item")
        pq.write_table(part, tmp_path / f"items/item={number:02d}/a.parquet")
    assert_same_store(tmp_path, [tmp_path / f"in/day={number:02d}/a.parquet" for number in range(3)])
    assert_same_store(tmp_path, f"{tmp_path}/in/*/a.parquet")
    assert_same_store(tmp_path, f"file://{tmp_path}/in")
    assert_same_store(tmp_path, tmp_path / "items")


def test_adjacency_lists_and_compressed_text(tmp_path):
    (tmp_path / "lists.txt").write_text("5 1 2 3\n07 2\n6\n5 2 9\n")
    assert_same_store(tmp_path, tmp_path / "lists.txt", format="adjacency")
    pyarrow.csv.write_csv(table(), tmp_path / "plain.csv")
    with pa.CompressedOutputStream(str(tmp_path / "a.csv.gz"), "gzip") as file:
        file.write((tmp_path / "plain.csv").read_bytes())
    assert_same_store(tmp_path, tmp_path / "a.csv.gz")


@pytest.mark.parametrize("ids", [["1", "22", "3"], ["1", "02", "3"], ["1", "x", "3"]])
def test_text_is_an_integer_only_if_all_of_it_is(tmp_path, ids):
    lines = [f"{ids[n % 3]},{n % 7},{n % 5}" for n in range(3000)]
    (tmp_path / "a.csv").write_text("user,item,value\n" + "\n".join(lines))
    assert_same_store(tmp_path, tmp_path / "a.csv")


def test_numbers_in_text_that_arrow_does_not_take_at_once_are_read_as_in_memory(tmp_path):
    lines = [f"{n % 9},{n % 7}, {n % 5}.5 ,{2000 + n % 30}-01-01 00:00:{n % 60:02d}" for n in range(2000)]
    (tmp_path / "a.csv").write_text("user,item,value,time\n" + "\n".join(lines))
    assert_same_store(tmp_path, tmp_path / "a.csv", duplicates="last")


def frequent(data, least_of_user, least_of_item):
    """The filter, in the plainest way."""
    pairs = data.to_pandas().drop_duplicates(["user", "item"])
    while True:
        n = len(pairs)
        pairs = pairs[pairs.groupby("user")["item"].transform("size") >= least_of_user]
        pairs = pairs[pairs.groupby("item")["user"].transform("size") >= least_of_item]
        if len(pairs) == n:
            return data.to_pandas().merge(pairs[["user", "item"]])


@pytest.mark.parametrize(("least_of_user", "least_of_item"), [(3, 1), (1, 4), (4, 5)])
def test_users_and_items_with_too_few_are_left_out_until_none_is_left(tmp_path, least_of_user, least_of_item):
    rng = np.random.default_rng(1)
    data = pa.table(
        {
            "user": (rng.pareto(1, 900) * 5).astype(int),
            "item": (rng.pareto(1, 900) * 5).astype(int),
            "value": rng.random(900),
        }
    )
    kept = frequent(data, least_of_user, least_of_item)
    assert 0 < len(kept) < 900
    rs.UserItemMatrix.from_interactions(rs.read_interactions(kept)).save(tmp_path / "memory")
    matrix = rs.ingest(
        data, tmp_path / "kept", min_user_interactions=least_of_user, min_item_interactions=least_of_item
    )
    assert same_bytes(tmp_path / "memory", tmp_path / "kept")
    assert np.diff(matrix.to_scipy().indptr).min() >= least_of_user
    assert np.bincount(matrix.to_scipy().indices).min() >= least_of_item


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nothing is left of 60 users and 50 items"):
        rs.ingest(table(), tmp_path / "s", min_user_interactions=51)
    assert not list(tmp_path.iterdir())


def test_a_window_of_time_keeps_what_is_in_it(tmp_path):
    data = table()
    inside = data.filter((pa.compute.field("time") >= 10) & (pa.compute.field("time") < 20))
    rs.ingest(inside, tmp_path / "expected")
    rs.ingest(data, tmp_path / "numbers", since=10, until="20")
    assert same_bytes(tmp_path / "expected", tmp_path / "numbers")
    start = datetime.datetime(2024, 1, 1)
    dates = [start + datetime.timedelta(hours=int(each)) for each in data["time"].to_numpy()]
    dated = data.set_column(3, "time", pa.array(dates))
    rs.ingest(dated, tmp_path / "dates", since="2024-01-01T10:00", until=start + datetime.timedelta(hours=20))
    assert same_bytes(tmp_path / "expected", tmp_path / "dates")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"since": 10**6}, DataError, "not one row in that window of time"),
        ({"since": "2024-01-01"}, DataError, "'time' holds numbers: give since and until as a number"),
        ({"since": 5, "time": False}, DataError, "needs a column of times"),
        ({"since": 5, "until": 5}, OptionError, "nothing lies between"),
        ({"since": 5, "until": "2024-01-01"}, OptionError, "two numbers or two dates"),
        ({"since": "soon"}, OptionError, "neither a number nor a date"),
        ({"duplicates": "mean"}, OptionError, "none of sum, max, last"),
        ({"min_user_interactions": 0}, OptionError, "at least 1"),
        ({"memory_limit": "100MB"}, OptionError, "too small for any ingest.*Give .* or more"),
        ({"memory_limit": "much"}, OptionError, "a number of bytes"),
        ({"engine": "spark"}, OptionError, "A Spark frame.* goes in as the source"),
        ({"engine": "dask"}, OptionError, "reads files and Dask frames"),
        ({"format": "csv"}, OptionError, "is for paths"),
        ({"value": "stars"}, DataError, "no column is called 'stars'"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_is_left(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        rs.ingest(table(), tmp_path / "s", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"user": None}, "user column 'user' has no id in row 3456"),
        ({"item": None}, "item column 'item' has no id in row 3456"),
        ({"rating": float("nan")}, "value column 'rating' has NaN in row 3456"),
        ({"rating": float("inf")}, "an infinite value in row 3456"),
        ({"time": None}, "time column 'time' has no value in row 3456"),
    ],
)
def test_a_bad_cell_is_named_by_file_and_row(tmp_path, row, said):
    rows = table().to_pylist()
    rows[3455] |= row
    data = pa.Table.from_pylist(rows)
    pq.write_table(data.slice(0, 10), tmp_path / "a.parquet")
    pq.write_table(data, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=rf"{tmp_path}/b\.parquet: .*{said}"):
        rs.ingest([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "s")
    with pytest.raises(DataError, match=said):
        rs.ingest(data, tmp_path / "s")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_bad_lines_and_cells_of_text_are_named(tmp_path):
    lines = [f"{n % 9},{n % 7},{n % 5}" for n in range(2000)]
    (tmp_path / "a.csv").write_text("user,item,value\n" + "\n".join([*lines, "1,2"]))
    with pytest.raises(DataError, match=r"line 2002 of .*a\.csv has 2 fields, expected 3"):
        rs.ingest(tmp_path / "a.csv", tmp_path / "s")
    (tmp_path / "a.csv").write_text("user,item,value\n" + "\n".join([*lines, "1,2,high"]))
    with pytest.raises(DataError, match=r"a\.csv: value column 'value' has 'high', which is not a number, in row 2001"):
        rs.ingest(tmp_path / "a.csv", tmp_path / "s")


def test_files_of_different_schemas_are_refused(tmp_path):
    data = table(10)
    pq.write_table(data, tmp_path / "a.parquet")
    pq.write_table(data.set_column(0, "user", data["user"].cast(pa.string())), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"column 'user' is string in .*b\.parquet, but int64 in .*a\.parquet"):
        rs.ingest(tmp_path / "*.parquet", tmp_path / "s")
    (tmp_path / "c.csv").write_text("user,item\n1,2\n")
    (tmp_path / "d.csv").write_text("user,item,value\n1,2,3\n")
    with pytest.raises(DataError, match=r"d\.csv has the columns .*but .*c\.csv has"):
        rs.ingest(tmp_path / "*.csv", tmp_path / "s")


@pytest.mark.parametrize("text", ["", "user,item\n", "user\n"])
def test_files_without_rows_are_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError):
        rs.ingest(tmp_path / "a.csv", tmp_path / "s")


def test_too_many_ids_or_rows_of_one_user_for_the_memory_are_refused():
    room = ingest_room.Room(1 << 30)
    with pytest.raises(OptionError, match=r"ids in the first 10 rows take .* when they are sorted\. Give .* or more"):
        room.check_ids(100_000_000, 2_000_000, 10)
    room.check_ids(100_000_000, 1_500_000, 10)
    with pytest.raises(OptionError, match=r"the 10,000,000 rows of user 'me' are sorted together\. Give 1\.99 GiB"):
        room.check_user(10_000_000, "me")


def test_what_is_there_is_kept_unless_it_is_a_store_to_be_overwritten(tmp_path):
    rs.ingest(table(), tmp_path / "s")
    with pytest.raises(OutputError, match="exists already"):
        rs.ingest(table(10), tmp_path / "s")
    rs.ingest(table(10), tmp_path / "s", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="not a store"):
        rs.ingest(table(10), tmp_path / "mine", overwrite=True)
    with pytest.raises(OutputError, match="there is no folder"):
        rs.ingest(table(10), tmp_path / "no" / "s")


def test_an_ingest_reports_its_stages(tmp_path):
    events = []
    rs.ingest(table(), tmp_path / "s", min_user_interactions=2, progress=events.append)
    stages = list(dict.fromkeys(each.stage for each in events))
    assert stages == ["reading", "grouping", "sorting", "filtering", "writing"]
    assert [each.rows for each in events if each.stage == "sorting"][-1] == N


def test_progress_is_shown_with_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    rs.ingest(table(), tmp_path / "s", progress=True)
    shown = capsys.readouterr().err
    assert "reading" in shown
    assert f"{N:,} rows" in shown
    rs.ingest(table(), tmp_path / "t", progress=False)
    assert capsys.readouterr().err == ""


def test_pandas_columns_of_mixed_types_are_refused(tmp_path):
    frame = pd.DataFrame({"user": [1] * 300 + ["a"] * 101, "item": range(401)})
    with pytest.raises(DataError, match="user column 'user' holds string, but int64 before"):
        rs.ingest(frame, tmp_path / "s")
