"""Recommendations on disk: the rows of `FactorModel.recommend`, whoever computed and wrote them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_file_holds_the_rows_of_the_model_on_every_executor(recscale, model: Path, tmp_path: Path, executor) -> None:
    out = tmp_path / "r.parquet"
    options = () if executor == "serial" else ("--option", "n_workers=2")
    assert recscale("recommend", model, "--out", out, "--k", 4, "--executor", executor, *options).code == 0
    assert pq.read_table(out).equals(rs.load_model(model).recommend(k=4))


def test_folder_holds_the_same_rows_and_is_continued(recscale, model: Path, tmp_path: Path) -> None:
    out = f"{tmp_path}/recs.parquet/"
    for _ in range(2):
        assert recscale("recommend", model, "--out", out, "--k", 4, "--json").json()["rows"] == 800
    assert pq.read_table(out).equals(rs.load_model(model).recommend(k=4))


def test_many_batches_go_into_one_file(tmp_path: Path) -> None:
    factors = np.random.default_rng(0).normal(size=(5000, 3)) @ np.random.default_rng(1).normal(size=(3, 20))
    model = rs.factorize(factors, rank=2)
    assert model.recommend_file(tmp_path / "r.parquet", k=2, exclude_seen=False) == 10_000
    assert pq.read_table(tmp_path / "r.parquet").equals(model.recommend(k=2, exclude_seen=False))


def test_ids_come_from_lines_and_from_first_columns(recscale, model: Path, tmp_path: Path) -> None:
    table = pa.table({"who": [5, 3], "why": ["a", "b"]})
    (tmp_path / "ids.txt").write_text("5\n\n3\n")
    (tmp_path / "bare.csv").write_text("5,a\n3,b\n")
    pyarrow.csv.write_csv(table, tmp_path / "ids.csv")
    pq.write_table(table, tmp_path / "ids.parquet")
    for name in ("ids.txt", "bare.csv", "ids.csv", "ids.parquet"):
        out = tmp_path / f"{name}.recs.parquet"
        found = recscale("recommend", model, "--out", out, "--k", 2, "--users", tmp_path / name, "--json").json()
        assert found["users"] == 2
        assert [row["user"] for row in rows(out)] == [5, 5, 3, 3]


def test_allow_and_deny_and_seen(recscale, model: Path, tmp_path: Path) -> None:
    (tmp_path / "allow.txt").write_text("1\n2\n3\n")
    (tmp_path / "deny.txt").write_text("2\n")
    lists = ("--allow", tmp_path / "allow.txt", "--deny", tmp_path / "deny.txt")
    assert recscale("recommend", model, "--out", tmp_path / "all.parquet", *lists, "--include-seen").code == 0
    assert recscale("recommend", model, "--out", tmp_path / "new.parquet", *lists).code == 0
    everything, unseen = rows(tmp_path / "all.parquet"), rows(tmp_path / "new.parquet")
    assert {row["item"] for row in everything} == {1, 3}
    assert len(everything) == 400
    assert 0 < len(unseen) < 400


def test_file_of_two_columns_is_for_each_user(recscale, model: Path, tmp_path: Path) -> None:
    (tmp_path / "allow.csv").write_text("userId,movieId\n5,1\n5,2\n3,2\n")
    (tmp_path / "deny.tsv").write_text("5\t2\n")
    lists = ("--allow", tmp_path / "allow.csv", "--deny", tmp_path / "deny.tsv", "--include-seen")
    assert recscale("recommend", model, "--out", tmp_path / "r.parquet", *lists).code == 0
    assert sorted((row["user"], row["item"]) for row in rows(tmp_path / "r.parquet")) == [(3, 2), (5, 1)]


def test_least_score(recscale, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    assert recscale("recommend", model, "--out", out, "--min-score", 0.5).code == 0
    found = pq.read_table(out)
    everything = rs.load_model(model).recommend(k=10)
    assert 0 < len(found) < len(everything)
    assert found.equals(everything.filter(np.asarray(everything["score"]) >= 0.5))


def test_unknown_ids_can_be_skipped(recscale, model: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("1\n4711\n4712\n")
    out = tmp_path / "r.parquet"
    options = ("--users", tmp_path / "users.txt", "--skip-unknown", "--json")
    ran = recscale("recommend", model, "--out", out, *options)
    assert ran.json()["users"] == 1
    assert {row["user"] for row in rows(out)} == {1}
    assert "warning: 2 unknown users skipped: 4711, 4712" in ran.err


def test_user_in_a_file_twice_is_named(recscale, model: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("5\n3\n5\n")
    ran = recscale("recommend", model, "--out", tmp_path / "r.parquet", "--users", tmp_path / "users.txt")
    assert ran.code == 1
    assert "users names 1 user more than once: 5" in ran.err


def test_no_user_gives_an_empty_file(recscale, model: Path, tmp_path: Path) -> None:
    (tmp_path / "nobody.txt").write_text("")
    out = tmp_path / "r.parquet"
    assert recscale("recommend", model, "--out", out, "--users", tmp_path / "nobody.txt", "--json").json()["rows"] == 0
    assert pq.read_table(out).column_names == ["user", "item", "rank", "score"]
