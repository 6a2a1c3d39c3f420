"""Whether the software on all sides of a Dask cluster fits together, told before work starts."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from distributed import Client

from recscale_dask.errors import ExecutorUnavailable, VersionsDifferWarning

_OURS = "recscale-dask"

REFUSED: Mapping[str, tuple[int, str]] = {
    "python": (2, "functions of a script travel as byte code, which is that of one minor version"),
    _OURS: (9, "tasks are functions of this package"),
    "numpy": (1, "arrays travel as one major version writes them"),
}
"""What must be the same: how many parts of the version, and why."""

WARNED = ("numpy", "scipy", "numba", "llvmlite")
"""What computes: with other versions, results may differ in their last bits."""


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
    told = client.get_versions(packages=[_OURS, *WARNED])
    here = told["client"]["packages"]
    if workers is None:  # the scheduler unpickles functions as well
        _refuse("scheduler", here, told["scheduler"]["packages"])
    others: dict[str, str] = {}
    for address, answer in told["workers"].items():
        if answer and (workers is None or address in workers):
            _refuse(f"worker at {address}", here, answer["packages"])
            for package in WARNED:
                version = answer["packages"].get(package)
                if version != here[package]:
                    others.setdefault(package, f"{package} {version} at {address} and {here[package]} here")
    if others:
        warnings.warn(
            f"versions differ: {', '.join(others.values())}. Results may differ in their last bits from those of "
            "other executors. Install the same versions on both sides.",
            VersionsDifferWarning,
            stacklevel=2,
        )


def _refuse(side: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    for package, (parts, why) in REFUSED.items():
        ours, theirs = _start(here[package], parts), _start(there.get(package), parts)
        if ours != theirs:
            raise ExecutorUnavailable(
                f"the Dask {side} has {theirs or 'no'} {package}, and here it is {ours}: {why}. "
                f"Install {package} {ours} there."
            )


def _start(version: str | None, parts: int) -> str:
    return "" if version is None else ".".join(version.split(".")[:parts])
