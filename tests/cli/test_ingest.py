"""`recscale ingest`."""

from pathlib import Path

import pytest

import recscale_dask as rs


def test_a_store_is_written_and_told_of(recscale, data: Path, tmp_path: Path) -> None:
    found = recscale("ingest", data / "train.csv", data / "test.csv", "--out", tmp_path / "s", "--json").json()
    matrix = rs.UserItemMatrix.open(tmp_path / "s")
    data_rows = rs.read_interactions([data / "train.csv", data / "test.csv"])
    expected = rs.UserItemMatrix.from_interactions(data_rows)
    assert (matrix.to_scipy() != expected.to_scipy()).nnz == 0
    assert set(found.pop("seconds")) == {"read", "group", "sort", "write", "total"}
    assert found.pop("rows_per_second") > 0
    assert found.pop("peak_rss_bytes") > 0
    assert found == {
        "store": str(tmp_path / "s"),
        "rows": len(data_rows),
        "n_users": 200,
        "n_items": 80,
        "n_interactions": expected.nnz,
        "fingerprint": matrix.fingerprint,
    }


def test_options_reach_the_ingest(recscale, data: Path, tmp_path: Path) -> None:
    options = (
        "--user",
        "0",
        "--item",
        "movieId",
        "--value",
        "false",
        "--time",
        "timestamp",
        "--since",
        "1",
        "--format",
        "csv",
    )
    more = (
        "--min-user-interactions",
        15,
        "--min-item-interactions",
        20,
        "--duplicates",
        "last",
        "--memory-limit",
        "1GiB",
    )
    ran = recscale("ingest", data / "train.csv", "--out", tmp_path / "s", *options, *more)
    assert ran.code == 0, ran.err
    assert "rows a second" in ran.out
    rows = rs.UserItemMatrix.open(tmp_path / "s").to_scipy()
    assert set(rows.data) == {1.0}
    assert rows.sum(axis=1).min() >= 15
    assert rows.sum(axis=0).min() >= 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no.csv",), "there is no file at"),
        (("train.csv", "--memory-limit", "1MB"), "too small for any ingest"),
        (("train.csv", "--user", "who"), "no column is called 'who'"),
        (("train.csv", "--since", "2024-01-01"), "holds numbers"),
    ],
)
def test_what_cannot_work_is_one_line(recscale, data: Path, tmp_path: Path, arguments, said) -> None:
    ran = recscale("ingest", data / arguments[0], *arguments[1:], "--out", tmp_path / "s")
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
