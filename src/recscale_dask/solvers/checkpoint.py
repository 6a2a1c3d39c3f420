"""Checkpoints: the state of a fit after each pass, in a folder, so that any executor can go on from there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.atomic import written_beside
from recscale_dask.differences import differences
from recscale_dask.errors import CheckpointError, OptionError, OutputError, RecscaleError
from recscale_dask.manifest import FolderKind, file_entry
from recscale_dask.outputs import on_a_disk
from recscale_dask.temporary import HIDDEN

CHECKPOINT = FolderKind(
    noun="checkpoint",
    format=1,
    given_by="Give the folder that --checkpoint (checkpoint=) named.",
    again="Delete it, and fit from the start.",
    error=CheckpointError,
)
"""What the folder of one state is."""

_NAME = re.compile(r"state-(\d{8})$")
_KEPT = 2


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a solver needs to go on: plain values, and arrays.

    Attributes
    ----------
    values : mapping
        What JSON holds: numbers, text, lists and mappings of these.
    arrays : mapping of str to ndarray or None
        The name of an array stands for its content: what the state before has under the same name is not written
        again, and may be None.
    """

    values: Mapping[str, Any]
    arrays: Mapping[str, Any]


def has_states(folder: str | os.PathLike[str]) -> bool:
    """Return whether there are states of a fit in a folder."""
    return Path(folder).is_dir() and any(_NAME.match(each.name) for each in Path(folder).iterdir())


class Checkpoints:
    """The states of one fit in a folder, of which the last two are kept.

    Parameters
    ----------
    folder : path
        Made if it is not there; states are folders in it.
    resume : bool
        Whether to go on from a state that is there; without one the fit begins at the start.

    Raises
    ------
    OptionError
        If there are states, and `resume` is false.
    OutputError
        If the folder is at a URL, cannot be made, or holds other things.
    """

    def __init__(self, folder: str | os.PathLike[str], *, resume: bool = False) -> None:
        self.folder = on_a_disk(folder, "checkpoints")
        self._identity: Mapping[str, Any] = {}
        self._previous: Path | None = None
        self._entries: dict[str, Any] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
        except OSError as error:
            raise OutputError(f"cannot write checkpoints to {folder}: {error.strerror or error}") from error
        if foreign := [each.name for each in self.folder.iterdir() if not _NAME.match(each.name)]:
            raise OutputError(
                f"{folder} holds other things than checkpoints ({foreign[0]}). Name a folder for checkpoints alone."
            )
        if self._states() and not resume:
            raise OptionError(
                f"{folder} holds the checkpoint of an earlier fit. Go on from it with resume=True (--resume), "
                "delete it, or name another folder."
            )

    def begin(self, identity: Mapping[str, Any]) -> State | None:
        """Return the newest whole state, if there is one.

        Parameters
        ----------
        identity : mapping
            What is fitted and how: plain values. That of a state has to be the same.

        Raises
        ------
        CheckpointError
            If a state is of another fit, with what differs; or none is whole.
        """
        self._identity = identity
        problems: list[RecscaleError] = []
        for folder in reversed(self._states()):
            try:
                manifest = CHECKPOINT.read(folder)
                for name, entry in manifest["files"].items():
                    CHECKPOINT.check_file(folder / name, entry, verify=True)
            except RecscaleError as error:
                problems.append(error)
                continue
            self._refuse_another(folder, manifest["identity"])
            self._previous, self._entries = folder, manifest["files"]
            arrays = {Path(name).stem: np.load(folder / name, allow_pickle=False) for name in manifest["files"]}
            return State(manifest["values"], arrays)
        if problems:
            raise problems[0]
        return None

    def write(self, number: int, state: State) -> None:
        """Write a state, whole or not at all, and delete all but the last two.

        Raises
        ------
        OutputError
            If it cannot be written; the states before stay.
        """
        target = self.folder / f"state-{number:08d}"
        try:
            with written_beside(target, overwrite=True) as beside:
                beside.mkdir()
                entries = {
                    f"{name}.npy": self._written(beside / f"{name}.npy", each) for name, each in state.arrays.items()
                }
                fields = {"identity": dict(self._identity), "values": dict(state.values), "files": entries}
                CHECKPOINT.write(beside, fields)
            self._previous, self._entries = target, entries
            for old in self._states()[:-_KEPT]:
                shutil.rmtree(old)
        except OSError as error:
            raise OutputError(f"cannot write a checkpoint to {target}: {error.strerror or error}") from error

    def clear(self) -> None:
        """Delete the states, and the folder if nothing else is in it: the fit is done, and its model safe."""
        for state in self._states():
            shutil.rmtree(state, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _written(self, path: Path, array: NDArray[Any] | None) -> dict[str, Any]:
        entry: dict[str, Any] | None = self._entries.get(path.name)
        if entry is not None and self._previous is not None:
            try:
                path.hardlink_to(self._previous / path.name)
            except OSError:  # a disk without links
                shutil.copyfile(self._previous / path.name, path)
            return entry
        assert array is not None
        np.save(path, array, allow_pickle=False)
        return file_entry(path)

    def _states(self) -> list[Path]:
        return sorted(each for each in self.folder.iterdir() if _NAME.match(each.name))

    def _remove_unfinished(self) -> None:
        """Delete what a killed process left half-written, on whatever machine, or was about to replace."""
        for pattern in (f"{HIDDEN}*", ".state-*"):
            for each in self.folder.glob(pattern):
                shutil.rmtree(each)

    def _refuse_another(self, folder: Path, found: Mapping[str, Any]) -> None:
        if different := differences(found, self._identity):
            raise CheckpointError(
                f"{folder} is the checkpoint of another fit: {different}. Resume with the same data and "
                "options, or name another folder."
            )
