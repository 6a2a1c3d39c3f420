"""A test file is read as the training file was, unless options say how."""

from pathlib import Path

TRAIN = "".join(f"{user} " + " ".join(str((user * 3 + step) % 11) for step in range(5)) + "\n" for user in range(20))
TEST = "".join(f"{user} {(user * 3 + 5) % 11}\n" for user in range(20))


def test_adjacency_lists_are_judged_by_adjacency_lists(recscale, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(TRAIN)
    (tmp_path / "test.txt").write_text(TEST)
    fit = ("fit", tmp_path / "train.txt", "--out", tmp_path / "m", "--rank", 3, "--format", "adjacency")
    assert recscale(*fit).code == 0
    evaluate = ("evaluate", tmp_path / "m", "--test", tmp_path / "test.txt", "--metrics", "recall@3", "--json")
    assert recscale(*evaluate).json() | {"seconds": 0} == recscale(*evaluate, "--format", "adjacency").json() | {
        "seconds": 0
    }


def test_the_table_tells_who_was_left_out(recscale, data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text((data / "test.csv").read_text() + "99999,1,3.0,1\n")
    ran = recscale("evaluate", model, "--test", tmp_path / "test.csv")
    assert ran.code == 0
    assert "recall@20" in ran.out
    assert "1 users of the test set are not in the model" in ran.out


def test_the_table_has_intervals(recscale, data: Path, model: Path) -> None:
    evaluate = ("evaluate", model, "--test", data / "test.csv", "--metrics", "recall@5,coverage@5,rmse")
    lines = recscale(*evaluate, "--level", 0.9).out.splitlines()
    assert lines[0].startswith("recall@5    0.")
    assert lines[0].endswith("]")
    assert lines[1].startswith("coverage@5  ")
    assert not lines[1].endswith("]")
    assert "[90% intervals" in lines[3]
    found = recscale(*evaluate, "--json").json()
    assert list(found["intervals"]) == ["recall@5", "rmse"]
    for name, (low, high) in found["intervals"].items():
        assert low < found["metrics"][name] < high


def test_several_models_are_one_table(recscale, data: Path, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "popular"
    assert recscale("fit", data / "train.csv", "--out", other, "--solver", "popularity").code == 0
    evaluate = ("evaluate", model, other, "--test", data / "test.csv")
    lines = recscale(*evaluate).out.splitlines()
    assert lines[0].split() == ["recall@20", "ndcg@20"]
    assert lines[1].startswith(str(model))
    assert lines[2].startswith(str(other))
    found = recscale(*evaluate, "--json").json()
    assert list(found["models"]) == [str(model), str(other)]
    alone = recscale("evaluate", other, "--test", data / "test.csv", "--json").json()
    assert found["models"][str(other)] == alone["metrics"]
    assert found["n_users"] == alone["n_users"]
    assert len(found["comparison"]) == 4
    twice = recscale("evaluate", model, model, "--test", data / "test.csv")
    assert (twice.code, "twice" in twice.err) == (2, True)


def test_held_out_users_go_from_split_to_evaluate(recscale, data: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "fold-in", "test")}
    outs = [each for name, path in files.items() for each in (f"--out-{name}", path)]
    split = ("split", data / "train.csv", *outs, "--how", "held-out-users", "--users", "0.2")
    written = recscale(*split, "--json").json()
    assert list(written) == ["train", "fold_in", "test"]
    assert sum(each["rows"] for each in written.values()) == len((data / "train.csv").read_text().splitlines()) - 1
    assert recscale("fit", files["train"], "--out", tmp_path / "m", "--rank", 4).code == 0
    evaluate = ("evaluate", tmp_path / "m", "--test", files["test"], "--fold-in", files["fold-in"])
    found = recscale(*evaluate, "--json").json()
    assert found["n_users"] == 40
    assert found["metrics"]["recall@20"] > 0.3
    assert "40 users" in recscale(*evaluate).out
    for wrong in (split[:-4], ("split", data / "train.csv", *outs, "--overwrite"), (*split, "--users", "many")):
        assert recscale(*wrong).code == 2
