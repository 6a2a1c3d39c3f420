"""The first jobs of a cluster, which wait for its workers and ask them for their versions."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress

from py4j.protocol import Py4JNetworkError
from pyspark import SparkContext

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.versions import Versions, versions
from recscale_dask_spark.jobs import gone, reason_of


class FirstJobs:
    """One job that waits for a first worker, and one that meets all there are by then, which usually start together.

    Parameters
    ----------
    context : SparkContext
    """

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._group = f"recscale-{uuid.uuid4().hex}"
        self._cancelled = threading.Event()

    def run(self) -> dict[str, Versions]:
        """Return the versions on each machine; called on the thread for Spark jobs.

        Raises
        ------
        ExecutorUnavailable
            If a worker cannot do even that.
        """
        context = self._context
        context.setJobGroup(self._group, "recscale_dask: look for workers")
        try:
            told = context.parallelize([0], 1).mapPartitions(_tell).collect()
            cores = 0 if self._cancelled.is_set() else int(context.defaultParallelism)
            told += context.parallelize(range(cores), cores).mapPartitions(_tell).collect()
        except (Py4JNetworkError, OSError) as error:
            raise gone(error) from error
        except Exception as error:
            raise ExecutorUnavailable(
                f"a worker of {context.master!r} cannot run a first job ({reason_of(error)}). Install Python "
                f"{versions()['python']} and the packages of this process there, and say by PYSPARK_PYTHON where it is."
            ) from error
        return dict(told)

    def cancel(self) -> None:
        """Cancel them, if they run."""
        self._cancelled.set()
        with suppress(Exception):  # Spark itself may be what failed
            self._context.cancelJobGroup(self._group)


def _tell(numbers: Iterator[int]) -> Iterator[tuple[str, Versions]]:
    for _ in numbers:  # to the end: Spark gives up a Python worker that leaves input unread
        pass
    yield socket.gethostname(), versions()
