"""Faults happen at the block and the attempt that the table names, and nowhere else."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.errors import BlockFailed, IncompleteRun, OptionError
from recscale_dask.execution.contract import Broadcast, Job, Outcome
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.portable import task_name
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.run import fold_blocks, map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.faults import Fault, FaultyExecutor, FaultyTask, attempts, missed
from recscale_dask.testing.leftovers import wait_until
from recscale_dask.types import Task


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


def test_late_answer_comes_after_its_work(tmp_path: Path) -> None:
    counted, worked = tmp_path / "counted", tmp_path / "worked"
    counted.mkdir()
    worked.mkdir()
    with FaultyExecutor(ThreadsExecutor(n_workers=2), (Fault(0, "late", seconds=1.0),), counted) as executor:
        outcomes = executor.outcomes(tasks.LeaveMark(worked), (Job(index, index) for index in range(2)), {})
        assert next(outcomes).index == 1
        assert wait_until(lambda: attempts(worked)[0] == 1, 0.5), "it is late with its work, not with its answer"
        late = next(outcomes)
    assert (late.index, late.value) == (0, 0)
    assert late.seconds >= 1.0


def test_sum_of_an_answer_that_comes_twice_counts_one_attempt_on_workers(tmp_path: Path) -> None:
    with FaultyExecutor(DaskExecutor(n_workers=2, shared_files=False), (Fault(1, "twice"),), tmp_path) as executor:
        assert executor.capabilities.folds
        with pytest.raises(IncompleteRun):
            fold_blocks(executor, tasks.echo, range(4))
        assert [attempts(tmp_path)[group] for group in (0, 1)] == [1, 1]
        assert fold_blocks(executor, tasks.echo, range(4)) == 6


class NamesTasks(SerialExecutor):
    """Notes what an engine's page would show."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        self.shown.append((self.label, task_name(task)))
        return super().outcomes(task, jobs, constants)


def test_pages_of_engines_show_the_run_and_the_task_inside() -> None:
    inner = NamesTasks()
    with FaultyExecutor(inner, ()) as executor:
        list(map_blocks(executor, tasks.echo, range(2), label="scores"))
        fold_blocks(executor, FaultyTask((), tasks.echo), range(2), label="svd pass 3")
        assert executor.label == "svd pass 3"
    assert inner.shown == [("scores", "echo"), ("svd pass 3", "echo")]


def test_counted_faults_need_a_folder() -> None:
    with pytest.raises(OptionError, match="give folder="):
        FaultyTask((Fault(1, "raise"),), tasks.echo)


def test_unknown_fault_says_which_there_are() -> None:
    with pytest.raises(OptionError, match=re.escape("raise, sleep, late, freeze, kill, twice; got 'hiccup'")):
        Fault(1, "hiccup")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"block": -1}, "block must be"), ({"attempt": 0}, "attempt must be"), ({"seconds": -1.0}, "seconds must be")],
)
def test_fault_that_can_never_happen_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Fault(**{"block": 1, "kind": "sleep", **wrong})


def test_faults_that_did_not_happen_are_named(tmp_path: Path) -> None:
    faults = (Fault(1, "raise"), Fault(1, "sleep", attempt=None), Fault(2, "raise", attempt=2), Fault(99, "raise"))
    with FaultyExecutor(SerialExecutor(), faults, str(tmp_path)) as executor:
        assert list(map_blocks(executor, tasks.echo, range(4))) == [0, 1, 2, 3]
    assert missed(faults, tmp_path) == [*faults[2:]]


def test_workers_cannot_be_killed_where_there_are_none(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match="executor 'threads' runs tasks in this process, where 'kill' cannot be tried"),
        FaultyExecutor(ThreadsExecutor(n_workers=2), (Fault(0, "kill"),), tmp_path),
    ):
        pass


def test_folder_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match=r"attempts are counted in a folder, and .* is none. Create it"),
        FaultyExecutor(SerialExecutor(), (), tmp_path / "nowhere"),
    ):
        pass
