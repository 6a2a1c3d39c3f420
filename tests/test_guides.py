"""The Python of guides that are one program runs from top to bottom."""

import re
import subprocess
import sys
from pathlib import Path

GUIDES = Path(__file__).parents[1] / "docs" / "guide"


def pasted(guide: str, tmp_path: Path) -> str:
    """Run the Python of a guide, and return what it prints."""
    script = tmp_path / "pasted.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", (GUIDES / guide).read_text(), re.DOTALL)))
    run = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_guide_to_long_fits_runs_as_pasted(tmp_path: Path) -> None:
    pasted("long-fits.md", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "pasted.py", "ratings.store", "state"]


def test_guide_to_growing_data_runs_as_pasted(tmp_path: Path) -> None:
    pasted("growing.md", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "pasted.py", "ratings.store"]


def test_guide_to_new_users_runs_as_pasted(tmp_path: Path) -> None:
    *_, of_like_people, of_strangers = pasted("new-users.md", tmp_path).splitlines()
    assert "No refit advised" in of_like_people
    assert "Refit advised" in of_strangers
    assert (tmp_path / "newcomers").is_dir()
    assert (tmp_path / "scores.parquet").is_file()


def test_guide_to_evaluating_runs_as_pasted(tmp_path: Path) -> None:
    text = pasted("evaluating.md", tmp_path)
    assert "Over 1,000 users." in text
    assert "popularity  0." in text


def test_guide_to_ingest_runs_as_pasted(tmp_path: Path) -> None:
    first, *_, planned, last = pasted("ingest.md", tmp_path).splitlines()
    assert planned.startswith("True ")
    assert first.startswith("UserItemMatrix(5000 users x 800 items")
    assert first.endswith("True")
    assert last.startswith("True ")


def test_guide_to_graph_filters_runs_as_pasted(tmp_path: Path) -> None:
    assert pasted("graph-filters.md", tmp_path).count("'rank'") == 3


def test_guide_to_alternating_least_squares_runs_as_pasted(tmp_path: Path) -> None:
    printed = pasted("als.md", tmp_path)
    assert printed.startswith("[")


def test_guide_to_models_runs_as_pasted(tmp_path: Path) -> None:
    assert "Suggested: rank" in pasted("which-model.md", tmp_path)
    assert {"report.html", "tuning.html"} <= {each.name for each in tmp_path.iterdir()}


def test_guide_to_pools_runs_as_pasted(tmp_path: Path) -> None:
    assert pasted("pools.md", tmp_path) == "3\n"
