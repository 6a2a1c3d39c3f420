"""The demo finds what was planted, can be run again, and what it tells to type works."""

import json
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import recscale_dask as rs


@pytest.fixture(scope="module")
def shown(recscale, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of a demo."""
    out = tmp_path_factory.mktemp("demo") / "recscale-demo"
    ran = recscale("demo", "--out", out)
    assert ran.code == 0, ran.err
    return out, ran.out


def test_demo_finds_the_planted_tastes_where_popularity_does_not(shown: tuple[Path, str]) -> None:
    summary = json.loads((shown[0] / "demo.json").read_text())
    svd, popularity = summary["svd"], summary["popularity"]
    assert svd["own_taste"] > 0.85 > 0.1 > popularity["own_taste"]
    assert svd["recall@10"] > 3 * popularity["recall@10"]
    assert summary["converged"]


def test_demo_shows_a_table_and_saves_everything(shown: tuple[Path, str]) -> None:
    out, text = shown
    for word in ("own taste", "recall@10", "ndcg@10", "popularity", "converged", "listener-", "is recommended"):
        assert word in text
    model = rs.load_model(out / "model")
    assert pq.read_table(out / "recommendations.parquet").equals(model.recommend(k=10))


def test_the_next_three_commands_work_as_told(recscale, shown: tuple[Path, str], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line.strip() for line in shown[1].splitlines() if line.startswith("  recscale ")]
    assert len(commands) == 3
    for command in commands:
        ran = recscale(*shlex.split(command)[1:])
        assert ran.code == 0, ran.err


def test_demo_on_own_data_is_replaced_only_when_asked(recscale, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    demo = ("demo", "--data", data / "train.csv", "--out", out)
    for more in ((), ("--overwrite",)):
        summary = recscale(*demo, *more, "--json").json()
        assert summary["n_users"] == 200
        assert summary["held_out"]["how"] == "the latest fifth"
        assert "own_taste" not in summary["svd"]
    refused = recscale("demo", "--out", out)
    assert (refused.code, "train.csv. Replace it with --overwrite" in refused.err) == (1, True)
    assert json.loads((out / "demo.json").read_text()) == summary
    assert recscale(*demo, "--time", "false", "--overwrite").code == 0
    assert json.loads((out / "demo.json").read_text())["held_out"]["how"] == "a fifth at random"


def test_demo_of_made_up_data_is_replaced_by_any(recscale, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "recscale-demo"
    out.mkdir()
    (out / "demo.json").write_text(json.dumps({"kind": "recscale_dask demo", "data": "planted tastes"}))
    assert recscale("demo", "--data", data / "train.csv", "--out", out, "--json").json()["n_users"] == 200


@pytest.mark.parametrize("content", ["", "[1]", '{"kind": "a film"}'])
def test_demo_leaves_the_folders_of_others_alone(recscale, tmp_path: Path, content: str) -> None:
    (tmp_path / "demo.json").write_text(content)
    ran = recscale("demo", "--out", tmp_path)
    assert ran.code == 1
    assert "not the folder of a demo" in ran.err
    assert (tmp_path / "demo.json").read_text() == content
