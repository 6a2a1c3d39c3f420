"""Interactions of any number into a matrix store."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from typing import Any, Literal

from recscale_dask.api.executors import executor_for
from recscale_dask.api.job_plan import JobPlan, free_disk
from recscale_dask.api.observing import observing
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.staged_plan import PROCESS_BYTES
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.errors import OptionError, UnknownNameError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.execution.memory import byte_count, usable_memory
from recscale_dask.io.frames import Column, Columns, is_dask
from recscale_dask.io.ingest import Ingested, Rules, ingest_stream
from recscale_dask.io.ingest_forecast import forecast_ingest
from recscale_dask.io.ingest_glance import glance
from recscale_dask.io.ingest_room import Room
from recscale_dask.io.ingest_window import Window
from recscale_dask.io.interactions import is_place
from recscale_dask.io.pieces import Stream, pieces_of, stream_frame
from recscale_dask.io.readers import STREAMERS, format_of
from recscale_dask.remote import is_url
from recscale_dask.types import Aggregation

ENGINES = ("arrow", "dask")


def ingest(
    source: Any,
    store: str | os.PathLike[str],
    *,
    user: Column = None,
    item: Column = None,
    value: Column = None,
    time: Column = None,
    format: str | None = None,
    duplicates: Aggregation = "sum",
    memory_limit: int | str | None = None,
    min_user_interactions: int = 1,
    min_item_interactions: int = 1,
    since: Any = None,
    until: Any = None,
    engine: Literal["arrow", "dask"] | None = None,
    executor: str | Executor | None = None,
    overwrite: bool = False,
    progress: bool | Observer | None = None,
) -> UserItemMatrix:
    """Write interactions to a matrix store, in bounded memory, and return the opened matrix.

    The store has the same bytes as that of the matrix in memory,
    ``UserItemMatrix.from_interactions(read_interactions(source)).save(store)``, whatever the memory and the engine.

    Parameters
    ----------
    source : path or frame
        Whatever `read_interactions` takes. Files are read piece by piece, as are the partitions of a Dask frame, a lazy
        Polars frame, a DuckDB relation and a record batch reader.
    store : path or URL
        Folder to write, which appears whole or not at all. Room for about 20 bytes a row is needed beside it. To a URL
        it is copied from the folder of this machine for temporary files, which has to have room for both.
    user, item, value, time : str, int, False or None
        Columns, as in `read_interactions`.
    format : str, optional
        As in `read_interactions`. Formats of plugins are read as a whole.
    duplicates : {"sum", "max", "last"}
        What becomes of several rows of one user and item.
    memory_limit : int or str, optional
        The most that this process may take, such as ``"2GiB"``. By default sizes are those of about 1 GiB, and the ids
        may take what they need.
    min_user_interactions, min_item_interactions : int
        Users with fewer stored values and items with fewer users are left out, again and again until every user and
        item that is left has enough.
    since, until : number, date or their text, optional
        Keep interactions from `since` up to, but not with, `until`: numbers in the unit of the column, or dates if it
        holds dates (in UTC if they name no zone).
    engine : {"arrow", "dask"}, optional
        Who reads: this process, or the workers of Dask (the default for its frames, and with an `executor`).
    executor : "dask" or an open DaskExecutor, optional
        For its cluster. Files have to be where its workers see them.
    overwrite : bool
        Whether a store that is there is replaced; anything else never is.
    progress : bool, callable or None
        A bar on stderr; by default if that is a terminal.

    Raises
    ------
    DataError
        If the source is missing, empty or malformed, a cell is null or not finite, or nothing is left.
    OptionError
        If the memory does not suffice (says how much would), or options contradict each other.
    OutputError
        If the store exists or cannot be written, such as on a full disk. Nothing is left behind then.
    StoreError
        If another process writes to that store.
    UnknownNameError
        If nothing reads that format.
    """
    run_ingest(
        source,
        store,
        Columns(user, item, value, time),
        Rules(
            duplicates=duplicates,
            min_user_interactions=min_user_interactions,
            min_item_interactions=min_item_interactions,
            window=Window.of(since, until),
        ),
        format=format,
        memory_limit=memory_limit,
        engine=engine,
        executor=executor,
        overwrite=overwrite,
        progress=progress,
    )
    return UserItemMatrix.open(store)


def plan_ingest(
    source: Any,
    store: str | os.PathLike[str],
    *,
    user: Column = None,
    item: Column = None,
    value: Column = None,
    time: Column = None,
    format: str | None = None,
    duplicates: Aggregation = "sum",
    memory_limit: int | str | None = None,
    min_user_interactions: int = 1,
    min_item_interactions: int = 1,
    since: Any = None,
    until: Any = None,
) -> JobPlan:
    """Return what `ingest` with these arguments would take: memory, room on the disk, and time. Nothing is written.

    Rows are counted by what the files say of themselves (text: by its size); how many ids there are is estimated from
    up to four million rows, or 64 MB of text, within what the statistics of Parquet files leave room for. So it takes a
    second or two for any size. `JobPlan.assumed` says what was assumed.

    Parameters
    ----------
    source, store, user, item, value, time, format, duplicates, memory_limit, min_user_interactions, \
    min_item_interactions, since, until
        See `ingest`; a source whose rows are not counted before they are computed cannot be planned.

    Raises
    ------
    DataError
        If the source is missing, empty or malformed as far as it was read.
    OptionError
        If the memory does not suffice for any ingest, or the rows of a frame are not known.
    """
    rules = Rules(
        duplicates=duplicates,
        min_user_interactions=min_user_interactions,
        min_item_interactions=min_item_interactions,
        window=Window.of(since, until),
    )
    return plan_ingest_by(source, store, Columns(user, item, value, time), rules, format, memory_limit)


def plan_ingest_by(
    source: Any,
    store: str | os.PathLike[str],
    columns: Columns,
    rules: Rules,
    format: str | None,
    memory_limit: int | str | None,
) -> JobPlan:
    """Return the plan of an ingest; see `plan_ingest`."""
    limit = None if memory_limit is None else byte_count(memory_limit)
    room = Room(limit)
    if format is None and is_place(source):
        format = format_of(source)
    ahead = glance(source, columns, format)
    forecast = forecast_ingest(ahead, rules, room)
    users, items = ahead.users.n, ahead.items.n
    filtered = ["all rows are in the window of time"] * bool(rules.window)
    filtered += ["no user and no item is left out"] * rules.filters
    return JobPlan(
        stages=forecast.stages,
        n_workers=1,
        workers_here=True,
        process_bytes=PROCESS_BYTES,
        worker_process_bytes=0,
        memory_limit=usable_memory() if limit is None else limit,
        what=f"ingest of about {ahead.n_rows:,} rows of {users:,} users and {items:,} items",
        sizes={"rows": ahead.n_rows, "n_users": users, "n_items": items},
        disk_bytes=forecast.disk_bytes,
        left_bytes=forecast.store_bytes,
        disk_free=free_disk(tempfile.gettempdir() if is_url(store) else store),
        assumed=(*ahead.assumed, "every row is a pair of its own", *filtered),
    )


def run_ingest(
    source: Any,
    store: str | os.PathLike[str],
    columns: Columns,
    rules: Rules,
    *,
    format: str | None,
    memory_limit: int | str | None,
    engine: str | None,
    executor: str | Executor | None,
    overwrite: bool,
    progress: bool | Observer | None,
) -> Ingested:
    """Write a store, and return how that went; see `ingest`."""
    limit = None if memory_limit is None else byte_count(memory_limit)
    with ExitStack() as stack:
        client = _client(source, engine, executor, stack)
        observer = stack.enter_context(observing(progress))
        stream = _stream(source, columns, format, client)
        return ingest_stream(stream, store, rules, memory_limit=limit, overwrite=overwrite, observer=observer)


def _client(source: Any, engine: str | None, executor: str | Executor | None, stack: ExitStack) -> Any:
    """Return the client of Dask, None for that which Dask chooses, or False if Dask has nothing to do.

    An executor that is named is open until the stack is closed.
    """
    if engine is not None and engine not in ENGINES:
        raise OptionError(
            f"engine={engine!r} is none of {', '.join(ENGINES)}. A Spark frame, a DuckDB relation or a Polars frame "
            "goes in as the source."
        )
    if executor is not None:
        from recscale_dask.execution.dask import DaskExecutor

        if not (executor == "dask" or isinstance(executor, DaskExecutor)) or engine == "arrow":
            raise OptionError(
                "executor= of an ingest is 'dask' or an open Dask executor, `with open_executor('dask', ...) as "
                f"executor`, and not for engine='arrow'; got {executor!r}."
            )
        opened = stack.enter_context(executor_for(executor))
        assert isinstance(opened, DaskExecutor)
        return opened.client
    if engine == "arrow" and is_dask(source):
        raise OptionError("engine='arrow' does not compute Dask frames; leave the engine out.")
    return None if engine == "dask" or is_dask(source) else False


def _stream(source: Any, columns: Columns, format: str | None, client: Any) -> Stream:
    if not is_place(source):
        if format is not None:
            raise OptionError(f"format={format!r} is for paths; a {type(source).__name__} is read as a frame.")
        if is_dask(source):
            from recscale_dask.io.ingest_dask import stream_dask_frame

            return stream_dask_frame(source, columns, client)
        if client is not False:
            raise OptionError(f"engine='dask' reads files and Dask frames, not a {type(source).__name__}.")
        return stream_frame(source, columns)
    name = format_of(source) if format is None else format
    if name in STREAMERS and client is not False:
        from recscale_dask.io.ingest_dask import stream_dask_files

        return stream_dask_files(source, name, columns, client)
    if name in STREAMERS:
        return STREAMERS[name](source, columns)
    return _read_by_plugin(source, name, columns)


def _read_by_plugin(source: Any, name: str, columns: Columns) -> Stream:
    manager = plugin_manager()
    known = sorted({*STREAMERS, *(offer.spec.name for offer in manager.offers("readers"))})
    if name not in known:
        raise UnknownNameError(f"nothing reads the format {name!r}; there are {', '.join(known)}.")
    table = manager.resolve("readers", name)(source, columns)
    return Stream(columns.find(table.column_names), pieces_of([table], str(source)), n_rows=table.num_rows)
