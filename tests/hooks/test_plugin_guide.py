"""The guides to writing a plugin name every test of their kit, and show the code of their example as it is."""

import re
from pathlib import Path

import pytest

from recscale_dask.testing import ExecutorContract, SolverContract

ROOT = Path(__file__).parents[2]
KITS = {"executor": ExecutorContract, "solver": SolverContract}


def guide(kind: str) -> str:
    return next((ROOT / "docs/plugins").glob(f"write_a*_{kind}.md")).read_text()


def squeezed(code: str) -> str:
    return re.sub(r"\s+", "", re.sub(r"^# .*\n", "", code))


@pytest.mark.parametrize("kind", KITS)
def test_guide_names_every_test_of_the_kit_and_no_other(kind: str) -> None:
    tests = {name for name in dir(KITS[kind]) if name.startswith("test_")}
    assert set(re.findall(r"`(test_\w+)`", guide(kind))) == tests


@pytest.mark.parametrize("kind", KITS)
def test_code_of_the_guide_is_that_of_the_example(kind: str) -> None:
    example = ROOT / f"examples/third_party_{kind}"
    sources = squeezed("".join(path.read_text() for path in sorted(example.rglob("*.py"))))
    snippets = re.findall(r"```python\n(.*?)```", guide(kind), re.DOTALL)
    shown = [each for each in snippets if "known_gaps" not in each and "FaultyExecutor" not in each]
    assert len(shown) >= 6
    for snippet in shown:
        assert squeezed(snippet) in sources, snippet
