"""The guides to writing a plugin name every test of their kit, and show the code of their example as it is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.solvers.base import Solver
from recscale_dask.testing import ExecutorContract, SolverContract

ROOT = Path(__file__).parents[2]
KITS = {"executor": ExecutorContract, "solver": SolverContract}
# Where code is from that the example has no use for: constants of this process, and a sum on the workers.
ALSO = {"executor": ["src/recscale_dask/execution/serial.py", "tests/testing/broken_executors.py"], "solver": []}


def guide(kind: str) -> str:
    return next((ROOT / "docs/plugins").glob(f"write_a*_{kind}.md")).read_text()


def snippets(kind: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", guide(kind), re.DOTALL)


def squeezed(code: str) -> str:
    return re.sub(r"\s+", "", re.sub(r"^# .*\n", "", code))


@pytest.mark.parametrize("kind", KITS)
def test_guide_names_every_test_of_the_kit_and_no_other(kind: str) -> None:
    tests = {name for name in dir(KITS[kind]) if name.startswith("test_")}
    assert set(re.findall(r"`(test_\w+)`", guide(kind))) == tests


@pytest.mark.parametrize("kind", KITS)
def test_code_of_the_guide_is_that_of_the_example(kind: str) -> None:
    example = ROOT / f"examples/third_party_{kind}"
    paths = [*sorted(example.rglob("*.py")), *(ROOT / path for path in ALSO[kind])]
    sources = squeezed("".join(path.read_text() for path in paths))
    others = ("known_gaps", "FaultyExecutor", "a skeleton")
    shown = [each for each in snippets(kind, "python") if not any(word in each for word in others)]
    assert len(shown) >= 6
    for snippet in shown:
        assert squeezed(snippet) in sources, snippet


@pytest.mark.parametrize("kind", KITS)
def test_skeleton_of_the_guide_can_be_made(kind: str) -> None:
    [skeleton] = [each for each in snippets(kind, "python") if "a skeleton" in each]
    made: dict[str, Any] = {}
    exec(compile(skeleton, "skeleton", "exec"), made)  # a dataclass looks its module up
    base = {"executor": Executor, "solver": Solver}[kind]
    [found] = [each for each in made.values() if isinstance(each, type) and issubclass(each, base) and each is not base]
    found()


@pytest.mark.parametrize("kind", [*KITS, "metric"])
def test_packages_of_the_guides_can_be_installed(kind: str) -> None:
    [package] = [tomllib.loads(each) for each in snippets(kind, "toml")]
    assert {"name", "version", "dependencies", "entry-points"} <= package["project"].keys()
    assert package["build-system"]
