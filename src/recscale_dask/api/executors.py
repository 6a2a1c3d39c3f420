"""Executors by name, opened for a `with` statement or for one call."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import Executor as Pool
from contextlib import contextmanager
from typing import Any, TypeAlias

from recscale_dask.api.plugins import plugin_manager
from recscale_dask.errors import OptionError, PluginError
from recscale_dask.execution.contract import CONTRACT, Executor
from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest


def open_executor(name: str, **options: Any) -> Executor:
    """Return an executor to be opened in a `with` statement.

    Parameters
    ----------
    name : str
        One of `list_executors`.
    **options
        Its options, such as ``n_workers=2``.

    Raises
    ------
    UnknownNameError
        If there is no such executor; says which there are.
    ExecutorUnavailable
        If it does not import; opening it raises this too where it cannot start.
    OptionError
        If it has no such option; says which it has.
    PluginError
        If what offers it is broken, or it has another contract than this library.

    Examples
    --------
    >>> with open_executor("threads", n_workers=2) as executor:
    ...     executor.parallelism
    2
    """
    target = plugin_manager().resolve("executors", name)
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(target).parameters) or "none"
        example = f". Give it {target.example}, for example" if hasattr(target, "example") else ""
        raise OptionError(f"executor {name!r}: {error}; its options are: {known}{example}") from None
    executor = target(**options)
    if not isinstance(executor, Executor) or executor.contract != CONTRACT:
        raise PluginError(
            f"executor {name!r} ({type(executor).__name__}) has contract {getattr(executor, 'contract', None)}; "
            f"this recscale_dask has contract {CONTRACT}. Upgrade the older of the two."
        )
    return executor


def needed_options(name: str) -> tuple[str, ...]:
    """Return the options without which an executor cannot be opened."""
    parameters = inspect.signature(plugin_manager().resolve("executors", name)).parameters.values()
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return tuple(each.name for each in named if each.default is each.empty)


ExecutorLike: TypeAlias = str | Executor | Pool
"""What a call takes as its executor: a name of `list_executors`, one that is open, or a pool of concurrent.futures."""

Chosen: TypeAlias = ExecutorLike | ExecutorChoice
"""An executor that is named, open, or was chosen for a call that names none."""


def chosen_executor(executor: ExecutorLike | None, request: ExecutorRequest) -> Chosen:
    """Return the executor that a call names or is given, or the one that plugins choose for it."""
    return plugin_manager().choose_executor(request) if executor is None else executor


def reason_for(executor: Chosen) -> str:
    """Return why a call runs on an executor, as the end of a sentence."""
    return executor.reason if isinstance(executor, ExecutorChoice) else "it was asked for"


@contextmanager
def executor_for(executor: Chosen) -> Iterator[Executor]:
    """Yield the executor that a call names, is given open (or as a pool), or that was chosen for it."""
    if isinstance(executor, Executor):
        yield executor
        return
    if isinstance(executor, Pool):
        executor = ExecutorChoice(name="futures", reason="a pool was given", options={"pool": executor})
    if isinstance(executor, ExecutorChoice):
        with open_executor(executor.name, **executor.options) as opened:
            yield opened
        return
    if not isinstance(executor, str):
        raise OptionError(
            f"executor must be a name, an open Executor, a pool of concurrent.futures or None; got "
            f"{type(executor).__name__}. "
            "A Dask Client goes in as open_executor('dask', client=client)."
        )
    with open_executor(executor) as opened:
        yield opened
