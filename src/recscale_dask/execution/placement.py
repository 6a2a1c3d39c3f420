"""Blocks where the tasks are: loaded once before the first pass, for all passes of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.machine import cpu_count
from recscale_dask.types import Recipe


@contextmanager
def placed_blocks(
    executor: Executor, sources: Sequence[Recipe[Any]], *, expected_bytes: int = 0
) -> Iterator[tuple[Recipe[Any], ...]]:
    """Load each block once and put it where the executor's workers read it without the driver.

    In this process they stay in memory; workers that share the driver's files map them; others get
    them sent. Everything is freed at the end.

    Parameters
    ----------
    executor : Executor
        Open.
    sources : sequence of Recipe
        Blocks; few are loaded here at a time.
    expected_bytes : int
        About how large they are together, to choose between shared memory and disk.

    Yields
    ------
    tuple of Recipe
        The same blocks in the same order.
    """
    with ExitStack() as stack:
        if not executor.capabilities.isolated:
            yield tuple(source.load() for source in sources)
        elif executor.capabilities.shared_files:
            exchange = Exchange(expected_bytes)
            stack.callback(exchange.close)
            # On several threads: the system takes most of the time, to find the pages.
            with ThreadPoolExecutor(cpu_count()) as threads:
                files = tuple(threads.map(lambda source: exchange.put(source.load()), sources))
            yield files
        else:
            placed = []
            for source in sources:
                placed.append(executor.place(source.load()))
                stack.callback(placed[-1].release)
            yield tuple(placed)
