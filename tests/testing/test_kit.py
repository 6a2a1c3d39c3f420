"""The kit is tested too: executors that are wrong on purpose fail the test that is for it, and no other."""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recscale_dask.testing import ExecutorContract
from recscale_dask.testing.executor_contract import ExecutorContract as SameContract

GUIDE = Path(__file__).parents[2] / "docs" / "plugins" / "write_an_executor.md"
BROKEN = Path(__file__).with_name("broken_executors.py")
ALL = runpy.run_path(str(BROKEN))["ALL"]


@pytest.fixture(scope="module")
def failed(failures_of: Callable[[Path, int], dict[str, set[str]]]) -> dict[str, set[str]]:
    """The failed tests of each of them."""
    return failures_of(BROKEN, 20 * len(ALL))


@pytest.mark.parametrize("name", ALL)
def test_broken_executor_fails_its_test_and_no_other(name: str, failed: dict[str, set[str]]) -> None:
    expected = ALL[name].fails
    assert failed[f"Test{name}"] == ({expected} if expected else set())
    assert not expected or hasattr(ExecutorContract, expected)


def test_guide_names_each_test_of_the_kit() -> None:
    table = GUIDE.read_text().partition("## What the kit tests")[2].partition("\n\nA test that")[0]
    kit = {name for name in dir(ExecutorContract) if name.startswith("test_")}
    assert set(re.findall(r"`(test_\w+)`", table)) == kit


def test_each_test_of_the_kit_has_an_executor_that_fails_it() -> None:
    kit = {name for name in dir(ExecutorContract) if name.startswith("test_")}
    assert kit - {kind.fails for kind in ALL.values()} == set()


def test_known_gap_is_an_expected_failure(failed: dict[str, set[str]]) -> None:
    assert failed["TestKnownGap"] == set()


def test_gap_that_is_closed_is_noticed(failed: dict[str, set[str]]) -> None:
    assert failed["TestGapThatIsClosed"] == {"test_no_blocks_is_no_work"}


def test_known_gap_must_name_a_test_of_the_kit() -> None:
    with pytest.raises(TypeError, match="test_of_nothing"):
        type("TestOops", (ExecutorContract,), {"known_gaps": {"test_of_nothing": "a slip"}})


def test_kit_is_imported_on_first_use() -> None:
    assert ExecutorContract is SameContract
    code = "import sys, recscale_dask.testing.matrices; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
