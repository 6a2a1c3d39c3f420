"""Options that several commands share, and what their text stands for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from recscale_dask.cli.output import only_results
from recscale_dask.cli.signals import sigterm_kept

if TYPE_CHECKING:
    from recscale_dask.data.interactions import Interactions
    from recscale_dask.data.matrix import UserItemMatrix
    from recscale_dask.execution.contract import Executor
    from recscale_dask.model import Factors

_INPUT = "Columns of the input"


class Duplicates(StrEnum):
    """What becomes of several rows of one user and item."""

    sum = "sum"
    max = "max"
    last = "last"


class HowToHoldOut(StrEnum):
    """The ways of `recscale split` that need no more than a fraction, and leave no user out whole."""

    random = "random"
    temporal = "temporal"
    leave_one_out = "leave-one-out"
    per_user_random = "per-user-random"
    per_user_temporal = "per-user-temporal"


Source: TypeAlias = Annotated[
    str, typer.Argument(metavar="INPUT", help="A store (see `recscale ingest`), or a data file, folder, glob or URL.")
]
SolverName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--solver", help="svd, gf-cf, bspm, als-implicit, als-explicit, item-knn, ease, popularity, or a plugin's."
    ),
]
Rank: TypeAlias = Annotated[int, typer.Option("--rank", help="Number of factors.")]
Weighting: TypeAlias = Annotated[str | None, typer.Option("--weighting", help="binary, log, bm25 or tfidf.")]
UserScaling: TypeAlias = Annotated[float, typer.Option("--user-scaling", help="Exponent of the users' degrees.")]
ItemScaling: TypeAlias = Annotated[float, typer.Option("--item-scaling", help="Exponent of the items' degrees.")]
Tol: TypeAlias = Annotated[float, typer.Option("--tol", help="Largest residual, relative to each singular value.")]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", help="Of all random numbers.")]
Settings: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the solver; repeatable.")
]
MemoryLimit: TypeAlias = Annotated[
    str | None, typer.Option("--memory-limit", metavar="BYTES", help="Most memory, such as 2GiB; more is refused.")
]

User: TypeAlias = Annotated[
    str | None, typer.Option("--user", rich_help_panel=_INPUT, help="Column of users: a name, or a position from 0.")
]
Item: TypeAlias = Annotated[str | None, typer.Option("--item", rich_help_panel=_INPUT, help="Column of items.")]
Value: TypeAlias = Annotated[
    str | None, typer.Option("--value", rich_help_panel=_INPUT, help="Column of values; 'false' for none.")
]
Time: TypeAlias = Annotated[
    str | None, typer.Option("--time", rich_help_panel=_INPUT, help="Column of times; 'false' for none.")
]
Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        rich_help_panel=_INPUT,
        help="csv, tsv, movielens, parquet, arrow or adjacency.",
    ),
]
ExecutorName: TypeAlias = Annotated[
    str | None, typer.Option("--executor", metavar="NAME", help="Where to compute; see `recscale executors`.")
]
ExecutorOptions: TypeAlias = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the executor; repeatable.")
]
DuplicatesOption: TypeAlias = Annotated[Duplicates, typer.Option("--duplicates", help="Repeated pairs.")]
DuplicatesOfSolver: TypeAlias = Annotated[
    Duplicates | None,
    typer.Option("--duplicates", help="Repeated pairs; by default their sum, and the last rating of als-explicit."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Progress: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show on stderr how far it is: by default to a terminal; with --progress also to a log, every 30 s.",
        show_default=False,
    ),
]
PlanOnly: TypeAlias = Annotated[
    bool, typer.Option("--plan", help="Tell what it would take, and write nothing; 1 if it does not fit.")
]
TestFile: TypeAlias = Annotated[
    str | None, typer.Option("--test", metavar="FILE", help="Held-out rows; by default a part of INPUT.")
]
HowOption: TypeAlias = Annotated[
    HowToHoldOut, typer.Option("--how", help="How rows are held out of INPUT: see `recscale split`.")
]
Fraction: TypeAlias = Annotated[float, typer.Option("--fraction", help="Share of the rows of INPUT to hold out.")]
RankingMetrics: TypeAlias = Annotated[
    str, typer.Option("--metrics", help="Ranking metrics with commas; the first decides.")
]
TestUsers: TypeAlias = Annotated[
    int, typer.Option("--test-users", help="Most users to judge by, drawn at random; 0 is all.")
]
ReportPage: TypeAlias = Annotated[
    str | None, typer.Option("--report", metavar="REPORT.html", help="Write a page with curves: a file, or a URL.")
]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Model: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="Folder, or URL, that `recscale fit --out` wrote.")
]


@dataclass(frozen=True, slots=True)
class Input:
    """How a file of interactions is to be read, in the words of the command line."""

    user: str | None = None
    item: str | None = None
    value: str | None = None
    time: str | None = None
    format: str | None = None

    def read(self, source: str) -> Interactions:
        """Return the interactions of a path, glob or URL."""
        from recscale_dask.api.reading import read_interactions

        return read_interactions(source, **self.columns(), format=self.format)

    def columns(self) -> dict[str, Any]:
        """Return which column holds what, as the api takes it."""
        return {name: _column(text) for name, text in asdict(self).items() if name != "format"}

    def matrix(self, source: str, solver: str, duplicates: Duplicates | None = None) -> UserItemMatrix:
        """Return the matrix of a store, or of interactions at a path, glob or URL, for a fit."""
        from recscale_dask.api.fitting import duplicates_of
        from recscale_dask.data.interactions import Interactions
        from recscale_dask.data.matrix import UserItemMatrix

        data = self.data(source)
        if isinstance(data, Interactions):
            how = duplicates_of(solver) if duplicates is None else duplicates.value
            return UserItemMatrix.from_interactions(data, duplicates=how)
        if duplicates not in (None, Duplicates.sum):
            raise typer.BadParameter(
                f"{source} is a store, where repeated pairs were combined when it was made: see `recscale ingest`",
                param_hint="--duplicates",
            )
        return data

    def data(self, source: str) -> UserItemMatrix | Interactions:
        """Return a store as a matrix, and what is at another path, glob or URL as interactions."""
        from recscale_dask.data.matrix import UserItemMatrix
        from recscale_dask.data.store import is_store

        if not is_store(source):
            return self.read(source)
        if self != Input():
            raise typer.BadParameter(
                f"{source} is a store, whose columns were named when it was made", param_hint="--user"
            )
        return UserItemMatrix.open(source)

    def or_as_in_training(self, model: Factors, source: str) -> Input:
        """Return how the training data were read, if this says nothing and the file has the same suffix."""
        how_read = dict(model.provenance.get("input", {}))
        if self != Input() or how_read.pop("suffix", None) != Path(source).suffix:
            return self
        return Input(**how_read)


def solver_settings(pairs: Sequence[str] | None, named: Iterable[str]) -> dict[str, Any]:
    """Return the options of a solver in ``--set``; those that have an option of their own are not among them."""
    settings = key_values(pairs, "--set")
    for name in settings.keys() & {*named, "executor", "progress", "matrix", "checkpoint", "resume", "warm_start"}:
        raise typer.BadParameter(f"{name} is no option of a solver; use --{name.replace('_', '-')}", param_hint="--set")
    return settings


def names(text: str) -> list[str]:
    """Return what a text with commas lists."""
    return [name.strip() for name in text.split(",") if name.strip()]


def key_values(pairs: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Return ``key=value`` texts as a dict; values are JSON scalars where they can be, and text otherwise."""
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise typer.BadParameter(f"expected key=value, such as n_workers=2; got {pair!r}", param_hint=option)
        found[key] = _scalar(text)
    return found


@contextmanager
def opened_executor(name: str | None, options: Sequence[str] | None, *, told: bool = True) -> Iterator[Executor | None]:
    """Open the executor that is named before any other work, so that one that cannot run fails at once.

    Without a name, None: the api chooses, which is told on stderr, unless the command tells it itself or answers in
    JSON.
    """
    arguments = key_values(options, "--option")
    if name is None:
        if arguments:
            raise typer.BadParameter("options are for an executor: name one with --executor", param_hint="--option")
        with _choices_told() if told and not only_results() else nullcontext():
            yield None
        return
    from recscale_dask.api.executors import open_executor

    with ExitStack() as stack:
        with sigterm_kept():
            executor = stack.enter_context(open_executor(name, **arguments))
        yield executor


@contextmanager
def _choices_told() -> Iterator[None]:
    """Tell on stderr which executors are chosen, and why, each once."""
    from recscale_dask.api.plugins import plugin_manager
    from recscale_dask.execution.events import ExecutorChosen
    from recscale_dask.hooks.specs import hookimpl

    told: set[ExecutorChosen] = set()

    class Notes:
        @hookimpl
        def recscale_executor_chosen(self, event: ExecutorChosen) -> None:
            if event not in told:
                told.add(event)
                typer.echo(f"note: on {event.executor}, as {event.reason}.", err=True)

    with plugin_manager().registered(Notes(), name="recscale command"):
        yield


def _column(text: str | None) -> Any:
    """Return a column's name, its position from 0, False for "there is none", or None for "guess"."""
    if text is not None and text.isdecimal():
        return int(text)
    return False if text in ("false", "False") else text


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value
