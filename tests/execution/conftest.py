"""Dask clusters of real processes, and a proxy that counts what goes to one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from recscale_dask.testing.counting_proxy import CountingProxy
from recscale_dask.testing.dask_cluster import DaskCluster


@pytest.fixture(scope="session")
def dask_processes() -> Iterator[Callable[..., DaskCluster]]:
    """What starts clusters; all of them end with the session, or by `close` before."""
    with ExitStack() as stack:

        def start(*arguments: object, **options: object) -> DaskCluster:
            return stack.enter_context(DaskCluster(*arguments, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def scheduler(dask_processes: Callable[..., DaskCluster]) -> str:
    """The address of a real scheduler with two worker processes, over TCP on loopback."""
    processes = dask_processes()
    processes.add_worker()
    processes.add_worker()
    processes.client(2).close()
    return processes.address


@pytest.fixture
def counting_proxy() -> Iterator[Callable[[str], CountingProxy]]:
    """What makes a `CountingProxy` for an address."""
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(CountingProxy(address))
