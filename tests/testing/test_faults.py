"""Faults happen at the block and the attempt that the table names, and nowhere else."""

import re
from collections import Counter
from pathlib import Path

import pytest

from recscale_dask.errors import BlockFailed, IncompleteRun, OptionError
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.faults import Fault, FaultyExecutor, FaultyTask, attempts


def test_block_fails_at_its_attempt_only(tmp_path: Path) -> None:
    task = FaultyTask((Fault(2, "raise", attempt=2), Fault(1, "raise")), tasks.echo, tmp_path)
    for _ in range(3):
        assert list(map_blocks(SerialExecutor(), task, range(4))) == [0, 1, 2, 3]
    assert attempts(tmp_path) == Counter({0: 3, 1: 4, 2: 4, 3: 3})


def test_block_that_always_raises_names_itself() -> None:
    task = FaultyTask((Fault(2, "raise", attempt=None),), tasks.echo)
    with pytest.raises(BlockFailed, match=r"block 2 failed 3 times .*PlantedError: planted: block 2"):
        list(map_blocks(SerialExecutor(), task, range(4)))


@pytest.mark.parametrize("run", [map_blocks, fold_blocks])
def test_answer_that_comes_twice_is_an_incomplete_run(run: object) -> None:
    with FaultyExecutor(SerialExecutor(), (Fault(1, "twice"),)) as executor, pytest.raises(IncompleteRun):
        list(run(executor, tasks.echo, range(4)))  # type: ignore[operator]


def test_workers_that_are_killed_and_frozen_change_no_sum(tmp_path: Path) -> None:
    expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(9))
    faults = (Fault(0, "kill"), Fault(1, "freeze", seconds=0.3), Fault(1, "raise", attempt=2))
    with FaultyExecutor(ProcessesExecutor(n_workers=2), faults, tmp_path) as executor:
        for _ in range(2):
            assert fold_blocks(executor, tasks.float32_partial, range(9)).tobytes() == expected.tobytes()
    assert attempts(tmp_path)[0] == attempts(tmp_path)[1] == 3


def test_counted_faults_need_a_folder() -> None:
    with pytest.raises(OptionError, match="give folder="):
        FaultyTask((Fault(1, "raise"),), tasks.echo)


def test_unknown_fault_says_which_there_are() -> None:
    with pytest.raises(OptionError, match=re.escape("raise, sleep, late, freeze, kill, twice; got 'hiccup'")):
        Fault(1, "hiccup")  # type: ignore[arg-type]
