"""The way of data from this process to the workers of a Dask cluster.

Scattered data is not replicated beforehand: a worker fetches what its tasks need once, from any worker that has it,
which also serves workers that join later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from distributed import Client, Future, Worker

from recscale_dask.errors import WorkerLost
from recscale_dask.execution.contract import Broadcast
from recscale_dask.execution.dask_cluster import has_worker

_ANSWER = 2.0  # seconds for a worker to say who it is


class Link:
    """Sends values to the workers, without the scheduler if this process reaches all of them.

    What takes the way through the scheduler, as Dask has it by default, is received and sent once more, and in its
    memory meanwhile. Results do take that way: the scheduler knows at once when the worker that has one dies, and this
    process would try to reach it for half a minute.

    Parameters
    ----------
    client : distributed.Client
    timeout : float
        Seconds to wait for a worker where there is none.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self.client = client
        self.timeout = timeout
        self._direct = True

    def look_at(self, workers: Collection[str]) -> None:
        """Find out whether this process reaches some workers too."""
        self._direct = self._direct and _reaches(self.client, workers)

    def scatter(self, value: Any) -> Future:
        """Return a value as data on a worker.

        Raises
        ------
        WorkerLost
            If there is no worker, or the one that was to get it died.
        """
        if not has_worker(self.client, self.timeout):
            raise WorkerLost(f"all Dask workers are gone, and none came back within {self.timeout:g} s")
        try:
            # In a list, because Dask would scatter a tuple or a dict item by item.
            [future] = self.client.scatter([value], hash=False, direct=self._direct)
        except OSError as error:
            raise WorkerLost(f"a constant could not be sent: {type(error).__name__}: {error}") from error
        return future

    def copy(self, data: list[Future], n_workers: int) -> None:
        """Copy data from worker to worker until so many have it, or all of them."""
        # Workers may be gone by now, or about to go. The tasks will tell; they take the data from whoever has it.
        with suppress(Exception):
            self.client.replicate(data, n_workers)


def _reaches(client: Client, workers: Collection[str]) -> bool:
    """Return whether workers answer here as they do to the scheduler; those that died do not count."""
    told = client.run(_id, workers=list(workers), on_error="return")

    async def answers(address: str, expected: str) -> bool:
        try:
            return bool((await asyncio.wait_for(client.rpc(address).identity(), _ANSWER))["id"] == expected)
        except OSError:  # a timeout too
            return False

    async def all_answer() -> bool:
        return all(await asyncio.gather(*(answers(*each) for each in told.items() if isinstance(each[1], str))))

    return bool(client.sync(all_answer))


def _id(dask_worker: Worker) -> str:
    """Return what a worker calls itself; runs there."""
    return str(dask_worker.id)


class DaskBroadcast(Broadcast):
    """A constant as scattered data; on workers a `LocalBroadcast` takes its place.

    The value stays here until `release`: scattered data is lost with the worker that holds it
    (distributed 3149), and is then sent again.
    """

    def __init__(self, link: Link, value: Any) -> None:
        self._link = link
        self._value = value
        self._future: Future | None = None

    @property
    def future(self) -> Future:
        """The scattered data, sent at the first use and again after a loss."""
        if self._future is None or self._future.status != "finished":
            self._future = self._link.scatter(self._value)
        return self._future

    def load(self) -> Any:
        """Return the value on the driver."""
        return self._value

    def release(self) -> None:
        """Free the value here and on the workers."""
        if self._future is not None:
            self._future.release()
        self._future = self._value = None

    def __reduce__(self) -> Any:
        raise TypeError("a DaskBroadcast travels as a constant of a task or inside a payload only")
