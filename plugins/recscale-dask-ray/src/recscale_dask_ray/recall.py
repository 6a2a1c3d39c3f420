"""Calling back what runs on Ray: a mark in the cluster's own table, which workers look at.

`ray.cancel` would be the way. But up to Ray 2.60 at least, cancelling a task whose answer comes in at that moment ends
the process that asked (task_manager.cc: "Tried to complete task that was not pending").
"""

from __future__ import annotations

from contextlib import suppress

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_exists, _internal_kv_put

_TABLE = "recscale_dask"


def give_up(call: str) -> None:
    """Mark a run, for workers not to begin jobs of it, and to end those that run."""
    _internal_kv_put(call, b"", namespace=_TABLE)


def is_given_up(call: str) -> bool:
    """Return whether a run was given up; a cluster that does not answer has given up nothing."""
    with suppress(Exception):
        return bool(_internal_kv_exists(call, namespace=_TABLE))
    return False


def forget(prefix: str) -> None:
    """Delete the marks of all runs whose names begin so."""
    with suppress(Exception):  # a cluster that is gone has no table
        _internal_kv_del(prefix, del_by_prefix=True, namespace=_TABLE)
