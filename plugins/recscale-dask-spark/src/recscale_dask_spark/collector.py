"""Sparing the garbage collector of a Spark Python worker what will never be garbage."""

from __future__ import annotations

import gc
import sys

_seen = 0  # modules at the last call that found new ones


def keep_imports_from_collector() -> None:
    """Set aside all objects there are, if modules were imported since the last call.

    Spark's daemon lets each worker collect garbage after each task, before it takes the next one. With
    compiled kernels loaded that takes longer than most tasks, nearly all of it for looking at what was imported.
    """
    global _seen
    if len(sys.modules) > _seen:
        gc.collect()  # what is garbage now would be kept for ever
        gc.freeze()
        _seen = len(sys.modules)
