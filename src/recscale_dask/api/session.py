"""One call of the api: its executor, open, and its observer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recscale_dask.api.executors import Chosen, chosen_executor, executor_for
from recscale_dask.api.observing import observing
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import ExecutorChosen, Observer
from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest
from recscale_dask.model import Factors


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


@contextmanager
def session_of_parts(
    executor: Chosen | None, request: ExecutorRequest, progress: bool | Observer | None
) -> Iterator[Executor]:
    """Yield the executor of a call that is made of others, each of which shows its own progress."""
    with session(executor, request, progress if callable(progress) else False) as (opened, _):
        yield opened


def scoring_request(model: Factors, n_users: int, n_stored: int | None = None) -> ExecutorRequest:
    """Return what is known of scoring users, when an executor has to be chosen.

    Parameters
    ----------
    model : Factors
    n_users : int
    n_stored : int, optional
        Interactions of these users, where they are folded in; by default they get scores of all items.
    """
    n_items, operator = len(model.items), model.item_operator
    if n_stored is None:
        n_stored = n_users * n_items // 64  # a dense score costs less than a sparse product
    return ExecutorRequest(
        purpose="score",
        n_users=n_users,
        n_items=n_items,
        n_stored=n_stored,
        rank=model.rank + (0 if operator is None else round(operator.products_per_score)),
    )
