"""Whether the software of workers fits to that of this process, for all engines; told before work starts."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from recscale_dask.errors import ExecutorUnavailable, VersionsDifferWarning

OURS = "recscale-dask"

REFUSED: Mapping[str, tuple[int, str]] = {
    "python": (2, "functions of a script travel as byte code, which is that of one minor version"),
    OURS: (9, "tasks are functions of this package"),
    "numpy": (1, "arrays travel as one major version writes them"),
}
"""What must be the same: how many parts of the version, and why."""

WARNED = ("numpy", "scipy", "numba", "llvmlite")
"""What computes: with other versions, results may differ in their last bits."""

Versions: TypeAlias = Mapping[str, str | None]
"""Names to versions; None for what is missing."""


def versions() -> Versions:
    """Return the versions that this process has."""
    return {"python": platform.python_version()} | {package: _version(package) for package in (OURS, *WARNED)}


def compare(kind: str, here: Versions, workers: Mapping[str, Versions]) -> None:
    """Compare the versions of workers with those of this process.

    Parameters
    ----------
    kind : str
        What a worker is called, such as ``"Dask worker"``.
    here : mapping
        Versions of this process.
    workers : mapping
        Where each worker is, and its versions.

    Raises
    ------
    ExecutorUnavailable
        If one cannot run our tasks, with its name and what to install.

    Warns
    -----
    VersionsDifferWarning
        If a worker may compute other bits.
    """
    others: dict[str, str] = {}
    for address, theirs in workers.items():
        refuse(f"{kind} at {address}", here, theirs)
        for package in WARNED:
            if theirs.get(package) != here[package]:
                others.setdefault(package, f"{package} {theirs.get(package)} at {address} and {here[package]} here")
    if others:
        warnings.warn(
            f"versions differ: {', '.join(others.values())}. Results may differ in their last bits from those of "
            "other executors. Install the same versions on both sides.",
            VersionsDifferWarning,
            stacklevel=3,
        )


def refuse(side: str, here: Versions, there: Versions) -> None:
    """Raise an error if one side, such as ``"Dask scheduler"``, cannot take part."""
    for package, (parts, why) in REFUSED.items():
        ours, theirs = _start(here[package], parts), _start(there.get(package), parts)
        if ours != theirs:
            raise ExecutorUnavailable(
                f"the {side} has {theirs or 'no'} {package}, and here it is {ours}: {why}. "
                f"Install {package} {ours} there."
            )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _start(version: str | None, parts: int) -> str:
    return "" if version is None else ".".join(version.split(".")[:parts])
