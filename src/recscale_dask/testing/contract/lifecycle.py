"""An executor can be opened again, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recscale_dask.errors import BlockFailed
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures
from recscale_dask.testing.leftovers import leftovers, new_leftovers, open_files, wait_until
from recscale_dask.testing.process_state import ProcessState


class LifecycleContract(ExecutorFixtures):
    """Opening, closing, and what is there afterwards."""

    def test_opens_again_after_it_was_closed(self, unopened: Executor) -> None:
        for _ in range(2):
            with unopened as executor:
                assert list(map_blocks(executor, tasks.echo, range(5))) == list(range(5))
            executor.stop()

    def test_nothing_is_left_behind(
        self, unopened: Executor, make_executor: Callable[[], Executor], marks: Path
    ) -> None:
        # Once before: an engine may keep helpers, such as a resource tracker, for the life of the process.
        _open_and_work(unopened, marks)
        before, files = leftovers(), open_files()
        executor = make_executor()
        _open_and_work(executor, marks)
        assert new_leftovers(before, self.patience) == set()
        assert wait_until(lambda: not open_files() - files, self.patience), (
            f"files, sockets or pipes are still open that were not before: {sorted(open_files() - files)}"
        )

    def test_process_is_as_it_was(
        self,
        process_before: ProcessState,
        unopened: Executor,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        folder = tmp_path / "here"
        folder.mkdir()
        monkeypatch.chdir(folder)
        capfd.readouterr()
        with unopened as executor:
            list(map_blocks(executor, tasks.echo, range(8)))
        changed = list(process_before.changes())
        process_before.restore()
        if Path.cwd() != folder:
            changed.append(f"the working directory was {folder} and is {Path.cwd()}")
        changed += [f"the file {name} is new in the working directory" for name in os.listdir(folder)]
        printed = capfd.readouterr().out
        if printed:
            changed.append(f"stdout, which is for results, got {printed[:80]!r}: use logging or stderr")
        assert not changed, (
            f"opened, used and closed, the executor changed what belongs to the whole process: {'; '.join(changed)}. "
            "Put it back in stop(), or give it to workers alone"
        )


def _open_and_work(executor: Executor, marks: Path) -> None:
    """Use an executor as a run does: work, a constant, an error, and an early end."""
    with executor:
        constants = {"constant": np.zeros(1_000_000)}
        list(map_blocks(executor, tasks.fingerprint_of_constant, range(8), constants))
        with pytest.raises(BlockFailed):
            list(map_blocks(executor, tasks.FailOn(1, ValueError), range(8), retries=0))
        results = map_blocks(executor, tasks.LeaveMark(marks, 0.01), range(20))
        next(results)
        results.close()
