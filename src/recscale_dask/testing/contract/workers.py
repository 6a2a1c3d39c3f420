"""Where tasks run, how often, and what happens when a worker dies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from recscale_dask.errors import BlockFailed, WorkerLost
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures, needs_isolation
from recscale_dask.testing.faults import Fault, FaultyTask, attempts


class WorkersContract(ExecutorFixtures):
    """Nothing runs again that was done, and the executor survives its workers."""

    def test_isolated_says_where_tasks_run(self, executor: Executor) -> None:
        here = tasks.process_of(0)
        elsewhere = [process != here for process in map_blocks(executor, tasks.process_of, range(8))]
        isolated = executor.capabilities.isolated
        assert elsewhere == [isolated] * 8, (
            f"{sum(elsewhere)} of 8 tasks ran in another process than this one, and capabilities say "
            f"isolated={isolated}; expected isolated={not isolated} if that is how it is to be. What is said decides "
            "whether blocks are placed, and whether the tests of dead workers run"
        )

    def test_blas_has_one_thread_in_a_task(self, executor: Executor) -> None:
        with threadpool_limits(2, user_api="blas"):  # else it may have one in any case
            threads = list(map_blocks(executor, tasks.blas_threads, range(4)))
        assert threads == [1] * 4, (
            f"BLAS had {threads} threads in four tasks; expected 1: products of other numbers of threads have other "
            "bits, and threads times workers are slow. Run each job on its worker through "
            "recscale_dask.execution.portable.run_job"
        )

    def test_only_failed_blocks_are_retried(self, executor: Executor, marks: Path) -> None:
        task = FaultyTask((Fault(2, "raise"), Fault(5, "raise")), tasks.echo, marks)
        assert list(map_blocks(executor, task, range(8))) == list(range(8))
        assert attempts(marks) == Counter({block: 2 if block in (2, 5) else 1 for block in range(8)})

    def test_executor_does_not_retry(self, executor: Executor, marks: Path) -> None:
        task = FaultyTask((Fault(2, "raise", attempt=None),), tasks.echo, marks)
        with pytest.raises(BlockFailed):
            list(map_blocks(executor, task, range(4), retries=0))
        assert attempts(marks)[2] == 1, (
            f"a block that fails was run {attempts(marks)[2]} times for one job; expected 1: the core retries, and "
            "counts. Switch off the engine's own retries"
        )

    def test_after_a_dead_worker_the_executor_still_serves(self, unopened: Executor, marks: Path) -> None:
        with unopened as executor:
            needs_isolation(executor)
            blocks = list(range(8))
            sent = executor.broadcast(np.arange(100.0))
            expected = [(block, tasks.fingerprint(np.arange(100.0))) for block in blocks]
            task = FaultyTask((Fault(3, "kill"),), tasks.fingerprint_of_constant, marks)
            try:
                results = list(map_blocks(executor, task, blocks, {"constant": sent}))
            except WorkerLost:
                results = expected
            assert results == expected
            assert attempts(marks)[3], "no worker was killed"
            # As many at a time as there are workers, so that a new one gets some too.
            meet = tasks.Meet(marks, min(2, executor.parallelism))
            assert list(map_blocks(executor, meet, blocks, {"constant": sent})) == expected, (
                "the next run after a worker died went wrong: one that takes its place needs the constants that were "
                "sent before"
            )
            sent.release()

    def test_sum_with_a_dead_worker_is_right_or_lost(self, unopened: Executor, marks: Path) -> None:
        expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(9))
        with unopened as executor:
            needs_isolation(executor)
            task = FaultyTask((Fault(4, "kill"),), tasks.float32_partial, marks)
            try:
                total = fold_blocks(executor, task, range(9))
            except WorkerLost:
                total = expected
            assert attempts(marks)[4], "no worker was killed"
            assert total.tobytes() == expected.tobytes()

    def test_block_that_always_kills_its_worker_ends_in_worker_lost(self, unopened: Executor) -> None:
        with unopened as executor:
            needs_isolation(executor)
            task = FaultyTask((Fault(1, "kill", attempt=None),), tasks.echo)
            with pytest.raises(WorkerLost, match=executor.name):
                list(map_blocks(executor, task, range(4), retries=0))
