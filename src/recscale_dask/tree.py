"""Sums in a balanced binary tree over positions: the same bits whoever adds up which part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recscale_dask.types import Combine


def fold_tree(results: Iterator[Any], combine: Combine) -> Any:
    """Combine results in a balanced binary tree over their positions, holding few at a time.

    Level by level, neighbours are combined in pairs and an odd last one moves up; so every run of
    ``2**j`` results that starts at a multiple of ``2**j`` is one node, whoever computes it. That is
    what makes sums equal bit for bit on any number of workers.
    """
    # A stack of (level, value), like a binary counter: at most log2(n) partial sums live at once.
    stack: list[tuple[int, Any]] = []
    for value in results:
        level = 0
        while stack and stack[-1][0] == level:
            value = combine(stack.pop()[1], value)
            level += 1
        stack.append((level, value))
    if not stack:
        raise ValueError("fold_tree needs at least one result")
    _, total = stack.pop()
    while stack:
        total = combine(stack.pop()[1], total)
    return total
