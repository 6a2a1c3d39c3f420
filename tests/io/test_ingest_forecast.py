"""What an ingest is expected to take follows from metadata and a sample, and covers what it then takes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recscale_dask.errors import DataError, OptionError
from recscale_dask.io.frames import Columns
from recscale_dask.io.ingest import Rules
from recscale_dask.io.ingest_forecast import forecast_ingest
from recscale_dask.io.ingest_glance import Glance, IdsAhead, _in_all, glance
from recscale_dask.io.ingest_room import Room

GIB = 1 << 30


def ids(n: int, span: int | None = None) -> IdsAhead:
    return IdsAhead(n, 8, integers=True, span=span, assumed="")


def ahead(n_rows: int, n_users: int, n_items: int) -> Glance:
    sides = {"users": ids(n_users, 7 * n_users), "items": ids(n_items, 3 * n_items)}
    return Glance(n_rows=n_rows, has_values=True, has_times=True, row_bytes=28, text_bytes=0, assumed=(), **sides)


def table(n: int = 1000) -> pa.Table:
    return pa.table({"user": np.arange(n) % 50, "item": np.arange(n) % 70, "value": np.ones(n, np.float32)})


def test_rows_and_ids_of_a_small_file_are_counted(tmp_path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    seen = glance(tmp_path / "a.parquet", Columns(), "parquet")
    assert (seen.n_rows, seen.users.n, seen.items.n) == (1000, 50, 70)
    assert (seen.users.span, seen.has_values, seen.has_times) == (50, True, False)
    assert 20 <= seen.row_bytes < 22


def test_rows_of_all_files_are_counted_and_ids_stay_within_their_statistics(tmp_path) -> None:
    for number in range(9):
        part = pa.table({"user": [3 * number, 3 * number + 1], "item": [5, 6]})
        pq.write_table(part, tmp_path / f"{number}.parquet")
    seen = glance(tmp_path, Columns(), "parquet")
    assert seen.n_rows == 18
    assert seen.users.span == 26
    assert seen.users.n <= 18
    assert seen.items.n == 2


def test_rows_of_arrow_files_and_of_frames_are_counted(tmp_path) -> None:
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table().schema) as writer:
        writer.write_table(table())
    assert glance(tmp_path / "a.arrow", Columns(), "arrow").n_rows == 1000
    assert glance(table(), Columns(), None).n_rows == 1000


def test_rows_of_text_are_told_by_its_size(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n" + "1001,2002\n" * 300_000)
    seen = glance(tmp_path / "a.csv", Columns(), "csv")
    assert seen.n_rows == pytest.approx(300_000, rel=0.01)
    assert seen.text_bytes == pytest.approx(3_000_000, rel=0.01)


def test_adjacency_has_a_row_for_each_item(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("1 2 3\n2 3\n3 4 5 6\n")
    assert glance(tmp_path / "a.txt", Columns(), "adjacency").n_rows == 6


def test_a_source_whose_rows_are_not_known_cannot_be_planned(tmp_path) -> None:
    reader = table().to_reader()
    with pytest.raises(OptionError, match="not known before it is computed"):
        glance(reader, Columns(), None)
    assert reader.read_all().num_rows == 1000, "and is not used up"
    pq.write_table(table().slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="not one row"):
        glance(tmp_path / "none.parquet", Columns(), "parquet")


@pytest.mark.parametrize("n", [1000, 20_000])
def test_equally_frequent_ids_are_estimated_from_a_fifth_of_them(n: int) -> None:
    drawn = np.random.default_rng(0).integers(0, n, n // 5)
    assert _in_all(np.unique(drawn, return_counts=True)[1]) == pytest.approx(n, rel=0.3)


def test_ids_that_all_occurred_often_are_all() -> None:
    assert _in_all(np.full(40, 9)) == 40


@pytest.mark.parametrize(
    ("source", "limit", "peak", "seconds"),
    [  # measured on two cores, in bytes and seconds: benchmarks/scale.py
        (ahead(10**7, 49_998, 50_000), 2 * GIB, 0.71e9, 2.3),
        (ahead(10**8, 499_992, 158_114), 2 * GIB, 0.92e9, 18.1),
        (ahead(10**9, 4_999_849, 500_000), 2 * GIB, 1.94e9, 246),
    ],
)
def test_what_was_measured_is_forecast(source: Glance, limit: int, peak: float, seconds: float) -> None:
    forecast = forecast_ingest(source, Rules(), Room(limit))
    expected = (250 << 20) + max(stage.driver_bytes for stage in forecast.stages)
    assert expected == pytest.approx(peak, rel=0.25)
    assert seconds / 2 < sum(stage.seconds for stage in forecast.stages) < 2 * seconds


def test_less_memory_makes_smaller_buffers_and_the_disk_holds_all_rows() -> None:
    source = ahead(10**8, 10_000, 10_000)
    little, much = (forecast_ingest(source, Rules(), Room(limit)) for limit in (GIB, 4 * GIB))
    for stage in ("read", "group", "sort"):
        small, large = (next(s for s in each.stages if s.name == stage) for each in (little, much))
        assert small.driver_bytes < large.driver_bytes
    assert little.disk_bytes > 20 * 10**8
    assert little.store_bytes == pytest.approx(8e8, rel=0.01)


def test_filters_are_a_stage_of_their_own() -> None:
    stages = forecast_ingest(ahead(10**6, 1000, 1000), Rules(min_user_interactions=2), Room(None)).stages
    assert [stage.name for stage in stages] == ["read", "group", "sort", "filter", "write"]
