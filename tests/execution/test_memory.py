"""The least of what the machine and the control groups of this process leave to it."""

from pathlib import Path

import pytest

from recscale_dask.execution import memory


def group(folder: Path, names: tuple[str, str, str], limit: str, used: int, files: int) -> None:
    """Write what the kernel tells of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{names[2]} {files}\n")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    return tmp_path


@pytest.mark.parametrize(
    ("own", "top", "names"),
    [
        ("0::/system.slice/slurmd/job_7/step_0", ".", ("memory.max", "memory.current", "inactive_file")),
        (
            "5:cpu:/\n4:memory:/slurm/uid_0/job_7",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_limit_of_a_job_holds_for_its_steps(tree: Path, own: str, top: str, names: tuple[str, str, str]) -> None:
    (tree / "own").write_text(f"{own}\n")
    step = tree / top / own.rpartition(":/")[2]
    group(step, names, "max", 10, 0)
    group(step.parent, names, "1000000", 300_000, 50_000)
    assert memory.usable_memory() == 750_000


def test_container_that_sees_only_its_own_group_has_its_limit(tree: Path) -> None:
    (tree / "own").write_text("0::/docker/9f/which/is/not/here\n")
    group(tree, ("memory.max", "memory.current", "inactive_file"), "4000", 1000, 0)
    assert memory.usable_memory() == 3000


def test_without_a_limit_it_is_what_the_system_calls_available(tree: Path) -> None:
    assert memory.usable_memory() == pytest.approx(memory._system_available(), rel=0.2)
