import gzip
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Found
from recscale_dask.io.places import locate
from recscale_dask.io.readers import READERS, format_of

GOWALLA = Path(__file__).parents[3] / "shared/data/gowalla/train.txt"


@pytest.fixture
def write(tmp_path):
    def write(content, name="ratings.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(source, *columns, format=None):
    return READERS[format or format_of(source)](source, Columns(*columns))


def table_of(source, *columns, format=None):
    return read(source, *columns, format=format).table.to_pydict()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_with_a_header_is_read_whatever_its_delimiter(write, delimiter, end):
    lines = ["extra,movieId,userId,rating", "a b,x,5,1.5", '"q",007,6,2', ""]
    path = write(end.join(lines).replace(",", delimiter))
    assert read(path).columns == Found("userId", "movieId", "rating")
    assert table_of(path) == {"userId": [5, 6], "movieId": ["x", "007"], "rating": [1.5, 2]}


@pytest.mark.parametrize("content", ["1,2,3.5,9\n4,5,6,8\n", "a,b,3.5,9\nc,d,6,8\n"])
def test_text_that_starts_with_numbers_has_no_header(write, content):
    table = read(write(content)).table
    assert table.num_rows == 2
    assert table.column_names == ["column 0", "column 1", "column 2", "column 3"]
    assert read(write("1\t2\n"), format="tsv").columns == Found("column 0", "column 1")


def test_columns_by_position_need_no_header(write):
    path = write("a,x,b,3\nc,y,d,4\n")
    assert table_of(path, 2, 0) == {"column 2": ["b", "d"], "column 0": ["a", "c"]}
    assert table_of(path, 2, 0, 3) == {"column 2": ["b", "d"], "column 0": ["a", "c"], "column 3": [3, 4]}
    assert read(write("1,2,3,4\n"), None, None, None, 2).columns == Found("column 0", "column 1", time="column 2")
    assert read(write("1,2,3,4\n"), None, None, False, False).columns == Found("column 0", "column 1")


def test_columns_by_position_work_beside_a_header_too(write):
    assert table_of(write("rating,user,item\n1,2,3\n"), 1, 2, 0) == {"user": [2], "item": [3], "rating": [1]}


def test_a_header_with_unknown_names_is_asked_about(write):
    with pytest.raises(DataError, match=r"ratings\.csv: cannot tell .* user=; the columns are who, what, much"):
        read(write("who,what,much\n1,2,3\n"))
    assert table_of(write("who,what,much\n1,2,3\n"), "who", "what") == {"who": [1], "what": [2]}


def test_movielens_double_colons_are_read(write):
    path = write('1::"1193::5::978300760\n2::b::3.5::978300761\n', "ratings.dat")
    expected = {
        "column 0": [1, 2],
        "column 1": ['"1193', "b"],
        "column 2": [5, 3.5],
        "column 3": [978300760, 978300761],
    }
    assert table_of(path) == table_of(path, format="movielens") == expected


def test_compressed_text_is_read(write):
    path = write(gzip.compress(b"user\titem\n1\t2\n"), "a.tsv.gz")
    assert format_of(path) == "tsv"
    assert table_of(path) == {"user": [1], "item": [2]}
    with pytest.raises(DataError, match=r"cannot read .*broken\.csv\.gz"):
        read(write(gzip.compress(b"user,item\n1,2\n" * 9999)[:60], "broken.csv.gz"))


@pytest.mark.parametrize("ids", [["7", "007"], ["1", "+1"], ["1", "1.0"], [str(2**63), "1"], ["-0", "0"], [" 1", "2"]])
def test_ids_that_are_not_all_exact_integers_stay_text(write, ids):
    assert table_of(write("user,item\n" + "".join(f"{each},1\n" for each in ids)))["user"] == ids


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integer_ids_become_integers(tmp_path_factory, ids):
    path = tmp_path_factory.getbasetemp() / "integers.csv"
    path.write_text("user,item\n" + "".join(f"{each},x\n" for each in ids))
    assert table_of(path)["user"] == ids


def test_a_byte_order_mark_and_empty_lines_are_passed_over(write):
    assert table_of(write("\ufeff\n\nuser,item\n\n1,2\n\n")) == {"user": [1], "item": [2]}
    assert table_of(write("\ufeffuser,item\n1,2\n")) == {"user": [1], "item": [2]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item\n1,2\n\n\n3\n4,5\n", r"line 5 of .*ratings\.csv has 1 fields, expected 2"),
        ('user,item\n"1,1",2\n3,4,5\n', r"line 3 of .*ratings\.csv has 3 fields, expected 2"),
        ("1::2::3\n1::2\n", r"line 2 of .*ratings\.csv has 2 fields, expected 3"),
        ("user,item\n" + "1,2\n" * 200_000 + "3\n", "line 200002 of "),
        ("user,item\n1,\xff\n".encode("latin-1"), "cannot read .*UTF8"),
    ],
)
def test_a_malformed_line_is_named(write, content, message):
    with pytest.raises(DataError, match=message):
        read(write(content))


@pytest.mark.parametrize("content", ["", "\n\n"])
@pytest.mark.parametrize("format", ["csv", "movielens", "adjacency"])
def test_an_empty_file_says_so(write, content, format):
    with pytest.raises(DataError, match=r"ratings\.csv is empty"):
        read(write(content), format=format)


def test_text_without_a_delimiter_suggests_adjacency(write):
    with pytest.raises(DataError, match=r"'0 1 2 3'.*format='adjacency'"):
        read(write("0 1 2 3\n"))


def test_a_delimiter_that_was_asked_for_must_be_there(write):
    for format, name in (("tsv", "tab"), ("movielens", "'::'")):
        with pytest.raises(DataError, match=f"has no {name} between fields"):
            read(write("user,item\n1,2\n"), format=format)


def test_numbers_that_do_not_parse_are_left_for_the_door(write):
    path = write("user,item,rating,date\n1,2,many,2020-01-01\n")
    assert table_of(path) == {"user": [1], "item": [2], "rating": ["many"], "date": ["2020-01-01"]}


def test_several_files_are_one_table(write, tmp_path):
    write("user,item\n1,x\n", "part/b.csv")
    write("item,user\ny,007\n", "part/a.csv")
    write("", "part/_SUCCESS")
    write("", "part/.hidden/c.csv")
    expected = {"user": ["007", "1"], "item": ["y", "x"]}
    assert table_of(tmp_path / "part") == table_of(f"{tmp_path}/part/*.csv") == expected
    assert table_of(f"{tmp_path}/par*") == expected
    assert table_of([tmp_path / "part/a.csv", str(tmp_path / "part/b.csv")]) == expected


def test_files_that_do_not_fit_together_are_named(write, tmp_path):
    write("user,item\n1,x\n", "a.csv")
    write("uid,item\n1,x\n", "b.csv")
    with pytest.raises(DataError, match=r"b\.csv has the columns \['uid', 'item'\], but .*a\.csv"):
        read(tmp_path)
    write("user\titem\n1\tx\n", "c.tsv")
    with pytest.raises(DataError, match=r"c\.tsv is tsv, .*a\.csv is csv"):
        read(tmp_path)


def test_a_missing_file_gives_close_matches(write, tmp_path):
    write("user,item\n1,2\n", "ratings.csv")
    with pytest.raises(DataError, match=r"no file at '.*rating\.csv'; did you mean 'ratings\.csv'\?"):
        read(tmp_path / "rating.csv")
    with pytest.raises(DataError, match=r"no file at '.*/\*\.parquet'"):
        read(f"{tmp_path}/*.parquet")
    with pytest.raises(DataError, match="nor a folder"):
        read(tmp_path / "nowhere/ratings.csv")
    with pytest.raises(DataError, match=r"cannot read gopher://x/y\.csv: "):
        read("gopher://x/y.csv")
    with pytest.raises(DataError, match="empty list"):
        locate([])
    with pytest.raises(DataError, match="empty path"):
        locate("")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
def test_urls_are_read_through_fsspec(name, tmp_path, write):
    table = pa.table({"user": [1], "item": ["x"]})
    if name.endswith("parquet"):
        pq.write_table(table, tmp_path / name)
    elif name.endswith("arrow"):
        _write_ipc(table, tmp_path / name)
    else:
        write("user,item\n1,x\n", name)
    fsspec.filesystem("memory").pipe(f"/bucket/{name}", (tmp_path / name).read_bytes())
    assert table_of(f"memory://bucket/{name}") == {"user": [1], "item": ["x"]}


def _write_ipc(table, path, new=pa.ipc.new_file):
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table)


def test_arrow_files_and_streams_are_read(tmp_path):
    table = pa.table({"extra": [[1], [2]], "user": [1, 2], "item": ["x", "007"]})
    for number, new in enumerate((pa.ipc.new_file, pa.ipc.new_stream)):
        _write_ipc(table, tmp_path / f"{number}.arrow", new)
    expected = {"user": [1, 2, 1, 2], "item": ["x", "007", "x", "007"]}
    assert table_of(tmp_path) == expected


def test_a_parquet_folder_with_hive_partitions_is_read(tmp_path):
    for user in ("007", "8"):
        (tmp_path / f"user={user}").mkdir()
        pq.write_table(pa.table({"item": [1, 2], "extra": [0, 0]}), tmp_path / f"user={user}" / "part.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert table_of(tmp_path) == {"user": ["007", "007", "8", "8"], "item": [1, 2, 1, 2]}


def test_files_without_a_telling_suffix_are_told_by_their_first_bytes(tmp_path):
    pq.write_table(pa.table({"user": [1], "item": [2]}), tmp_path / "a")
    _write_ipc(pa.table({"user": [1], "item": [2]}), tmp_path / "b")
    assert [format_of(tmp_path / name) for name in "ab"] == ["parquet", "arrow"]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_columnar_files_with_other_types_or_columns_are_named(tmp_path, format):
    put = pq.write_table if format == "parquet" else _write_ipc
    put(pa.table({"user": [1], "item": [2]}), tmp_path / f"a.{format}")
    put(pa.table({"user": ["1"], "item": [2]}), tmp_path / f"b.{format}")
    with pytest.raises(DataError, match=rf"'user' is string in .*b\.{format}, but int64 in .*a\.{format}"):
        read(tmp_path)
    put(pa.table({"item": [2]}), tmp_path / f"b.{format}")
    with pytest.raises(DataError, match=rf"'user' is not there in .*b\.{format}"):
        read(tmp_path)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_damaged_columnar_files_are_named(write, format):
    with pytest.raises(DataError, match=rf"cannot read .*x\.{format} as"):
        read(write("rubbish, not a table", f"x.{format}"))
    with pytest.raises(DataError, match=rf"cannot read .*y\.{format} as"):
        read(write("", f"y.{format}"))


def test_adjacency_lines_become_pairs(write):
    path = write(" 5 10 11\r\n\r\n6\n7\t12  10 \n8", "lists.txt")
    assert table_of(path, format="adjacency") == {"user": [5, 5, 7, 7], "item": [10, 11, 12, 10]}


def test_adjacency_ids_that_are_not_integers_stay_text(write):
    assert table_of(write("ü 007 x\n"), format="adjacency") == {"user": ["ü", "ü"], "item": ["007", "x"]}
    assert table_of(write("1 007 8\n"), format="adjacency") == {"user": [1, 1], "item": ["007", "8"]}


@given(st.lists(st.lists(st.integers(0, 2**63 - 1), min_size=2), min_size=1))
def test_any_adjacency_lists_come_back(tmp_path_factory, lists):
    path = tmp_path_factory.getbasetemp() / "lists.txt"
    path.write_text("\n".join(" ".join(map(str, each)) for each in lists))
    table = table_of(path, format="adjacency")
    assert list(zip(table["user"], table["item"], strict=True)) == [(row[0], item) for row in lists for item in row[1:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 2\n3 \xff\n", "line 2 of .* is not UTF-8"),
        (b"1 2\n3 4\n5 \x00\n", "line 3 of .* control character"),
        (b"1\n2\n", "no line has an item"),
    ],
)
def test_what_is_no_adjacency_list_is_refused(write, content, message):
    with pytest.raises(DataError, match=message):
        read(write(content), format="adjacency")


@pytest.mark.skipif(not GOWALLA.exists(), reason=f"needs the Gowalla data at {GOWALLA}")
def test_gowalla_is_read_whole():
    table = read(GOWALLA, format="adjacency").table
    assert table.num_rows == 810_128
    assert table.schema.types == [pa.int64(), pa.int64()]


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="has no files in it"):
        rs.read_interactions(tmp_path)
