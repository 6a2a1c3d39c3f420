"""New users on the command line, and what their recommendations come from."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import recscale_dask as rs
from recscale_dask.errors import UnknownIdWarning


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "new.csv"
    table = pa.table({"userId": ["x", "x", "y"], "movieId": [3, 7, 11], "rating": [4.0, 5.0, 3.0]})
    pyarrow.csv.write_csv(table, path)
    return path


@pytest.fixture(scope="module")
def with_unknown(new: Path) -> Path:
    path = new.with_name("unknown.csv")
    path.write_text(new.read_text() + '"y",99999,1\n')
    return path


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_file_holds_the_recommendations_of_the_folded_model(recscale, model, new, tmp_path, executor) -> None:
    out = tmp_path / "r.parquet"
    options = () if executor == "serial" else ("--option", "n_workers=2")
    found = recscale("fold-in", model, new, "--out", out, "--k", 3, "--executor", executor, *options)
    assert found.code == 0, found.err
    assert pq.read_table(out).equals(rs.load_model(model).fold_in(new).recommend(k=3))
    assert "6 recommendations for 2 new users" in found.out
    assert "Fewer than 30 users are too few to advise a refit by (threshold 25%)" in found.out


def test_json_has_counts_and_drift(recscale, model, new, tmp_path) -> None:
    found = recscale("fold-in", model, new, "--out", tmp_path / "r.parquet", "--k", 2, "--json").json()
    drift = rs.load_model(model).drift(new)
    assert found.pop("seconds") >= 0
    assert found.pop("drift") == {
        "explained": drift.explained,
        "standard_error": drift.standard_error,
        "expected": drift.expected,
        "loss": drift.loss,
        "threshold": 0.25,
        "refit_advised": drift.refit_advised,
    }
    assert found == {
        "out": str(tmp_path / "r.parquet"),
        "rows": 4,
        "users": 2,
        "k": 2,
        "unknown_items": 0,
        "skipped_interactions": 0,
    }


def test_unknown_items_fail_or_are_skipped_with_a_warning(recscale, model, with_unknown, tmp_path) -> None:
    out = tmp_path / "r.parquet"
    failed = recscale("fold-in", model, with_unknown, "--out", out)
    assert failed.code == 1
    assert "1 of 4 items, in 1 of 4 interactions, are not in the model: 99999" in failed.err
    assert "Skip them, with --skip-unknown, or fit again" in failed.err
    assert not out.exists()
    skipped = recscale("fold-in", model, with_unknown, "--out", out, "--skip-unknown", "--json")
    assert skipped.json()["unknown_items"] == 1
    assert "warning: 1 of 4 items" in skipped.err


def test_model_of_the_new_users_can_be_saved_and_used(recscale, model, new, tmp_path) -> None:
    saved = tmp_path / "new-model"
    assert recscale("fold-in", model, new, "--out", tmp_path / "r.parquet", "--save", saved).code == 0
    assert recscale("recommend", saved, "--out", tmp_path / "again.parquet").code == 0
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(tmp_path / "r.parquet"))


def test_output_must_be_a_new_parquet_file(recscale, model, new, tmp_path) -> None:
    for name in ("folder", "r.csv"):
        refused = recscale("fold-in", model, tmp_path / "nothing.csv", "--out", tmp_path / name)
        assert f"{name} would hold Parquet: end its name in .parquet or .pq." in refused.err
    (tmp_path / "r.parquet").write_text("mine")
    assert recscale("fold-in", model, new, "--out", tmp_path / "r.parquet").code == 1
    assert (tmp_path / "r.parquet").read_text() == "mine"


def test_explanation_is_printed_and_in_json_sums_to_the_score(recscale, model) -> None:
    found = recscale("explain", model, "--user", 5, "--item", 7, "--k", 3, "--json").json()
    assert (found["user"], found["item"]) == ("5", "7")
    parts = sum(each["contribution"] for each in found["contributions"])
    assert parts + found["others"] + found["remainder"] == pytest.approx(found["score"])
    text = recscale("explain", model, "--user", 5, "--item", 7, "--k", 3).out
    assert text == f"{rs.load_model(model).explain(5, 7, 3)}\n"
    assert recscale("explain", model, "--user", 5, "--item", "none").code == 1


def test_skipping_warns_in_python_too(model, with_unknown) -> None:
    with pytest.warns(UnknownIdWarning, match="1 of 4 items"):
        rs.load_model(model).fold_in(with_unknown, unknown="skip")
