"""The plugin manager of this process, and what it lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recscale_dask.api import run_log
from recscale_dask.hooks.manager import Broken, PluginManager


@lru_cache(maxsize=1)
def plugin_manager() -> PluginManager:
    """Return the manager with all installed plugins and the log, loaded on first use."""
    manager = PluginManager()
    manager.register(run_log, name="recscale_dask log", package="recscale-dask")
    return manager


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A registered name and whether it can be used here.

    Attributes
    ----------
    name, summary : str
        What to type, and one line about it.
    package : str
        The installed package that offers it.
    contract : int
        Version of the contract it was written for.
    available : bool
        Whether it can be used on this machine.
    reason : str
        Why not; empty if available.
    """

    name: str
    summary: str
    package: str
    contract: int
    available: bool
    reason: str


def _list(kind: str) -> list[Listing]:
    listings = []
    for offer in plugin_manager().offers(kind):
        spec: Any = offer.spec
        reason = offer.unavailable()
        listings.append(
            Listing(
                name=spec.name,
                summary=spec.summary,
                package=offer.package,
                contract=spec.contract,
                available=not reason,
                reason=reason,
            )
        )
    return listings


def list_executors() -> list[Listing]:
    """Return all executors with their health; imports no engine."""
    return _list("executors")


def list_solvers() -> list[Listing]:
    """Return all solvers with their health."""
    return _list("solvers")


def list_metrics() -> list[Listing]:
    """Return all metrics with their health."""
    return _list("metrics")


def list_remarks() -> list[Broken]:
    """Return the plugins that work, but do what they should not, such as printing."""
    return plugin_manager().remarks


def list_broken() -> list[Broken]:
    """Return the plugins that cannot be used, with reasons."""
    return plugin_manager().broken
