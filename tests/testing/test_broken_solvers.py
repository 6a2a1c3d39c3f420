"""The kit of solvers is tested too: those that are wrong on purpose fail the test that is for it, and no other."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from recscale_dask.testing import SolverContract

BROKEN = Path(__file__).with_name("broken_solvers.py")
ALL = runpy.run_path(str(BROKEN))["ALL"]


@pytest.fixture(scope="module")
def failed(failures_of: Callable[[Path, int], dict[str, set[str]]]) -> dict[str, set[str]]:
    """The failed tests of each of them."""
    return failures_of(BROKEN, 15 * len(ALL))


@pytest.mark.parametrize("name", ALL)
def test_broken_solver_fails_its_test_and_no_other(name: str, failed: dict[str, set[str]]) -> None:
    expected = ALL[name].fails
    assert failed[f"Test{name}"] == {expected}


def test_every_test_of_the_kit_has_a_solver_that_fails_it() -> None:
    tests = {name for name in vars(SolverContract) if name.startswith("test_")}
    # No solver sees the order of the input rows: that a matrix does not depend on it is tested with the matrix.
    tests.remove("test_order_of_the_input_rows_changes_no_more_than_rounding")
    assert {kind.fails for kind in ALL.values()} == tests
