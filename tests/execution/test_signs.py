"""A worker sees the driver's files if it sees all places that they are in."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from recscale_dask.execution.signs import signs_in


def test_signs_are_seen_here_and_gone_afterwards(tmp_path: Path) -> None:
    with signs_in(tmp_path) as signs:
        assert signs.seen()
        assert {path.parent for path in signs.paths} == {tmp_path, Path(tempfile.gettempdir())}
    assert not signs.seen()
    assert not any(path.exists() for path in signs.paths)


@pytest.mark.parametrize("hidden", [0, 1], ids=["shared memory", "the folder for temporary files"])
def test_one_place_that_is_not_seen_is_enough(hidden: int, tmp_path: Path) -> None:
    with signs_in(tmp_path) as signs:
        paths = [*signs.paths]
        paths[hidden] = tmp_path / "elsewhere"
        assert not replace(signs, paths=tuple(paths)).seen()
        paths[hidden].write_text("of another driver")
        assert not replace(signs, paths=tuple(paths)).seen()
