"""What an ingest, or recommendations to a folder, would take, and whether that is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recscale_dask.api.staged_plan import StagedPlan
from recscale_dask.execution.memory import byte_text
from recscale_dask.execution.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan(StagedPlan):
    """What a job would take; made by `plan_ingest` and `FactorModel.plan_recommend`, printed as a table.

    Attributes
    ----------
    stages, n_workers, workers_here, process_bytes, worker_process_bytes, memory_limit
        See `recscale_dask.api.staged_plan.StagedPlan`.
    what : str
        The job, with its sizes.
    sizes : mapping of str to int
        The same sizes, by name.
    disk_bytes : int
        Most that there is on the disk at once, of what the job writes.
    left_bytes : int
        What is there in the end.
    disk_free : int or None
        Room where it is written; None if that is no disk of this machine.
    mapped_bytes : int
        Mapped files in the peak, whose memory the system takes back if it has to: they need not fit.
    assumed : tuple of str
        What the forecast rests on.
    """

    what: str
    sizes: dict[str, int]
    disk_bytes: int
    left_bytes: int
    disk_free: int | None
    mapped_bytes: int = 0
    assumed: tuple[str, ...] = ()

    @property
    def most_bytes(self) -> int:
        """What has to be within the limit: the peak without mapped files, or that of a worker elsewhere."""
        return max(self.peak_bytes - self.mapped_bytes, 0 if self.workers_here else self.peak_worker_bytes)

    @property
    def enough_disk(self) -> bool:
        """Whether there is room for what is written."""
        return self.disk_free is None or self.disk_bytes <= self.disk_free

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice."""
        return self.most_bytes <= self.memory_limit and self.enough_disk

    @property
    def verdict(self) -> str:
        """One sentence on whether it fits."""
        memory = f"{self.what} needs about {byte_text(self.most_bytes)} of memory"
        if self.most_bytes > self.memory_limit:
            return f"{memory}, and {byte_text(self.memory_limit)} are there. Give it that much, or less to do."
        if self.disk_free is not None and not self.enough_disk:
            return (
                f"{self.what} needs about {byte_text(self.disk_bytes)} on the disk, and {byte_text(self.disk_free)} "
                "are free there. Make room, or choose another disk."
            )
        return f"{memory} and {byte_text(self.disk_bytes)} on the disk, which are there."

    def after(self, name: str, seconds: float) -> JobPlan:
        """Return the plan with a stage before it that took so long."""
        return replace(self, stages=(Stage(name=name, seconds=seconds), *self.stages))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            **self.sizes,
            "workers": self.n_workers,
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
            "mapped_bytes": self.mapped_bytes,
            "memory_limit": self.memory_limit,
            "disk_bytes": self.disk_bytes,
            "left_bytes": self.left_bytes,
            "disk_free": self.disk_free,
            "fits": self.fits,
            "assumed": list(self.assumed),
            "stages": [
                {
                    "name": stage.name,
                    "seconds": round(stage.seconds, 3),
                    "peak_bytes": self.stage_bytes(stage),
                    "driver": dict(stage.driver),
                    "worker": dict(stage.worker),
                }
                for stage in self.stages
            ],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield self.what
        yield f"{'stage':<14}{'seconds':>9}{'peak':>12}  largest"
        for stage in self.stages:
            largest = max(stage.driver, key=lambda name: stage.driver[name], default="")
            yield f"{stage.name:<14}{stage.seconds:>9.1f}{byte_text(self.stage_bytes(stage)):>12}  {largest}"
        mapped = f" ({byte_text(self.mapped_bytes)} of it mapped files)" if self.mapped_bytes else ""
        yield f"{'in all, peak':<14}{self.seconds:>9.1f}{byte_text(self.peak_bytes):>12}{mapped}"
        room = "" if self.disk_free is None else f" of {byte_text(self.disk_free)} that are free"
        yield f"on disk {byte_text(self.disk_bytes)}{room}, {byte_text(self.left_bytes)} in the end"
        there = f"{byte_text(self.memory_limit)} of memory are there"
        yield f"{there}: {'fits' if self.fits else 'does not fit'}"
        for each in self.assumed:
            yield f"assumed: {each}"


def free_disk(place: str | os.PathLike[str]) -> int:
    """Return the free bytes of the disk that a path is on, or would be."""
    folder = Path(place).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
