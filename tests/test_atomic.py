import subprocess
import sys
from pathlib import Path

import pytest

from recscale_dask import atomic
from recscale_dask.atomic import check_output, written_beside
from recscale_dask.errors import OutputError


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_file_appears_when_it_is_whole(tmp_path):
    with written_beside(tmp_path / "out.txt") as beside:
        beside.write_text("new")
        assert not (tmp_path / "out.txt").exists()
    assert (tmp_path / "out.txt").read_text() == "new"
    assert names(tmp_path) == ["out.txt"]


def test_folder_appears_when_it_is_whole(tmp_path):
    with written_beside(str(tmp_path / "out")) as beside:
        beside.mkdir()
        (beside / "part").write_text("new")
    assert (tmp_path / "out" / "part").read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("folder", [False, True])
def test_failure_leaves_the_old_and_nothing_else(tmp_path, folder):
    old = tmp_path / "out"
    old.mkdir() if folder else old.write_text("old")

    def fail():
        with written_beside(old, overwrite=True) as beside:
            beside.mkdir() if folder else beside.write_text("half")
            raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        fail()
    assert names(tmp_path) == ["out"]
    assert old.is_dir() == folder


def test_what_is_there_is_replaced_only_if_asked_for(tmp_path):
    old = tmp_path / "out"
    old.mkdir()
    (old / "a").write_text("old")
    with pytest.raises(OutputError, match="exists already"), written_beside(old):
        pytest.fail("entered")
    with written_beside(old, overwrite=True) as beside:
        beside.mkdir()
        (beside / "b").write_text("new")
    assert names(old) == ["b"]
    assert names(tmp_path) == ["out"]


def test_file_never_replaces_a_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one").write_text("dear")
    with (
        pytest.raises(OutputError, match="it is a folder"),
        written_beside(tmp_path / "photos", overwrite=True) as beside,
    ):
        beside.write_text("new")
    assert (tmp_path / "photos" / "one").read_text() == "dear"
    assert names(tmp_path) == ["photos"]


@pytest.fixture
def without_exchange(monkeypatch):
    """A disk on which two folders cannot change places."""
    monkeypatch.setattr(atomic, "_exchanged", lambda one, other: False)


def test_two_paths_change_places(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if atomic._exchanged(tmp_path / "one", tmp_path / "other"):  # else this disk cannot do it
        assert (names(tmp_path / "one"), names(tmp_path / "other")) == (["other"], ["one"])
    assert not atomic._exchanged(tmp_path / "one", tmp_path / "none")
    assert names(tmp_path) == ["one", "other"]


def test_folder_is_replaced_where_two_cannot_change_places(tmp_path, without_exchange):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with written_beside(tmp_path / "out", overwrite=True) as beside:
        beside.mkdir()
        (beside / "b").write_text("new")
    assert names(tmp_path / "out") == ["b"]
    assert names(tmp_path) == ["out"]


def test_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, without_exchange):
    old = tmp_path / "out"
    old.mkdir()
    (old / "a").write_text("old")
    rename = Path.rename

    def fail(path, target):
        if target == old and not path.name.endswith(".old"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left"), written_beside(old, overwrite=True) as beside:
        beside.mkdir()
    assert (old / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_killed_writer_left_is_deleted_by_the_next_and_readers_pass_over_it(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from recscale_dask.atomic import written_beside\n"
        "with written_beside(sys.argv[1]) as beside:\n"
        "    beside.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "one.csv"], timeout=60)
    (left,) = names(tmp_path)
    assert left.startswith(".")
    with written_beside(tmp_path / "other.csv") as beside:
        beside.write_text("whole")
    assert names(tmp_path) == ["other.csv"]


def test_error_of_the_disk_names_the_path(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*out: No space left"), written_beside(tmp_path / "out"):
        raise OSError(28, "No space left on device")


def test_missing_parent_and_existing_path_are_found_early(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(tmp_path / "nowhere" / "out")
    with pytest.raises(OutputError, match="exists already"):
        check_output(tmp_path)
    check_output(tmp_path, overwrite=True)
    check_output(tmp_path / "new")


def test_a_folder_that_may_only_be_read_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "access", lambda folder, rights: folder != tmp_path)
    with pytest.raises(
        OutputError, match=f"cannot write .*its folder {tmp_path} may not be written to. Choose another"
    ):
        check_output(tmp_path / "out")
