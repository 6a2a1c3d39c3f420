"""The Python of the README and of the guide to recommending runs as it is pasted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCKS = {
    f"{path.name} {number}": block
    for path in (README, ROOT / "docs" / "guide" / "recommending.md")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
    if "import recscale_dask" in block
}


@pytest.mark.parametrize("name", BLOCKS)
def test_python_block_runs_as_pasted(name: str, tmp_path: Path) -> None:
    script = tmp_path / "pasted.py"
    script.write_text(BLOCKS[name])
    run = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_readme_names_every_executor() -> None:
    from recscale_dask import list_executors

    table = README.read_text()
    assert all(f"`{listing.name}`" in table for listing in list_executors() if listing.package.startswith("recscale"))
