"""Constants arrive unchanged, once per worker, read-only, and are forgotten."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import BIG_BYTES, ExecutorFixtures
from recscale_dask.testing.leftovers import folders, wait_until


class ConstantsContract(ExecutorFixtures):
    """What is sent once to every worker."""

    @pytest.mark.parametrize(
        "constant",
        [
            np.linspace(0, 1, 7),
            np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
            np.arange(20, dtype=np.int32)[::3],
            np.zeros((0, 5)),
        ],
        ids=["float64", "fortran order", "strided", "empty"],
    )
    def test_constant_arrives_unchanged(self, executor: Executor, constant: Any) -> None:
        results = list(map_blocks(executor, tasks.fingerprint_of_constant, range(5), {"constant": constant}))
        assert results == [(block, tasks.fingerprint(constant)) for block in range(5)]

    def test_big_constant_arrives_unchanged(self, executor: Executor) -> None:
        constant = np.arange(BIG_BYTES // 4, dtype=np.float32).reshape(-1, 100)
        results = list(map_blocks(executor, tasks.fingerprint_of_constant, range(4), {"constant": constant}))
        expected = tasks.fingerprint(constant)
        assert results == [(block, expected) for block in range(4)]

    def test_constants_keep_their_names(self, executor: Executor) -> None:
        constants = {"weights": np.linspace(0, 1, 5), "names": {"a": 1, "b": (2, "c")}}
        found = list(map_blocks(executor, tasks.told_constants, range(4), constants))
        expected = [tasks.told_constants(block, **constants) for block in range(4)]  # type: ignore[arg-type]
        assert found == expected, "each constant has to reach the task under the name that it was sent by"

    def test_constant_serves_many_runs_and_is_released_twice(self, executor: Executor) -> None:
        sent = executor.broadcast(np.arange(100.0))
        for _ in range(2):
            found = list(map_blocks(executor, tasks.fingerprint_of_constant, range(3), {"constant": sent}))
            assert found == [(block, tasks.fingerprint(np.arange(100.0))) for block in range(3)]
        sent.release()
        sent.release()  # once more does no harm
        assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]

    def test_task_cannot_edit_a_constant(self, executor: Executor) -> None:
        constant = np.arange(1000.0)
        told = list(map_blocks(executor, tasks.try_to_edit, range(6), {"constant": constant}))
        assert told == ["refused"] * 6, (
            f"tasks could write into a constant ({told.count('edited')} of 6 did): run each job on its worker through "
            "recscale_dask.execution.portable.run_job, which makes arrays read-only"
        )
        assert constant[0] == 0

    def test_task_cannot_edit_its_block(self, executor: Executor) -> None:
        told = list(map_blocks(executor, tasks.try_to_edit_block, [np.arange(10.0) for _ in range(6)]))
        assert told == ["refused"] * 6, (
            f"tasks could write into their block ({told.count('edited')} of 6 did), which others may share: run each "
            "job on its worker through recscale_dask.execution.portable.run_job, which makes arrays read-only"
        )

    def test_constant_is_sent_once_per_worker(self, executor: Executor) -> None:
        constant = tasks.CountedConstant(np.zeros(BIG_BYTES // 8))
        n_blocks = 5 * executor.parallelism + 5
        seen = list(map_blocks(executor, tasks.how_it_came, range(n_blocks), {"constant": constant}))
        pickled = tasks.PICKLES[constant.name]
        assert pickled <= executor.parallelism + 1, f"pickled {pickled} times for {n_blocks} blocks"
        unpickled = {process: loads for process, loads, mapped in seen if loads > 1 and not mapped}
        assert not unpickled, f"copied again and again on workers (process: times): {unpickled}"

    def test_released_constant_is_forgotten(self, executor: Executor) -> None:
        before = _memory(executor)
        constant = tasks.CountedConstant(np.zeros(BIG_BYTES // 8))
        alive = weakref.ref(constant)
        list(map_blocks(executor, tasks.how_it_came, range(4), {"constant": constant}))
        del constant
        assert wait_until(lambda: alive() is None, self.patience), "the driver still holds a constant after the run"
        assert wait_until(lambda: _bytes_in_folders() < BIG_BYTES, self.patience), (
            "its file is still there after the run"
        )
        # A worker may forget with its next job.
        assert wait_until(lambda: not _grown(before, _memory(executor)), self.patience), (
            f"memory grew by that of a constant of {BIG_BYTES / 1e6:.0f} MB that was released, and stayed so: "
            f"{_grown(before, _memory(executor))}. release() has to free it, pickled copies too, on the driver and on "
            "each worker, with its next job at the latest"
        )


def _bytes_in_folders() -> int:
    total = 0
    for folder in folders():
        for file in (folder, *folder.rglob("*")):
            with suppress(FileNotFoundError):  # deleted meanwhile, which is what we wait for
                total += file.stat().st_size
    return total


def _memory(executor: Executor) -> dict[tuple[str, int], int]:
    """Return the bytes that each process has for itself: those that answer, and this one."""
    found = list(map_blocks(executor, tasks.own_memory, range(4 * executor.parallelism)))
    return dict([*found, tasks.own_memory(0)])


def _grown(before: dict[tuple[str, int], int], now: dict[tuple[str, int], int]) -> list[str]:
    grown = {process: now[process] - before[process] for process in now.keys() & before.keys()}
    names = {tasks.process_of(0): "the driver"}
    return [
        f"{names.get(process, f'process {process[1]}')} by {growth / 1e6:.0f} MB"
        for process, growth in grown.items()
        if growth > 0.6 * BIG_BYTES
    ]
