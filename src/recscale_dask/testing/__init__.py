"""Shipped for others' tests: the conformance kits of executors and solvers, and matrices with known answers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recscale_dask.testing.executor_contract import ExecutorContract
    from recscale_dask.testing.solver_contract import SolverContract

__all__ = ["ExecutorContract", "SolverContract"]

_HOMES = {"ExecutorContract": "executor_contract", "SolverContract": "solver_contract"}


def __getattr__(name: str) -> Any:
    """Import a kit on first use: it needs pytest, which the matrices do not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    home = f"{__name__}.{_HOMES[name]}"
    pytest.register_assert_rewrite(home, f"{__name__}.contract")
    kit = getattr(importlib.import_module(home), name)
    globals()[name] = kit
    return kit
