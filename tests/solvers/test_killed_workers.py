"""A worker that is killed in the middle of a fit changes nothing."""

import os
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.execution.events import Event, RunStarted


class KillsOneWorker:
    """An observer that kills one worker process while the fourth pass runs."""

    def __init__(self, others: set[int]) -> None:
        self.killed: list[int] = []
        self._others = others  # processes of other tests

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.label == "svd pass 4":
            threading.Timer(0.01, self._kill).start()

    def _kill(self) -> None:
        worker = next(each for each in workers_of_this_process() if each.pid not in self._others)
        worker.kill()
        self.killed.append(worker.pid)


def workers_of_this_process() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(each.cmdline())]


@pytest.fixture(scope="module")
def matrix() -> rs.UserItemMatrix:
    random = sp.random_array((20_000, 3_000), density=0.01, rng=np.random.default_rng(0), dtype=np.float32)
    return rs.UserItemMatrix.from_scipy(random)


@pytest.mark.parametrize("name", ["processes", "dask"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of the worker that was killed
def test_fit_ends_with_the_same_bytes_and_leaves_nothing(
    matrix: rs.UserItemMatrix, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = f"recscale-{os.getpid()}-"
    expected = rs.factorize(matrix, rank=16, executor="serial", progress=False).factors_sha256()
    others = {each.pid for each in workers_of_this_process()}
    kills = KillsOneWorker(others)
    with rs.open_executor(name, n_workers=2) as executor:
        model = rs.factorize(matrix, rank=16, executor=executor, progress=kills)
        recommended = model.recommend(k=3, executor=executor, progress=False)
    assert len(kills.killed) == 1
    assert model.factors_sha256() == expected
    assert recommended.num_rows == 3 * matrix.shape[0]
    assert not any(psutil.pid_exists(pid) for pid in kills.killed)
    assert not [path for folder in (tmp_path, Path("/dev/shm")) if folder.is_dir() for path in folder.glob(mine + "*")]
    assert {each.pid for each in workers_of_this_process()} <= others
