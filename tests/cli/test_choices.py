"""Which executor was chosen, and why, is told by each command that chooses one; never among the answers of --json."""

from pathlib import Path

import pytest

NOTE = "note: on serial, as it is done in a blink."
COMMANDS = {
    "recommend": ("recommend", "{model}", "--out", "{out}/r.parquet"),
    "fold-in": ("fold-in", "{model}", "{data}/test.csv", "--out", "{out}/f.parquet"),
    "evaluate": ("evaluate", "{model}", "--test", "{data}/test.csv"),
    "report": ("report", "{model}", "--out", "{out}/r.html", "--test", "{data}/test.csv"),
    "tune": ("tune", "{data}/train.csv", "--trials", "2", "--set", "rank=2", "--metrics", "recall@5"),
    "advise": ("advise", "{data}/train.csv", "--rank", "4", "--filter", "none", "--metrics", "recall@5"),
}


@pytest.fixture
def run(recscale, data: Path, model: Path, tmp_path: Path):
    def run(name, *more):
        return recscale(*(each.format(data=data, model=model, out=tmp_path) for each in COMMANDS[name]), *more)

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_choice_is_told_once_with_its_reason(run, name) -> None:
    ran = run(name, "--no-progress")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines().count(NOTE) == 1


@pytest.mark.parametrize("more", [("--json",), ("--executor", "serial")])
def test_nothing_is_told_in_json_or_of_an_executor_that_was_named(run, more) -> None:
    ran = run("recommend", *more)
    assert (ran.code, ran.err) == (0, "")


def test_a_fit_tells_it_in_its_answer(recscale, data: Path, tmp_path: Path) -> None:
    fit = ("fit", data / "train.csv", "--rank", 2)
    ran = recscale(*fit, "--out", tmp_path / "chosen")
    assert " s on serial, as it is done in a blink.\n" in ran.out
    assert ran.err == ""
    assert (
        " s on threads, as it was asked for.\n" in recscale(*fit, "--out", tmp_path / "m", "--executor", "threads").out
    )


def test_a_later_call_of_the_library_tells_nothing(run, model: Path, capsys) -> None:
    import recscale_dask as rs

    assert NOTE in run("recommend").err
    rs.load_model(model).recommend(k=1)
    assert capsys.readouterr().err == ""
