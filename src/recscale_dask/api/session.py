"""One call of the api: its executor, open, and its observer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recscale_dask.api.executors import Chosen, chosen_executor, executor_for
from recscale_dask.api.observing import observing
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import ExecutorChosen, Observer
from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest


@contextmanager
def session(
    executor: Chosen | None, request: ExecutorRequest, progress: bool | Observer | None
) -> Iterator[tuple[Executor, Observer]]:
    """Yield the executor of a call and the observer of its events."""
    if executor is None:
        executor = chosen_executor(executor, request)
    with observing(progress) as observer:
        if isinstance(executor, ExecutorChoice):
            observer(ExecutorChosen(executor=executor.name, reason=executor.reason))
        with executor_for(executor) as opened:
            yield opened, observer
