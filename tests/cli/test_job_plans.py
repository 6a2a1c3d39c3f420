"""`--plan` of ingest and recommend tells what they take and writes nothing; 1 and one sentence if that is not there."""

import dataclasses
from pathlib import Path

import pytest

import recscale_dask as rs
from recscale_dask.api import job_plan
from recscale_dask.cli.output import print_plan
from recscale_dask.errors import MemoryLimitError, OutputError

FIELDS = {"seconds", "peak_bytes", "memory_limit", "disk_bytes", "left_bytes", "disk_free", "fits", "assumed", "stages"}


def test_plan_of_an_ingest_is_told_and_nothing_is_written(recscale, data: Path, tmp_path: Path) -> None:
    files = data / "train.csv", data / "test.csv"
    plan = recscale("ingest", *files, "--out", tmp_path / "s", "--plan", "--json").json()
    assert set(plan) >= FIELDS
    assert (plan["n_users"], plan["n_items"], plan["fits"]) == (200, 80, True)
    assert [stage["name"] for stage in plan["stages"]] == ["read", "group", "sort", "write"]
    assert plan["peak_bytes"] == max(stage["peak_bytes"] for stage in plan["stages"])
    table = recscale("ingest", *files, "--out", tmp_path / "s", "--min-user-interactions", 2, "--plan")
    assert (table.code, table.err) == (0, "")
    assert "filter" in table.out
    assert "assumed: no user and no item is left out" in table.out
    assert not list(tmp_path.iterdir())


def test_ingest_without_room_on_the_disk_is_1(recscale, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job_plan.shutil, "disk_usage", lambda folder: job_plan.shutil._ntuple_diskusage(100, 90, 10))
    ran = recscale("ingest", data / "train.csv", "--out", tmp_path / "s", "--plan", "--json")
    assert ran.code == 1
    assert '"fits": false' in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ingest of about ")
    assert "on the disk, and 10 B are free there" in line


def test_a_disk_that_is_too_small_is_no_lack_of_memory(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(job_plan.shutil, "disk_usage", lambda folder: job_plan.shutil._ntuple_diskusage(100, 90, 10))
    plan = rs.plan_ingest(data / "train.csv", tmp_path / "s")
    with pytest.raises(OutputError, match="on the disk"):
        print_plan(plan, as_json=True)
    with pytest.raises(MemoryLimitError, match="of memory"):
        print_plan(dataclasses.replace(plan, memory_limit=1), as_json=True)


def test_plan_of_recommendations_is_told_and_nothing_is_written(recscale, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "recs"
    plan = recscale("recommend", model, "--out", out, "--k", 4, "--plan", "--json").json()
    assert set(plan) >= FIELDS
    assert (plan["users"], plan["k"], plan["rows"], plan["fits"]) == (200, 4, 800, True)
    assert [stage["name"] for stage in plan["stages"]] == ["load", "check", "prepare", "recommend"]
    assert "in all, peak" in recscale("recommend", model, "--out", out, "--plan").out
    assert not list(tmp_path.iterdir())


def test_recommendations_without_memory_are_1(recscale, model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("recscale_dask.api.plan_recommend.usable_memory", lambda: 1 << 20)
    ran = recscale("recommend", model, "--out", tmp_path / "recs", "--plan")
    assert ran.code == 1
    note, line = ran.err.splitlines()
    assert note == "note: on serial, as it is done in a blink."
    assert "of memory, and 1.00 MiB are there" in line


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("recommend", "{model}", "--out", "r.parquet", "--plan"), 2, "--plan"),
        (("ingest", "{data}/none.csv", "--out", "s", "--plan"), 1, "there is no file"),
        (
            ("ingest", "{data}/train.csv", "--out", "s", "--plan", "--memory-limit", "1MiB"),
            1,
            "too small for any ingest",
        ),
    ],
)
def test_wrong_use_is_told(recscale, data: Path, model: Path, arguments, code: int, said: str) -> None:
    ran = recscale(*(each.format(data=data, model=model) for each in arguments))
    assert ran.code == code
    assert said in ran.err
