"""What one part of a long run is going to take: arrays in memory, bytes read and moved, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of a fit, an ingest or another long run.

    Attributes
    ----------
    name : str
        ``"read"``, ``"passes"``, ``"certificate"``, ...
    passes : int
        How often all blocks are read.
    seconds : float
    read_bytes : int
        From the store, in all passes.
    moved_bytes : int
        Between driver and workers, in all passes; what is mapped on one machine counts as written, once.
    driver, worker : mapping of str to int
        Bytes of the arrays that the driver and each worker hold at once, by what they are.
    """

    name: str
    passes: int = 0
    seconds: float = 0.0
    read_bytes: int = 0
    moved_bytes: int = 0
    driver: Mapping[str, int] = field(default_factory=dict)
    worker: Mapping[str, int] = field(default_factory=dict)

    @property
    def driver_bytes(self) -> int:
        """Bytes of the driver's arrays."""
        return sum(self.driver.values())

    @property
    def worker_bytes(self) -> int:
        """Bytes of the arrays of one worker."""
        return sum(self.worker.values())
