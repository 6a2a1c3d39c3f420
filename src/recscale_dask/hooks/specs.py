"""The hooks of recscale_dask: what a plugin may implement, with the records that it returns.

Specs hold strings, not classes, so that listing what is there imports neither Spark nor distributed.
A plugin is a module (or object) under the entry-point group ``recscale_dask``::

    [project.entry-points.recscale_dask]
    spark = "recscale_dask_spark.plugin"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

PROJECT = "recscale_dask"
ENTRY_POINT_GROUP = "recscale_dask"
_SMALL = 1 << 23  # stored values times rank below which threads cost more than they bring
_BLINK = 2.0  # seconds of a forecast above which they do not, whatever the rank is

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Something that can be had by name.

    Attributes
    ----------
    name : str
        What the user types, such as ``"spark"``.
    target : str
        ``"package.module:Class"``, imported on first use.
    summary : str
        One line for listings.
    install : str
        Shown when that import fails, such as ``"pip install recscale-dask-spark"``.
    check : str
        ``"package.module:function"``; called without arguments by listings and the doctor, it returns
        why it cannot be used here, or ``""``. It must be quick and must not import an engine.
    contract : int
        Version of the contract that it was written for.
    """

    name: str
    target: str
    summary: str
    install: str = ""
    check: str = ""
    contract: int = 1


class ExecutorSpec(Spec):
    """An executor that can be opened by name; its target is an `Executor` class."""

    __slots__ = ()


class SolverSpec(Spec):
    """A solver that `factorize` finds by name; its target is a `Solver` class."""

    __slots__ = ()


class ReaderSpec(Spec):
    """A file format that `read_interactions` finds by name: ``target(source, columns) -> pyarrow.Table``."""

    __slots__ = ()


class MetricSpec(Spec):
    """A metric that `evaluate` finds by name, such as ``"recall"`` in ``"recall@20"``.

    Its target is one of the kinds of `recscale_dask.evaluation.metric`.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorRequest:
    """What is known when an executor has to be chosen.

    Attributes
    ----------
    purpose : str
        ``"fit"`` or ``"score"``.
    n_users, n_items, n_stored : int
        Sides and stored values of the matrix, or of the users to score.
    rank : int
        Number of factors.
    bytes_needed : int
        Memory that the plan forecasts on the threads of this process; 0 if there is no plan.
    seconds : float
        Time that the plan forecasts there; 0 if there is no plan.
    bytes_free : int
        Memory that there is for it: a limit that was given, or what this machine has; 0 if there is no plan.
    """

    purpose: str
    n_users: int
    n_items: int
    n_stored: int
    rank: int
    bytes_needed: int = 0
    seconds: float = 0.0
    bytes_free: int = 0

    @property
    def is_small(self) -> bool:
        """Whether it is done in a blink, so that sending it anywhere costs more than doing it."""
        return self.n_stored * self.rank < _SMALL and self.seconds < _BLINK


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorChoice:
    """An executor for a call that names none.

    Attributes
    ----------
    name : str
        One of those that are registered.
    reason : str
        Why, as the end of a sentence; told in the log, in plans and in the provenance of models.
    options : mapping
        To open it with, such as ``{"client": client}``.
    """

    name: str
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Hooks:
    """Signatures of all hooks; arguments are only ever added."""

    @hookspec
    def recscale_register_executors(self) -> list[ExecutorSpec]:
        """Return the executors that this plugin offers."""
        raise NotImplementedError

    @hookspec
    def recscale_register_solvers(self) -> list[SolverSpec]:
        """Return the solvers that this plugin offers."""
        raise NotImplementedError

    @hookspec
    def recscale_register_readers(self) -> list[ReaderSpec]:
        """Return the file formats that this plugin reads."""
        raise NotImplementedError

    @hookspec
    def recscale_register_metrics(self) -> list[MetricSpec]:
        """Return the metrics that this plugin computes."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def recscale_choose_executor(self, request: ExecutorRequest) -> ExecutorChoice | str | None:
        """Return the executor for a call that names none, or its name, or None to leave it to others."""

    @hookspec
    def recscale_executor_chosen(self, event: object) -> None:
        """See a `recscale_dask.execution.events.ExecutorChosen`."""

    @hookspec
    def recscale_run_started(self, event: object) -> None:
        """See a `recscale_dask.execution.events.RunStarted`."""

    @hookspec
    def recscale_block_done(self, event: object) -> None:
        """See a `recscale_dask.execution.events.BlockDone`."""

    @hookspec
    def recscale_run_finished(self, event: object) -> None:
        """See a `recscale_dask.execution.events.RunFinished`."""

    @hookspec
    def recscale_solver_step(self, event: object) -> None:
        """See a `recscale_dask.execution.events.SolverStep`."""

    @hookspec
    def recscale_ingest_step(self, event: object) -> None:
        """See a `recscale_dask.execution.events.IngestStep`."""
