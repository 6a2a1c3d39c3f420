"""Each block is answered once, with what its task returned."""

from __future__ import annotations

import importlib
from collections import Counter
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest

from recscale_dask.execution.contract import CONTRACT, Executor, Job
from recscale_dask.execution.run import map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures
from recscale_dask.testing.matrices import PlantedSVD, planted_low_rank


class AnswersContract(ExecutorFixtures):
    """An executor is one, and its answers are whole, in order, and serial's."""

    def test_contract_number_is_that_of_the_core(self, executor: Executor) -> None:
        assert executor.contract == CONTRACT
        assert executor.name != Executor.name, "give the executor a name: errors mention it"

    def test_parallelism_is_at_least_one(self, executor: Executor) -> None:
        found = executor.parallelism
        assert isinstance(found, int), (
            f"parallelism is {found!r}, a {type(found).__name__}; expected an int: how many tasks run at once"
        )
        assert found >= 1, f"parallelism is {found}; expected at least 1: how many tasks run at once"

    def test_results_keep_block_order(self, executor: Executor) -> None:
        blocks = range(100)
        assert list(map_blocks(executor, tasks.echo_late_ones_first, blocks)) == list(blocks)

    def test_each_block_is_answered_once(self, executor: Executor) -> None:
        jobs = [Job(index, index) for index in range(110)]
        answers = Counter(outcome.index for outcome in executor.outcomes(tasks.echo, iter(jobs), {}))
        assert answers == Counter(range(110))

    def test_no_blocks_is_no_work(self, executor: Executor) -> None:
        assert list(map_blocks(executor, tasks.echo, [])) == []

    def test_placed_blocks_arrive(self, executor: Executor) -> None:
        arrays = [np.arange(i, i + 1000.0) for i in range(4)]
        placed = [executor.place(array) for array in arrays]
        try:
            results = list(map_blocks(executor, tasks.fingerprint, placed))
        finally:
            for block in placed:
                block.release()
        assert results == [tasks.fingerprint(array) for array in arrays]

    def test_functions_of_a_script_run_too(self, executor: Executor) -> None:
        offset = 10  # closures and lambdas cannot be imported by a worker

        assert list(map_blocks(executor, lambda block: block + offset, range(5))) == [10, 11, 12, 13, 14]

    @pytest.mark.parametrize("task", [tasks.one_array, tasks.several_arrays], ids=["one", "several"])
    def test_arrays_come_back_to_the_last_bit(self, executor: Executor, task: Any) -> None:
        found = list(map_blocks(executor, task, range(12)))  # all, before the first is looked at
        for block, result in enumerate(found):
            got, wanted = _arrays_of(result), _arrays_of(task(block))
            told = [(array.dtype.str, array.shape) for array in got]
            expected = [(array.dtype.str, array.shape) for array in wanted]
            assert told == expected, (
                f"block {block} returned arrays {expected}; {told} came back. A result has to travel with its dtype "
                "and shape, as pickle keeps them"
            )
            # As one truth: on CI, pytest compares long bytes letter by letter to explain them, which takes for ever.
            assert all(ours.tobytes() == theirs.tobytes() for ours, theirs in zip(got, wanted, strict=True)), (
                f"the arrays that block {block} returned came back with other bytes. A result has to travel as it is "
                "(not as text, nor in another precision), and its memory must not be used for the next one: the core "
                "keeps results"
            )

    def test_two_runs_at_once_get_their_own_answers(self, executor: Executor) -> None:
        first: Any = map_blocks(executor, tasks.scaled, range(24), {"factor": 2})
        second: Any = map_blocks(executor, tasks.scaled, range(16), {"factor": 1000})
        firsts, seconds = [], []
        for _ in range(10):
            firsts.append(next(first))
            seconds.append(next(second))
        second.close()  # nobody wants its rest; that of the other is wanted
        firsts += first
        assert (firsts, seconds) == ([2 * block for block in range(24)], [1000 * block for block in range(10)]), (
            "two runs were asked in turn, and one got answers of the other, or none: outcomes() may be called again "
            "before an earlier iterator is at its end. Keep what is under way with the iterator, not with the executor"
        )

    def test_two_threads_get_their_own_answers(self, executor: Executor) -> None:
        found: dict[int, Any] = {}

        def run(first: int) -> None:
            try:
                found[first] = list(map_blocks(executor, tasks.echo_late_ones_first, range(first, first + 30)))
            except Exception as error:
                found[first] = error

        threads = [Thread(target=run, args=(first,), daemon=True) for first in (0, 1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == {first: list(range(first, first + 30)) for first in (0, 1000)}, (
            "two threads ran blocks on one executor, and one got answers of the other, an error, or none within a "
            "minute: an open executor may serve several threads. Guard what runs share, such as pipes, with a lock"
        )

    def test_factors_are_those_of_serial(self, executor: Executor) -> None:
        planted, matrix, expected = _planted()
        assert len(matrix.sources) >= 4, "the test needs several blocks"
        model = _recscale().factorize(matrix, rank=3, executor=executor, seed=0)
        assert model.factors_sha256() == expected.factors_sha256(), "the factors have other bits than those of serial"
        np.testing.assert_allclose(model.singular_values, planted.singular_values[:3], rtol=1e-5)


def _recscale() -> Any:
    """Return the package, by its name: the kit lies below the api in the order of imports."""
    return importlib.import_module("recscale_dask")


@cache  # a kit of kits asks for it fifty times
def _planted() -> tuple[PlantedSVD, Any, Any]:
    """Return a known matrix as it is and in blocks, and the model of it on the serial executor."""
    planted = planted_low_rank(4000, 300, (9.0, 5.0, 3.0, 2.0), density=0.25, seed=3)
    matrix = _recscale().UserItemMatrix.from_scipy(planted.matrix)
    return planted, matrix, _recscale().factorize(matrix, rank=3, executor=SerialExecutor(), seed=0)


def _arrays_of(result: Any) -> list[Any]:
    return [np.asarray(array) for array in (result if isinstance(result, tuple) else (result,))]
