"""Bad input fails with one sentence that says what was found and what to do, and loses nothing."""

import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

HEADER = "userId,movieId,rating\n"
GOOD = "".join(f"{user},{item},{1 + (user * item) % 5}\n" for user in range(6) for item in range(5))


def failure(ran) -> str:
    """Return the sentence of failed work."""
    assert ran.code == 1, ran
    assert not ran.out
    (line,) = [each for each in ran.err.splitlines() if not each.startswith("note: on ")]
    assert line.startswith("error: ")
    return line


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    path.write_text(HEADER + GOOD)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (HEADER, "not one row"),
        (HEADER + GOOD + "1,2\n", "32"),
        (HEADER + GOOD + "7,1,nan\n", "row 31"),
        (HEADER + GOOD + "7,1,inf\n", "row 31"),
        (HEADER + GOOD + "7,1,good\n", "'good'"),
        ((HEADER + GOOD).replace(",", ";") + "7;1;3,5\n", "Write decimals with a point"),
        (HEADER + "1,2,3\n1,3,3\n", "(1 x 2) has no factorization of a lower rank"),
    ],
)
def test_file_with_a_fault(recscale, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert said in failure(recscale("fit", path, "--out", tmp_path / "m", "--rank", 2))
    assert not (tmp_path / "m").exists()


def test_file_that_is_missing(recscale, tmp_path: Path) -> None:
    assert "nowhere.csv" in failure(recscale("fit", tmp_path / "nowhere.csv", "--out", tmp_path / "m"))


def test_values_that_are_all_zero_are_told_in_options(recscale, tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv"
    path.write_text("user,item,value\n" + "".join(f"{user},{user % 4},0\n" for user in range(9)))
    ran = recscale("fit", path, "--out", tmp_path / "m", "--solver", "popularity")
    assert "warning: all 9 values are 0. Is the value column (--value) the right one?" in ran.err
    ran = recscale("fit", path, "--out", tmp_path / "n", "--solver", "popularity", "--value", "False")
    assert (ran.code, "are 0" in ran.err) == (0, False)


def test_column_that_is_missing_is_told_with_those_that_are_there(recscale, ratings: Path, tmp_path: Path) -> None:
    said = failure(recscale("fit", ratings, "--out", tmp_path / "m", "--user", "customer"))
    assert all(name in said for name in ("customer' (--user)", "userId", "movieId", "rating"))


def test_address_of_an_unknown_kind_is_told_as_it_was_given(recscale, tmp_path: Path) -> None:
    said = failure(recscale("fit", "foo://x.csv", "--out", tmp_path / "m"))
    assert said.startswith("error: cannot read foo://x.csv: no file system goes by foo:// here. Known are s3, gs, az, ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rank", 0), "rank"),
        (("--rank", -3), "rank"),
        (("--rank", 5), "Try --rank 4"),
        (("--rank", 2, "--weighting", "heavy"), "heavy"),
        (("--rank", 2, "--solver", "magic"), "no solver is called 'magic'; there are: "),
        (("--rank", 2, "--set", "colour=red"), "its options are"),
        (("--rank", 2, "--set", "colour=red"), "those of all solvers: --rank, --weighting, --user-scaling, "),
        (
            ("--rank", 2, "--executor", "threads", "--set", "n_workers=2"),
            "--option n_workers=2 is for the executor, not for the solver",
        ),
        (("--rank", 2, "--executor", "abacus"), "there are: dask, futures, processes"),
        (("--rank", 2, "--executor", "threads", "--option", "workers=2"), "n_workers"),
        (
            ("--rank", 2, "--executor", "processes", "--option", "n_workers=two"),
            "n_workers must be a whole number of at least 1; got --option n_workers=two",
        ),
        (("--rank", 2, "--format", "xlsx"), "xlsx"),
        (("--rank", 2, "--executor", "futures"), "Give it --option pool=loky, for example"),
        (
            ("--rank", 2, "--executor", "dask", "--option", "threads_per_worker=one"),
            "got --option threads_per_worker=one",
        ),
        (("--rank", 2, "--user", "userId", "--item", "userId"), "--user userId, --item userId"),
        (
            ("--rank", 2, "--checkpoint", "s3://bucket/state"),
            "cannot be at s3://bucket/state: that needs a disk",
        ),
    ],
)
def test_option_that_cannot_work(recscale, ratings: Path, tmp_path: Path, options: tuple, said: str) -> None:
    assert said in failure(recscale("fit", ratings, "--out", tmp_path / "m", *options))
    assert not (tmp_path / "m").exists()


def test_log_weighting_of_negative_values(recscale, tmp_path: Path) -> None:
    path = tmp_path / "negative.csv"
    path.write_text(HEADER + GOOD + "7,1,-2\n")
    assert "log" in failure(recscale("fit", path, "--out", tmp_path / "m", "--rank", 2, "--weighting", "log"))


def test_output_that_exists_fails_before_the_input_is_read(recscale, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there.parquet").write_text("mine")
    nothing = tmp_path / "nothing.csv"
    assert "exists" in failure(recscale("fit", nothing, "--out", tmp_path / "there"))
    assert "exists" in failure(recscale("recommend", nothing, "--out", tmp_path / "there.parquet"))
    outs = ("--out-train", tmp_path / "new.csv", "--out-test", tmp_path / "there.parquet")
    assert "exists" in failure(recscale("split", nothing, *outs))
    assert "exists" in failure(recscale("demo", "--data", nothing, "--out", tmp_path / "there"))
    assert (tmp_path / "there.parquet").read_text() == "mine"


def test_output_in_a_folder_that_is_missing(recscale, ratings: Path, tmp_path: Path) -> None:
    assert "no folder" in failure(recscale("fit", ratings, "--out", tmp_path / "no" / "m", "--rank", 2))


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        ("fit --out", ""),
        ("recommend --out", ".parquet"),
        ("report --out", ".html"),
        ("tune --report", ".html"),
        ("advise --report", ".html"),
    ],
)
def test_folder_that_may_only_be_read_fails_before_the_input_is_read(
    recscale, tmp_path: Path, monkeypatch, command: str, suffix: str
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    name, option = command.split()
    ran = recscale(name, tmp_path / "nothing.csv", option, tmp_path / f"out{suffix}")
    assert f"its folder {tmp_path} may not be written to" in failure(ran)


def test_overwrite_replaces_a_model_and_nothing_else(recscale, ratings: Path, tmp_path: Path) -> None:
    fit = ("fit", ratings, "--rank", 2, "--overwrite", "--out")
    assert recscale(*fit, tmp_path / "m").code == 0
    assert recscale(*fit, tmp_path / "m").code == 0
    precious = tmp_path / "precious"
    precious.mkdir()
    assert "not a model" in failure(recscale(*fit, precious))
    recommend = ("recommend", tmp_path / "m", "--overwrite", "--out")
    assert recscale(*recommend, tmp_path / "r.parquet").code == 0
    assert recscale(*recommend, tmp_path / "r.parquet").code == 0
    precious = precious.rename(tmp_path / "precious.parquet")
    assert "is a folder" in failure(recscale(*recommend, precious))
    assert precious.is_dir()


def test_ids_that_the_model_does_not_know(recscale, model: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n4711\n")
    out = ("--out", tmp_path / "r.parquet")
    assert "4711" in failure(recscale("similar", model, "--item", 4711))
    for option in ("--users", "--allow", "--deny"):
        assert "4711" in failure(recscale("recommend", model, *out, option, ids))
    assert "none.txt" in failure(recscale("recommend", model, *out, "--users", tmp_path / "none.txt"))


def test_k_below_one(recscale, model: Path, tmp_path: Path) -> None:
    assert "k must be" in failure(recscale("recommend", model, "--out", tmp_path / "r.parquet", "--k", 0))
    assert "k must be" in failure(recscale("similar", model, "--item", 1, "--k", 0))


@pytest.mark.parametrize(("metrics", "said"), [("recall", "recall@20"), ("luck@3", "luck"), ("rmse@3", "rmse")])
def test_metric_that_there_is_not(recscale, data: Path, model: Path, metrics: str, said: str) -> None:
    assert said in failure(recscale("evaluate", model, "--test", data / "test.csv", "--metrics", metrics))


def truncate(model: Path) -> None:
    path = model / "item_factors.npy"
    path.write_bytes(path.read_bytes()[:-4])


def alter(model: Path) -> None:
    path = model / "user_factors.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")


def make_newer(model: Path) -> None:
    path = model / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def lose(model: Path) -> None:
    (model / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"), [(truncate, "truncated"), (alter, "altered"), (make_newer, "format 99"), (lose, "not a model")]
)
def test_model_that_is_spoilt(recscale, model: Path, tmp_path: Path, spoil, said: str) -> None:
    spoilt = shutil.copytree(model, tmp_path / "spoilt")
    spoil(spoilt)
    assert said in failure(recscale("recommend", spoilt, "--out", tmp_path / "r.parquet"))


def test_scheduler_address_that_nobody_answers_at_fails_within_seconds(recscale, ratings: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        start = time.monotonic()
        options = ("--rank", 2, "--executor", "dask", "--option", f"address={address}")
        said = failure(recscale("fit", ratings, "--out", tmp_path / "m", *options))
    assert address in said
    assert time.monotonic() - start < 30


def test_a_store_or_a_model_in_the_place_of_data_is_told(recscale, ratings: Path, tmp_path: Path) -> None:
    assert recscale("fit", ratings, "--rank", 2, "--out", tmp_path / "m").code == 0
    assert "is a model, and no data" in failure(recscale("fit", tmp_path / "m", "--rank", 2, "--out", tmp_path / "n"))
    assert recscale("ingest", ratings, "--out", tmp_path / "s").code == 0
    split = ("split", tmp_path / "s", "--out-train", tmp_path / "a.csv", "--out-test", tmp_path / "b.csv")
    assert "is a store, and no data" in failure(recscale(*split))


def test_repeated_pairs_of_a_store_are_not_combined_anew(recscale, ratings: Path, tmp_path: Path) -> None:
    assert recscale("ingest", ratings, "--out", tmp_path / "s").code == 0
    ran = recscale("fit", tmp_path / "s", "--out", tmp_path / "m", "--rank", 2, "--duplicates", "max")
    assert ran.code == 2
    assert "repeated pairs were combined when it was made" in " ".join(ran.err.replace("│", " ").split())


def test_a_folder_that_is_something_else_is_told_without_numbers_of_the_system(recscale, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    said = failure(recscale("similar", tmp_path / "notes", "--item", 1))
    assert "is not a model: it has no manifest.json" in said
    assert "Errno" not in said


def test_a_plan_of_an_ingest_looks_at_the_target_too(recscale, ratings: Path, tmp_path: Path) -> None:
    assert recscale("ingest", ratings, "--out", tmp_path / "s").code == 0
    assert "exists already" in failure(recscale("ingest", ratings, "--out", tmp_path / "s", "--plan"))
    assert recscale("ingest", ratings, "--out", tmp_path / "s", "--plan", "--overwrite").code == 0


def test_options_are_named_as_they_are_typed(recscale, ratings: Path, tmp_path: Path) -> None:
    fit = ("fit", ratings, "--out", tmp_path / "m")
    assert "--memory-limit is a number of bytes" in failure(recscale(*fit, "--rank", 2, "--memory-limit", "much"))
    assert "got --rank 64. Try --rank" in failure(recscale(*fit))


def test_a_folder_with_other_things_is_told_to_be_named_by_a_glob(recscale, ratings: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(tmp_path / "held.sock"))  # opening it would fail
        fit = ("fit", tmp_path, "--rank", 2, "--out")
        assert recscale(*fit, tmp_path.parent / f"{tmp_path.name}-m").code == 0
        (tmp_path / "notes.md").write_text("hello")
        said = failure(recscale(*fit, tmp_path.parent / f"{tmp_path.name}-n"))
    assert "notes.md is among the files, and is no data file by its suffix" in said


def test_users_that_are_typed_and_not_in_a_file(recscale, data: Path, model: Path, tmp_path: Path) -> None:
    said = failure(recscale("recommend", model, "--users", "1,2", "--out", tmp_path / "r.parquet"))
    assert "there is no file at '1,2'" in said
    assert "a file with an id a line" in said


def test_all_metrics_that_are_wrong_are_named(recscale, data: Path, model: Path) -> None:
    said = failure(recscale("evaluate", model, "--test", data / "test.csv", "--metrics", "recal@5,ndcg@5,auc"))
    assert "2 of the metrics cannot be had: 'recal@5', 'auc'" in said


def test_training_data_as_a_test_are_refused(recscale, data: Path, model: Path) -> None:
    said = failure(recscale("evaluate", model, "--test", data / "train.csv"))
    assert "pairs of the test set are in the data that the model was fitted to" in said
    assert "every metric would be 0" in said


def test_a_share_of_rows_is_no_option_of_leave_one_out(recscale, data: Path, tmp_path: Path) -> None:
    outs = ("--out-train", tmp_path / "a.csv", "--out-test", tmp_path / "b.csv")
    said = failure(recscale("split", data / "train.csv", *outs, "--how", "leave-one-out", "--fraction", "0.1"))
    assert "--fraction 0.1 for 'leave-one-out'" in said


def test_neighbours_by_popularity_alone_are_refused(recscale, data: Path, tmp_path: Path) -> None:
    assert recscale("fit", data / "train.csv", "--out", tmp_path / "m", "--solver", "popularity").code == 0
    said = failure(recscale("similar", tmp_path / "m", "--item", 1))
    assert "all items are equally near" in said


def test_a_parquet_file_that_is_cut_short_is_one_sentence(recscale, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"x" * 100)
    said = failure(recscale("fit", tmp_path / "cut.parquet", "--out", tmp_path / "m"))
    assert said.startswith(f"error: cannot read {tmp_path / 'cut.parquet'} as Parquet: Parquet magic bytes not found")
    assert said.endswith("Copy it again, or say what it is with --format.")
