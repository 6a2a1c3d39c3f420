"""What a run of several stages would take, of this process, of workers, and of the machine they are on."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.execution.stage import Stage

PROCESS_BYTES = 250 << 20
"""Python with what a run imports and compiles, in one process."""

WORKER_BYTES = 130 << 20
"""The same of a worker in another process of this machine, without the pages that it shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPlan:
    """What a run would take, stage by stage.

    Attributes
    ----------
    stages : tuple of Stage
        Each with its passes, seconds, bytes read and moved, and the arrays of driver and workers.
    n_workers : int
        Blocks at work at once.
    workers_here : bool
        Whether they take memory of this machine.
    process_bytes, worker_process_bytes : int
        What Python and libraries take in this process, and in each process of a worker (0 for threads).
    memory_limit : int
        The given one, or what this machine has.
    """

    stages: tuple[Stage, ...]
    n_workers: int
    workers_here: bool
    process_bytes: int
    worker_process_bytes: int
    memory_limit: int

    @property
    def fits(self) -> bool:
        """Whether the forecast is within the limit."""
        return self.most_bytes <= self.memory_limit

    @property
    def most_bytes(self) -> int:
        """What has to be within the limit: the peak on this machine, or that of a worker elsewhere."""
        return max(self.peak_bytes, 0 if self.workers_here else self.peak_worker_bytes)

    @property
    def peak_driver_bytes(self) -> int:
        """The most memory of this process, without what its threads have while they work on blocks."""
        return self.process_bytes + max(stage.driver_bytes for stage in self.stages)

    @property
    def peak_worker_bytes(self) -> int:
        """The most memory of one worker."""
        return self.worker_process_bytes + max(stage.worker_bytes for stage in self.stages)

    @property
    def peak_bytes(self) -> int:
        """The most memory on this machine, of this process and the workers here."""
        return max(self.stage_bytes(stage) for stage in self.stages)

    def stage_bytes(self, stage: Stage) -> int:
        """Return the memory on this machine in one stage."""
        workers = self.n_workers * (self.worker_process_bytes + stage.worker_bytes) if self.workers_here else 0
        return self.process_bytes + stage.driver_bytes + workers

    @property
    def seconds(self) -> float:
        """Expected in all."""
        return sum(stage.seconds for stage in self.stages)
