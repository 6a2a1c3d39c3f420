"""`--json` prints one object with the keys of the interface, and nothing else on stdout."""

from pathlib import Path

import pytest

import recscale_dask as rs

FIT = {
    "model",
    "solver",
    "rank",
    "n_users",
    "n_items",
    "n_interactions",
    "executor",
    "executor_reason",
    "passes",
    "seconds",
    "peak_rss_bytes",
    "certificate",
    "factors_sha256",
    "plan",
}


def test_fit(recscale, data: Path, tmp_path: Path) -> None:
    found = recscale("fit", data / "train.csv", "--out", tmp_path / "m", "--rank", 4, "--json").json()
    model = rs.load_model(tmp_path / "m")
    assert set(found) == FIT
    assert set(found["seconds"]) == {"read", "fit", "save"}
    assert found["certificate"] == {"max_residual": model.certificate.max_residual, "tol": 1e-3, "converged": True}
    assert found["passes"] == model.certificate.passes
    assert found["factors_sha256"] == model.factors_sha256()
    assert (found["n_users"], found["n_items"], found["rank"]) == (200, 80, 4)
    assert found["executor"] == "serial"
    assert found["peak_rss_bytes"] > 1 << 20


def test_fit_by_sweeps_says_how_they_ended(recscale, data: Path, tmp_path: Path) -> None:
    command = ("fit", data / "train.csv", "--out", tmp_path / "m", "--solver", "als-implicit", "--rank", 4)
    found = recscale(*command, "--json").json()
    assert set(found) == FIT | {"sweeps", "converged", "objective"}
    told = recscale(*command, "--overwrite", "--set", "max_sweeps=2")
    assert "2 sweeps, not converged; objective" in told.out
    assert "warning: als-implicit stopped after 2 sweeps" in told.err


def test_fit_of_a_solver_without_a_certificate(recscale, data: Path, tmp_path: Path) -> None:
    found = recscale("fit", data / "train.csv", "--out", tmp_path / "m", "--solver", "popularity", "--json").json()
    assert set(found) == FIT
    assert found["certificate"] is None
    assert found["passes"] is None


def test_recommend(recscale, model: Path, tmp_path: Path) -> None:
    found = recscale("recommend", model, "--out", tmp_path / "recs.parquet", "--k", 3, "--json").json()
    assert found.pop("seconds") >= 0
    assert found == {"out": str(tmp_path / "recs.parquet"), "rows": 600, "users": 200, "k": 3}


def test_evaluate(recscale, data: Path, model: Path) -> None:
    names = ["recall@5", "map@5", "rmse"]
    found = recscale("evaluate", model, "--test", data / "test.csv", "--metrics", ",".join(names), "--json").json()
    more = {"intervals", "n_unknown_users", "n_unknown_items", "n_seen", "n_skipped"}
    assert set(found) == {"metrics", "n_users", "seconds"} | more
    assert list(found["metrics"]) == list(found["intervals"]) == names
    by_hand = rs.evaluate(rs.load_model(model), data / "test.csv", metrics=names)
    assert found["metrics"] == by_hand.metrics
    assert found["n_users"] == by_hand.n_users


def test_executors(recscale) -> None:
    found = recscale("executors", "--json").json()
    assert set(found) == {"executors", "broken"}
    assert {"serial", "threads", "processes", "dask"} <= {each["name"] for each in found["executors"]}
    for each in found["executors"]:
        assert set(each) == {"name", "summary", "package", "contract", "available", "reason"}


def test_similar(recscale, model: Path) -> None:
    found = recscale("similar", model, "--item", 7, "--k", 3, "--json").json()
    assert found["item"] == "7"
    assert [each["rank"] for each in found["similar"]] == [1, 2, 3]
    assert all(set(each) == {"item", "rank", "score"} for each in found["similar"])


@pytest.mark.parametrize("how", ["random", "temporal", "leave-one-out"])
def test_split(recscale, data: Path, tmp_path: Path, how: str) -> None:
    train, test = tmp_path / "train.parquet", tmp_path / "test.csv"
    options = ("--how", how, "--out-train", train, "--out-test", test, "--seed", 1)
    found = recscale("split", data / "train.csv", *options, "--json").json()
    assert found["train"] == {"out": str(train), "rows": len(rs.read_interactions(train))}
    assert found["test"] == {"out": str(test), "rows": len(rs.read_interactions(test))}
    assert found["train"]["rows"] + found["test"]["rows"] == len(rs.read_interactions(data / "train.csv"))
