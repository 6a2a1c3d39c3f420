"""Events of a run, handed to plugins and to the progress bar."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from recscale_dask.api.plugins import plugin_manager
from recscale_dask.execution.events import (
    BlockDone,
    Event,
    ExecutorChosen,
    IngestStep,
    Observer,
    RunFinished,
    RunStarted,
    SolverStep,
)

_HOOKS: dict[type[Any], str] = {
    ExecutorChosen: "recscale_executor_chosen",
    RunStarted: "recscale_run_started",
    BlockDone: "recscale_block_done",
    RunFinished: "recscale_run_finished",
    SolverStep: "recscale_solver_step",
    IngestStep: "recscale_ingest_step",
}


def plugin_observer(*more: object) -> Observer:
    """Return an observer that calls the hooks of plugins, and of more objects that have some of them as methods.

    One that raises is warned about, and dropped.
    """
    observers = {hook: plugin_manager().observers(hook) for hook in _HOOKS.values()}
    for each in more:
        for hook in _HOOKS.values():
            if hasattr(each, hook):
                observers[hook].append((type(each).__name__, getattr(each, hook)))
    dropped: set[str] = set()

    def observe(event: Event) -> None:
        for plugin, function in observers[_HOOKS[type(event)]]:
            if plugin in dropped:
                continue
            try:
                function(event=event)
            except Exception as error:
                dropped.add(plugin)
                warnings.warn(
                    f"plugin {plugin!r} failed while it observed a run and is left out of the rest of it: "
                    f"{type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    return observe


@contextmanager
def observing(progress: bool | Observer | None) -> Iterator[Observer]:
    """Yield the observer of one call: plugins, and progress.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a bar on stderr, or lines now and then if that is no terminal; False nothing; None a bar if
        stderr is a terminal. A callable gets every event.
    """
    if progress is None:
        progress = sys.stderr.isatty()
    if progress is False:
        yield plugin_observer()
    elif callable(progress):
        yield _both(plugin_observer(), progress)
    else:
        from recscale_dask.api.progress import shown_progress

        with shown_progress() as shown:
            yield plugin_observer(shown)


def labelled(observer: Observer, name: str) -> Observer:
    """Return an observer whose runs have a name before their label, as of one model among several."""

    def observe(event: Event) -> None:
        if isinstance(event, RunStarted | BlockDone | RunFinished):
            event = replace(event, label=f"{name}: {event.label}")
        observer(event)

    return observe


def _both(first: Observer, second: Observer) -> Observer:
    def observe(event: Event) -> None:
        first(event)
        second(event)

    return observe
