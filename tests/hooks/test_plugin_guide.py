"""The guide to writing an executor names every test of the kit, and shows the code of the example as it is."""

import re
from pathlib import Path

from recscale_dask.testing import ExecutorContract

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/plugins/write_an_executor.md").read_text()
EXAMPLE = ROOT / "examples/third_party_executor"


def squeezed(code: str) -> str:
    return re.sub(r"\s+", "", re.sub(r"^# .*\n", "", code))


def test_guide_names_every_test_of_the_kit_and_no_other() -> None:
    tests = {name for name in dir(ExecutorContract) if name.startswith("test_")}
    assert set(re.findall(r"`(test_\w+)`", GUIDE)) == tests


def test_code_of_the_guide_is_that_of_the_example() -> None:
    sources = squeezed("".join(path.read_text() for path in sorted(EXAMPLE.rglob("*.py"))))
    snippets = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    shown = [each for each in snippets if "known_gaps" not in each and "FaultyExecutor" not in each]
    assert len(shown) >= 6
    for snippet in shown:
        assert squeezed(snippet) in sources, snippet
