import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from recscale_dask.execution.contract import Job
from recscale_dask.execution.portable import (
    FoldTask,
    add,
    fold_tree,
    run_job,
    single_threaded_blas,
)
from recscale_dask.testing import tasks

# -- sums --------------------------------------------------------------------------------------------


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


@pytest.mark.parametrize(
    ("letters", "tree"),
    [
        ("a", "a"),
        ("ab", "(ab)"),
        ("abc", "((ab)c)"),
        ("abcd", "((ab)(cd))"),
        ("abcde", "(((ab)(cd))e)"),
        ("abcdefg", "(((ab)(cd))((ef)g))"),
    ],
)
def test_tree_is_fixed_by_position(letters: str, tree: str) -> None:
    assert fold_tree(iter(letters), pair) == tree


@given(n=st.integers(1, 200), level=st.integers(0, 8))
def test_tree_is_the_same_whichever_aligned_groups_are_added_first(n: int, level: int) -> None:
    leaves = [str(i % 10) for i in range(n)]
    groups = [leaves[start : start + 2**level] for start in range(0, n, 2**level)]
    assert fold_tree((fold_tree(iter(group), pair) for group in groups), pair) == fold_tree(iter(leaves), pair)


@given(n=st.integers(1, 70), level=st.integers(0, 6))
def test_float32_sums_of_aligned_groups_have_the_same_bits(n: int, level: int) -> None:
    size = 2**level
    whole = fold_tree((tasks.float32_partial(i) for i in range(n)), add)
    group = FoldTask(tasks.float32_partial, add)
    grouped = fold_tree((group(range(start, min(start + size, n))).value for start in range(0, n, size)), add)
    assert grouped.tobytes() == whole.tobytes()


def test_tree_holds_few_results_at_a_time() -> None:
    alive, most = 0, 0

    class Result:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    fold_tree((Result() for _ in range(1000)), lambda left, right: left)
    assert most <= 13


def test_nothing_cannot_be_folded() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fold_tree(iter([]), add)


def test_add_writes_into_the_first_array_where_it_may() -> None:
    left, right = np.ones(3), np.ones(3)
    assert add(left, right) is left
    left.flags.writeable = False
    assert add(left, right) is not left
    assert left.tolist() == [2, 2, 2]


@pytest.mark.parametrize(("left", "right"), [("f4", "f8"), ("i4", "f4"), ("f8", "f4")])
def test_add_has_one_dtype_whether_it_may_write_or_not(left: str, right: str) -> None:
    frozen = np.ones(3, left)
    frozen.flags.writeable = False
    free = add(np.ones(3, left), np.ones(3, right))
    assert free.dtype == add(frozen, np.ones(3, right)).dtype == np.result_type(left, right)


def test_add_adds_tuples_item_by_item_and_broadcasts() -> None:
    counts, total = add((np.ones(2), 1), (np.ones(2), 2))
    assert (counts.tolist(), total) == ([2, 2], 3)
    assert add(np.ones((1, 2)), np.ones((3, 2))).shape == (3, 2)


# -- one job -----------------------------------------------------------------------------------------


def test_error_of_a_task_is_data_with_its_traceback() -> None:
    outcome = run_job(tasks.FailOn(3, LookupError), Job(9, 3), {})
    assert (outcome.index, outcome.error) == (9, "LookupError: planted")
    assert "FailOn" in outcome.traceback or "tasks.py" in outcome.traceback


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_interrupt_is_not_data(signal: type[BaseException]) -> None:
    def interrupted(block: int) -> None:
        raise signal

    with pytest.raises(signal):
        run_job(interrupted, Job(0, 0), {})


@dataclass
class Once:
    """A recipe that counts how often it was loaded."""

    value: Any
    loads: int = 0

    def load(self) -> Any:
        self.loads += 1
        return self.value


def test_recipes_are_loaded_for_the_task() -> None:
    payload, constant = Once(np.arange(3)), Once(10)
    outcome = run_job(tasks.scaled, Job(0, payload), {"factor": constant})
    assert outcome.value.tolist() == [0, 10, 20]
    assert (payload.loads, constant.loads) == (1, 1)


def test_arrays_reach_the_task_read_only_and_stay_writable_here() -> None:
    array = np.zeros(3)
    assert run_job(tasks.try_to_edit, Job(0, 0), {"constant": array}).value == "refused"
    assert run_job(lambda block: block.flags.writeable, Job(0, array), {}).value is False
    assert array.flags.writeable


# -- threads -----------------------------------------------------------------------------------------


def blas_threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_blas_has_one_thread_until_the_last_of_overlapping_users_is_done() -> None:
    with single_threaded_blas():  # loads every BLAS there is
        pass
    before = blas_threads()
    inside, leave = threading.Barrier(2), threading.Event()

    def stay() -> None:
        with single_threaded_blas():
            inside.wait(10)
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with single_threaded_blas():
        thread.start()
        inside.wait(10)
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {1}, "the other thread is still inside"
    leave.set()
    thread.join()
    assert blas_threads() == before


def test_blas_limits_are_restored_after_an_error() -> None:
    before = blas_threads()
    with pytest.raises(ValueError, match="planted"), single_threaded_blas():
        raise ValueError("planted")
    assert blas_threads() == before


def test_blas_is_limited_by_any_thread_though_another_limited_it_before() -> None:
    seen: list[set[int]] = []

    def limited() -> None:
        with single_threaded_blas():
            seen.append(set(blas_threads()))

    before = blas_threads()
    with threadpool_limits(limits=max(before), user_api="blas"):  # the main thread owns the limits now
        thread = threading.Thread(target=limited)
        thread.start()
        thread.join()
    assert seen == [{1}]
    assert blas_threads() == before


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_error_that_cannot_be_printed_is_told_by_its_type() -> None:
    def fails(block: int) -> None:
        raise Unprintable

    outcome = run_job(fails, Job(7, 0), {})
    assert (outcome.index, outcome.error) == (7, "Unprintable")
