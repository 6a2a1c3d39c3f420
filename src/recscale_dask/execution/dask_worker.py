"""What a worker of a Dask cluster of our own does when it starts: Dask imports this there as a preload module."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C, which the terminal sends to every process, to the driver, which then ends the cluster."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
