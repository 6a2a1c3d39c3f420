"""`recscale plan` tells what a fit takes; 1 and one plain sentence if it does not fit."""

from pathlib import Path

import pytest

import recscale_dask as rs

FIT = ("--rank", 8, "--weighting", "binary", "--user-scaling", 0.5, "--tol", 1e-2, "--set", "maxiter=50")


@pytest.fixture(scope="module")
def store(data: Path, recscale, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "store"
    rs.UserItemMatrix.from_interactions(rs.read_interactions(data / "train.csv")).save(path)
    return path


def test_plan_takes_the_options_of_fit(recscale, data: Path, tmp_path: Path) -> None:
    planned = recscale("plan", data / "train.csv", *FIT, "--executor", "threads", "--json").json()
    fitted = recscale(
        "fit", data / "train.csv", "--out", tmp_path / "m", *FIT, "--executor", "threads", "--json"
    ).json()
    assert planned["fits"] is True
    assert planned["advice"] == []
    for name in ("solver", "rank", "n_users", "n_items", "n_interactions", "executor"):
        assert planned[name] == fitted[name]
    assert planned["method"] == fitted["plan"]
    assert planned["stored"] is False


def test_plan_of_a_store_is_a_table(recscale, store: Path) -> None:
    ran = recscale("plan", store, "--rank", 4)
    assert (ran.code, ran.err) == (0, "")
    assert "in a store" in ran.out
    assert "in all, peak" in ran.out


def test_plan_that_does_not_fit_is_1_with_the_plan_and_one_sentence(recscale, store: Path) -> None:
    ran = recscale("plan", store, "--rank", 4, "--memory-limit", "1MiB", "--json")
    assert ran.code == 1
    assert '"fits": false' in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("error: svd of rank 4 needs about ")
    assert "What would fit: " in line


def test_fit_that_does_not_fit_is_1_and_writes_nothing(recscale, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    ran = recscale("fit", store, "--out", out, "--rank", 4, "--memory-limit", "1MiB", "--checkpoint", tmp_path / "c")
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert "1.00 MiB are there" in line
    assert not list(tmp_path.iterdir())


def test_fit_within_its_limit_is_done(recscale, store: Path, tmp_path: Path) -> None:
    assert recscale("fit", store, "--out", tmp_path / "m", "--rank", 4, "--memory-limit", "2GiB").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--memory-limit", "much"), 1, "--memory-limit is a number of bytes, or text such as '2GiB'"),
        (("--rank", "many"), 2, "--rank"),
        (("--set", "memory_limit=3"), 2, "is no option of a solver"),
        (("--option", "n_workers=2"), 2, "--executor"),
        (("--rank", 10**6), 1, "rank must be below both sides"),
    ],
)
def test_wrong_use_is_told(recscale, store: Path, arguments: tuple[object, ...], code: int, said: str) -> None:
    ran = recscale("plan", store, *arguments)
    assert ran.code == code
    assert said in ran.err
