"""Shipped for others' tests: the conformance kit of executors, and matrices with known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recscale_dask.testing.executor_contract import ExecutorContract

__all__ = ["ExecutorContract"]


def __getattr__(name: str) -> Any:
    """Import the kit on first use: it needs pytest, which the matrices do not."""
    if name != "ExecutorContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite("recscale_dask.testing.executor_contract")
    from recscale_dask.testing.executor_contract import ExecutorContract

    globals()[name] = ExecutorContract
    return ExecutorContract
