"""Large results as files in a folder that workers and driver share: what travels is a receipt."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle

from recscale_dask.execution.contract import Outcome
from recscale_dask.execution.portable import read_file, write_file

_BIG = 1 << 20  # bytes from which on a file costs less than the way through an engine


@dataclass(frozen=True, slots=True)
class Receipt:
    """Says where a value is."""

    path: Path

    def collect(self) -> Any:
        """Return the value, its arrays mapped, and delete the file: pages live on while they are used."""
        value = read_file(self.path)
        self.path.unlink(missing_ok=True)
        return value


def deposited(outcome: Outcome, folder: Path | None) -> Outcome:
    """Return the outcome with a receipt in the place of a large value; as it is without a folder."""
    if folder is None or outcome.value is None:
        return outcome
    sizes: list[int] = []
    cloudpickle.dumps(outcome.value, protocol=5, buffer_callback=lambda buffer: sizes.append(buffer.raw().nbytes))
    if sum(sizes) < _BIG:
        return outcome
    path = folder / f"result-{uuid.uuid4().hex}"
    try:
        write_file(outcome.value, path)
    except OSError:
        path.unlink(missing_ok=True)  # a full disk: the value goes the other way
        return outcome
    return replace(outcome, value=Receipt(path))


def collected(outcome: Outcome) -> Outcome:
    """Return the outcome with the value that `deposited` left in a file; lost if that is gone."""
    if not isinstance(outcome.value, Receipt):
        return outcome
    try:
        return replace(outcome, value=outcome.value.collect())
    except FileNotFoundError as error:
        return Outcome(outcome.index, error=f"a result was lost ({error})", lost=True)
