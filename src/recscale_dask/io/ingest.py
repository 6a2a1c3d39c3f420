"""From a stream of interactions to a matrix store, in bounded memory.

1. Rows are read piece by piece, checked, and their ids numbered in the order of arrival (`ingest_rows`).
2. When all ids are known they are sorted; rows go to groups of neighbouring users, by codes (`ingest_groups`).
3. Each group is sorted and combined in memory, by what does that for interactions in memory (`ingest_values`).
4. What is left after the filters is cut into the blocks of the store.

So the store has the bytes of ``UserItemMatrix.from_interactions(read_interactions(...)).save(...)``, whatever the
pieces and the memory. Between the stages rows are on disk, in a folder beside the store or, if that is at a URL, in
that for temporary files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import pyarrow as pa

from recscale_dask.data.interactions import AGGREGATIONS
from recscale_dask.data.store import STORE
from recscale_dask.data.store_lock import store_lock
from recscale_dask.data.store_writer import write_store
from recscale_dask.errors import OptionError
from recscale_dask.execution.events import Observer
from recscale_dask.io.ingest_files import working_folder
from recscale_dask.io.ingest_groups import group_rows
from recscale_dask.io.ingest_room import Room
from recscale_dask.io.ingest_rows import number_rows
from recscale_dask.io.ingest_values import combine_rows, keep_frequent
from recscale_dask.io.ingest_window import Window
from recscale_dask.io.pieces import Stream
from recscale_dask.outputs import check_folder
from recscale_dask.remote import is_url
from recscale_dask.types import Aggregation


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which interactions come into the store, and how.

    Attributes
    ----------
    duplicates : {"sum", "max", "last"}
        What becomes of several rows of one user and item.
    min_user_interactions, min_item_interactions : int
        Stored values that every user and every item has in the end.
    window : Window
        Times that interactions lie in.
    """

    duplicates: Aggregation = "sum"
    min_user_interactions: int = 1
    min_item_interactions: int = 1
    window: Window = field(default_factory=Window)

    def __post_init__(self) -> None:
        if self.duplicates not in AGGREGATIONS:
            raise OptionError(f"duplicates={self.duplicates!r} is none of {', '.join(AGGREGATIONS)}.")
        for name in ("min_user_interactions", "min_item_interactions"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1; got {getattr(self, name)}.")

    @property
    def filters(self) -> bool:
        """Whether users or items may be left out."""
        return max(self.min_user_interactions, self.min_item_interactions) > 1


@dataclass(frozen=True, slots=True)
class Ingested:
    """How an ingest went.

    Attributes
    ----------
    rows : int
        Interactions that were read, within the window of time.
    seconds : dict of str to float
        Of its stages, by name.
    """

    rows: int
    seconds: dict[str, float]


def ingest_stream(
    stream: Stream,
    target: str | os.PathLike[str],
    rules: Rules,
    *,
    memory_limit: int | None,
    overwrite: bool,
    observer: Observer,
) -> Ingested:
    """Write the interactions of a stream to a store.

    Parameters
    ----------
    stream : Stream
    target : path or URL
        Folder of the store, which appears whole or not at all.
    rules : Rules
    memory_limit : int or None
        Bytes that this process may take in all.
    overwrite : bool
        Whether a store at `target` is replaced.
    observer : Observer
        Gets an `IngestStep` now and then.

    Raises
    ------
    DataError
        If the rows cannot be used, or none are left.
    OptionError
        If the memory does not suffice; says how much would.
    OutputError
        If the store cannot be written.
    StoreError
        If another writer is at work on it.
    """
    room = Room(memory_limit)
    check_folder(STORE, target, overwrite=overwrite)
    seconds: dict[str, float] = {}
    with nullcontext() if is_url(target) else store_lock(target), working_folder(target) as folder:
        with _timed(seconds, "read"):
            rows = number_rows(stream, folder, rules.window, room, observer)
        with _timed(seconds, "group"):
            groups = group_rows(rows, folder, room, observer)
        with _timed(seconds, "sort"):
            values = combine_rows(rows, groups, rules.duplicates, folder, observer)
        if rules.filters:
            least = (rules.min_user_interactions, rules.min_item_interactions)
            with _timed(seconds, "filter"):
                values = keep_frequent(values, *least, folder / "kept", observer)
        with _timed(seconds, "write"):
            write_store(target, values.blocks(observer), values.users, values.items, overwrite=overwrite)
    return Ingested(rows.n_rows, seconds)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    pa.default_memory_pool().release_unused()  # what one stage held is there for the next
    seconds[stage] = round(time.perf_counter() - start, 3)
