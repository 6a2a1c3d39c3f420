"""Whether the software on all sides of a Dask cluster fits together, told before work starts."""

from __future__ import annotations

from collections.abc import Collection

from distributed import Client

from recscale_dask.execution.versions import OURS, WARNED, compare, refuse


def check_versions(client: Client, workers: Collection[str] | None = None) -> None:
    """Check the scheduler and the workers of a cluster against this process.

    Parameters
    ----------
    client : distributed.Client
    workers : collection of str, optional
        Addresses of those that joined since the last check; by default all, and the scheduler.

    Raises
    ------
    ExecutorUnavailable
        If one cannot run our tasks, with its name and what to install.

    Warns
    -----
    VersionsDifferWarning
        If a worker may compute other bits.
    """
    told = client.get_versions(packages=[OURS, *WARNED])
    here = told["client"]["packages"]
    if workers is None:  # the scheduler unpickles functions as well
        refuse("Dask scheduler", here, told["scheduler"]["packages"])
    answers = {
        address: answer["packages"]
        for address, answer in told["workers"].items()
        if answer and (workers is None or address in workers)
    }
    compare("Dask worker", here, answers)
