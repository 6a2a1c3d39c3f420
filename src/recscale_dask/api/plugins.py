"""The plugin manager of this process, and what it lists."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recscale_dask.api import run_log
from recscale_dask.evaluation.metric import is_metric
from recscale_dask.execution.contract import CONTRACT, Executor
from recscale_dask.hooks.manager import OWN, PluginManager
from recscale_dask.hooks.offers import Broken
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.solvers.base import Solver


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
    manager = plugin_manager()
    for offer in manager.offers(kind):
        spec: Any = offer.spec
        reason = manager.refused(kind, spec.name) or manager.unavailable(offer)
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


def examine() -> None:
    """Import what plugins offer, and ask those that choose executors, so that `list_broken` knows of what fails."""
    manager = plugin_manager()
    for kind, suits in _SUITS.items():
        for offer in manager.offers(kind):
            if offer.package != OWN and not (manager.refused(kind, offer.spec.name) or manager.unavailable(offer)):
                manager.examine(kind, offer, suits)
    with warnings.catch_warnings(action="ignore"):  # it is told as a broken plugin
        manager.choose_executor(ExecutorRequest(purpose="fit", n_users=1, n_items=1, n_stored=1, rank=1))


def _is_executor(found: Any) -> str:
    if not (isinstance(found, type) and issubclass(found, Executor)):
        return "is no subclass of recscale_dask.execution.contract.Executor"
    return "" if found.contract == CONTRACT else f"has contract {found.contract}; this recscale_dask has {CONTRACT}"


def _is_solver(found: Any) -> str:
    if not (isinstance(found, type) and issubclass(found, Solver)):
        return "is no subclass of recscale_dask.solvers.base.Solver"
    return "" if dataclasses.is_dataclass(found) else "is no dataclass, of which the fields are its options"


def _is_metric(found: Any) -> str:
    return "" if is_metric(found) else "is no metric: a function, or one of recscale_dask.evaluation.metric"


def _is_reader(found: Any) -> str:
    return "" if callable(found) else "is no function of source and columns"


_SUITS: dict[str, Callable[[Any], str]] = {
    "executors": _is_executor,
    "solvers": _is_solver,
    "metrics": _is_metric,
    "readers": _is_reader,
}
"""What says why an object does not suit, by the kind that it is offered as."""


def list_remarks() -> list[Broken]:
    """Return the plugins that work, but do what they should not, such as printing."""
    return plugin_manager().remarks


def list_broken() -> list[Broken]:
    """Return the plugins that cannot be used, with reasons."""
    return plugin_manager().broken
