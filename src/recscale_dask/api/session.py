"""One call of the api: its executor, open, and its observer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recscale_dask.api.executors import executor_for
from recscale_dask.api.observing import observing
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.hooks.specs import ExecutorRequest


@contextmanager
def session(
    executor: str | Executor | None, request: ExecutorRequest, progress: bool | Observer | None
) -> Iterator[tuple[Executor, Observer]]:
    """Yield the executor of a call and the observer of its events."""
    with observing(progress) as observer, executor_for(executor, request) as opened:
        yield opened, observer
