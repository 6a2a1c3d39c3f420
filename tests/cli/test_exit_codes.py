"""0 done, 1 the work failed and one plain sentence says why, 2 wrong usage, 130 interrupted."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recscale_dask
from recscale_dask.api import factor_model
from recscale_dask.testing.matrices import planted_tastes


def test_version_is_told(recscale) -> None:
    ran = recscale("--version")
    assert (ran.code, ran.out) == (0, f"recscale {recscale_dask.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fits",),
        ("fit", "ratings.csv"),
        ("fit", "ratings.csv", "--out", "m", "--rank", "many"),
        ("fit", "ratings.csv", "--out", "m", "--set", "maxiter"),
        ("fit", "ratings.csv", "--out", "m", "--set", "rank=3"),
        ("fit", "ratings.csv", "--out", "m", "--option", "n_workers=2"),
        ("fit", "ratings.csv", "--out", "m", "--duplicates", "mean"),
        ("split", "ratings.csv", "--how", "lots", "--out-train", "a.csv", "--out-test", "b.csv"),
        ("split", "ratings.csv", "--out-train", "a.csv", "--out-test", "a.csv"),
        ("recommend", "model", "--out", "folder", "--overwrite"),
    ],
)
def test_wrong_usage_is_2(recscale, arguments: tuple[str, ...]) -> None:
    ran = recscale(*arguments)
    assert ran.code == 2
    assert ran.err
    assert not ran.out


def test_failed_work_has_a_traceback_only_with_debug(recscale, tmp_path: Path) -> None:
    arguments = ("similar", tmp_path / "none", "--item", 1)
    plain, debugged = recscale(*arguments), recscale("--debug", *arguments)
    assert plain.code == debugged.code == 1
    (line,) = plain.err.splitlines()
    assert line.startswith(f"error: there is no model at {tmp_path / 'none'}. Give the folder that ")
    assert "Traceback" in debugged.err
    assert debugged.err.endswith(plain.err)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (MemoryError(), "out of memory"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines. This should not happen"),
    ],
)
def test_other_errors_are_one_sentence_too(recscale, monkeypatch, error: BaseException, said: str) -> None:
    def fail(path: str) -> None:
        raise error

    monkeypatch.setattr(factor_model, "load_model", fail)
    ran = recscale("similar", "model", "--item", 1)
    assert ran.code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert len(ran.err.splitlines()) == 1
    assert said in ran.err


def test_a_fit_that_does_not_converge_is_done_with_a_warning(recscale, tmp_path: Path) -> None:
    pq.write_table(pa.table(planted_tastes(1500, 600, 4).columns()), tmp_path / "large.parquet")
    options = ("--rank", 32, "--tol", 1e-12, "--set", "maxiter=3", "--set", "block_size=8", "--json")
    ran = recscale("fit", tmp_path / "large.parquet", "--out", tmp_path / "m", *options)
    assert ran.json()["certificate"]["converged"] is False
    (line,) = ran.err.splitlines()
    assert line.startswith("warning: ")


def test_ctrl_c_says_what_was_kept_and_how_to_go_on(recscale, data: Path, model: Path, tmp_path: Path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("recscale_dask.api.factor_model.FactorModel.recommend_to", stop)
    monkeypatch.setattr("recscale_dask.api.tuning.tune", stop)
    stopped = recscale("recommend", model, "--out", tmp_path / "recs")
    assert (stopped.code, "were kept. Go on with the same command" in stopped.err) == (130, True)
    for more, said in (((), "With --storage FILE"), (("--study", tmp_path / "s.log"), "Go on with the same command")):
        stopped = recscale("tune", data / "train.csv", *more)
        assert (stopped.code, said in stopped.err) == (130, True)


@pytest.mark.parametrize(
    ("stdout", "code", "told"), [("&-", 0, "{"), ("/dev/full", 1, "error: No space left on device")]
)
def test_json_for_which_there_is_no_place_is_one_line(stdout: str, code: int, told: str) -> None:
    command = f"{sys.executable} -c 'from recscale_dask.cli.main import run; run()' executors --json >{stdout}"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == code
    assert ran.stderr.startswith(told)
    assert ran.stderr.count("\n") == 1
