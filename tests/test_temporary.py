"""Temporary folders: those of processes that were killed are deleted, and no others."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from recscale_dask import temporary
from recscale_dask.temporary import TemporaryFolder
from recscale_dask.testing.leftovers import wait_until

HOLDER = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from recscale_dask.temporary import TemporaryFolder

def wait():
    time.sleep(100)

if __name__ == "__main__":
    folder = TemporaryFolder()
    Path(folder.path, "file").touch()
    child = 0
    if sys.argv[1] == "fork":
        child = os.fork()
        if child == 0:
            wait()
    elif sys.argv[1] == "program":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], close_fds=False).pid
    elif sys.argv[1] in ("spawn", "forkserver"):
        process = multiprocessing.get_context(sys.argv[1]).Process(target=wait)
        process.start()
        child = process.pid
    print(folder.path, child, flush=True)
    wait()
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def holder(tmp_path, child="none"):
    """Yield a process that holds a folder, the folder, and the number of its child, if it has one."""
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    with subprocess.Popen([sys.executable, script, child], stdout=subprocess.PIPE, text=True) as process:
        path, number = process.stdout.readline().split()
        yield process, Path(path), int(number)
        process.kill()


def test_folder_is_there_until_it_is_closed(place):
    with TemporaryFolder() as folder:
        Path(folder.path, "file").touch()
        assert folder.path.parent == place
        assert f"-{os.getpid()}-" in folder.path.name
    assert not folder.path.exists()
    folder.close()


def test_folder_that_is_closed_twice_does_not_let_go_of_the_next():
    first = TemporaryFolder()
    first.close()
    with TemporaryFolder() as second:  # its lock has the number that the first one's had
        first.close()
        with TemporaryFolder():
            assert second.path.exists()


def test_folder_of_a_killed_process_is_deleted_by_the_next_and_that_of_a_living_one_kept(tmp_path):
    with holder(tmp_path) as (process, path, _):
        with TemporaryFolder():
            assert Path(path, "file").exists()
        process.kill()
        process.wait()
        assert path.exists()
        with TemporaryFolder():
            assert not path.exists()


@pytest.mark.parametrize("how", ["fork", "program", "spawn", "forkserver"])
def test_children_do_not_hold_the_folder_of_their_parent(tmp_path, how):
    with holder(tmp_path, how) as (process, path, child):
        process.kill()
        process.wait()
        try:
            # A child that has only just been started may still be about to close it.
            assert wait_until(lambda: TemporaryFolder().close() or not path.exists(), 10)
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)


def test_forked_child_does_not_delete_the_folder_of_its_parent():
    with TemporaryFolder() as folder:
        child = multiprocessing.get_context("fork").Process(target=folder.close)
        child.start()
        child.join()
        assert child.exitcode == 0
        assert folder.path.exists()
        with TemporaryFolder():
            assert folder.path.exists()  # nor let it go


def test_what_others_have_made_stays(place, monkeypatch):
    (place / "recscale-1-theirs").mkdir()
    (place / "elsewhere").mkdir()
    link = place / f"recscale-1-x{temporary._suffix()}"
    link.symlink_to(place / "elsewhere")
    other_machine = place / "recscale-1-x.another.held"
    other_machine.mkdir()
    with TemporaryFolder():
        assert {each.name for each in place.iterdir()} >= {
            "recscale-1-theirs", "elsewhere", link.name, other_machine.name
        }  # fmt: skip
    folder = TemporaryFolder()
    folder._let_go()  # as if its process had been killed
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with TemporaryFolder():
        assert folder.path.exists()


def test_folder_that_is_deleted_before_it_is_locked_is_made_again(place, monkeypatch):
    opened = temporary._opened
    gone = []

    def deleted(path):
        lock = opened(path)
        if not gone and path.parent == place:  # and not in shared memory, where others are at work
            gone.append(path)
            path.rmdir()
        return lock

    monkeypatch.setattr(temporary, "_opened", deleted)
    with TemporaryFolder() as folder:
        assert folder.path.exists()
        assert gone != [folder.path]


def test_many_processes_at_a_time_keep_their_own(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from recscale_dask.temporary import TemporaryFolder\n"
        "for _ in range(200):\n"
        "    with TemporaryFolder() as folder:\n"
        "        Path(folder.path, 'file').write_text('mine')\n"
        "        assert Path(folder.path, 'file').read_text() == 'mine'\n"
    )
    many = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in many] == [0] * 4
    assert not list(tmp_path.iterdir())
