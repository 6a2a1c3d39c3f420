"""What runs on the workers of a `concurrent.futures` pool: one job, with the constants that a worker keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import cloudpickle

from recscale_dask.execution.contract import unportable
from recscale_dask.execution.deposit import deposited
from recscale_dask.execution.packing import unpack
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.execution.signs import Signs

_kept: dict[str, Any] = {}
"""Constants of this process by key. Nothing reaches each worker of a pool, so each job says which are needed still."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer of a worker that lacks constants: the job is to be sent again, with these."""

    keys: tuple[str, ...]


def look(marker: object, signs: Signs) -> tuple[object, bool]:
    """Return the marker, and whether this worker sees the driver's temporary files."""
    return marker, signs.seen()


def answer(
    data: bytes, keys: Sequence[str], values: Mapping[str, bytes], live: Set[str], blank: FileRecipe | None
) -> bytes | Missing:
    """Run one job and return its pickled outcome: bytes, so that what cannot be pickled is seen here and told.

    Parameters
    ----------
    data : bytes
        The packed task, job and constants.
    keys : sequence of str
        The kept constants that stand in their places.
    values : mapping
        Those of them that this worker said it lacks, pickled.
    live : set of str
        What was not released; the rest is forgotten.
    blank : FileRecipe or None
        A file for a large result.
    """
    for key in _kept.keys() - live:
        del _kept[key]
    index = -1
    try:
        for key in values.keys() - _kept.keys():  # another job that waited for it may have come first
            _kept[key] = cloudpickle.loads(values[key])
        lacking = tuple(key for key in keys if key not in _kept)
        if lacking:
            return Missing(lacking)
        task, job, constants = unpack(data, [_kept[key] for key in keys])
        index = job.index
        return dump_bytes(deposited(run_job(task, job, constants), blank))
    except Exception as error:
        return dump_bytes(unportable(index, error))
