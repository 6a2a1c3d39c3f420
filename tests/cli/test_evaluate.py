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
