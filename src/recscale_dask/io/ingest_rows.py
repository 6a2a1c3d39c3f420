"""The first stage of an ingest: rows are checked, their ids numbered, and the numbers kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recscale_dask.data.columns import Cells, to_times, to_values
from recscale_dask.data.vocabulary import decoded
from recscale_dask.errors import DataError
from recscale_dask.execution.events import IngestStep, Observer
from recscale_dask.io.ingest_files import refusing_to_write, write_columns
from recscale_dask.io.ingest_ids import Coded, Ids, ids_of
from recscale_dask.io.ingest_room import Room
from recscale_dask.io.ingest_window import Window
from recscale_dask.io.pieces import Piece, Stream

_THREADS = 4  # users, items, values with times; the next piece, or a chunk on its way to the disk


@dataclass(frozen=True, slots=True)
class Chunk:
    """A file of rows in the order of arrival: numbers of users and items, values and times where there are any."""

    path: Path
    n_rows: int
    user_epoch: int
    item_epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class NumberedRows:
    """All rows, on disk, and what their numbers mean.

    Attributes
    ----------
    chunks : list of Chunk
        In the order of arrival.
    dtypes : list of numpy.dtype
        Of the columns: user, item, and value and time where there are any.
    has_values, has_times : bool
    users, items : Coded
    """

    chunks: list[Chunk]
    dtypes: list[np.dtype[Any]]
    has_values: bool
    has_times: bool
    users: Coded
    items: Coded

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return sum(chunk.n_rows for chunk in self.chunks)


def number_rows(stream: Stream, folder: Path, window: Window, room: Room, observer: Observer) -> NumberedRows:
    """Return the rows of a stream with their ids numbered.

    Raises
    ------
    DataError
        If there are none, or a cell is null, not finite or not a number; the message names file, row and column.
    OptionError
        If the ids need more memory than there is.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        rows = _Rows(stream, folder, window, room, threads)
        for piece in _read_ahead(iter(stream.pieces), threads):
            rows.add(piece)
            observer(IngestStep(stage="reading", rows=rows.n_read, total=stream.n_rows))
        return rows.finish()


def _read_ahead(pieces: Iterator[Piece], threads: ThreadPoolExecutor) -> Iterator[Piece]:
    """Yield pieces, while the next one is read."""
    coming: Future[Piece | None] = threads.submit(next, pieces, None)
    while (piece := coming.result()) is not None:
        coming = threads.submit(next, pieces, None)
        try:
            yield piece
        finally:
            coming.cancel()


class _Rows:
    def __init__(self, stream: Stream, folder: Path, window: Window, room: Room, threads: ThreadPoolExecutor) -> None:
        self._stream, self._folder, self._window, self._room = stream, folder, window, room
        self._threads = threads
        self._found = stream.columns
        if window and self._found.time is None:
            raise DataError("a window of time needs a column of times; name it with time=.")
        self._kinds: dict[str, Any] = {}
        self._ids: dict[str, Ids] = {}
        self._chunks: list[Chunk] = []
        self._waiting: list[list[NDArray[Any]]] = []
        self._n_waiting = 0
        self._on_its_way: Future[None] | None = None
        self._epochs = (0, 0)
        self.n_read = 0

    def add(self, piece: Piece) -> None:
        if not piece.table.num_rows:
            return
        rest = self._threads.submit(self._values_and_times, piece)
        if self._window:  # ids that occur only outside of it are none of ours
            inside = rest.result()[1]
            user, item = (self._threads.submit(self._number, role, piece, inside) for role in ("user", "item"))
        else:
            user, item = (self._threads.submit(self._number, role, piece, None) for role in ("user", "item"))
        numbers = [user.result(), item.result()]
        epochs = (self._ids["user"].epoch, self._ids["item"].epoch)
        if epochs != self._epochs:
            self._flush()
            self._epochs = epochs
        self._waiting.append([*numbers, *rest.result()[0]])
        self._n_waiting += len(numbers[0])
        self.n_read += piece.table.num_rows
        if self._n_waiting >= self._room.chunk_rows:
            self._flush()
        kinds = self._ids.values()
        self._room.check_ids(sum(ids.nbytes for ids in kinds), max(ids.most for ids in kinds), self.n_read)

    def finish(self) -> NumberedRows:
        self._flush()
        self._wait()
        if not self._chunks:
            within = " in that window of time" if self._window and self.n_read else ""
            raise DataError(f"there are no interactions: the source has columns but not one row{within}.")
        kinds = ["i4", "i4", *["f4"] * self._has("value"), *["i8"] * self._has("time")]
        users, items = self._ids.pop("user").finish(), self._ids.pop("item").finish()
        return NumberedRows(
            self._chunks, [np.dtype(each) for each in kinds], self._has("value"), self._has("time"), users, items
        )

    def _has(self, role: str) -> bool:
        return getattr(self._found, role) is not None

    def _flush(self) -> None:
        if not self._n_waiting:
            return
        path = self._folder / f"chunk-{len(self._chunks):06d}"
        self._wait()
        self._on_its_way = self._threads.submit(self._write, path, self._waiting)
        self._chunks.append(Chunk(path, self._n_waiting, *self._epochs))
        self._waiting, self._n_waiting = [], 0

    def _write(self, path: Path, waiting: list[list[NDArray[Any]]]) -> None:
        columns = [np.concatenate(parts) for parts in zip(*waiting, strict=True)]
        with refusing_to_write(self._folder):
            write_columns(path, columns)

    def _wait(self) -> None:
        if self._on_its_way is not None:
            self._on_its_way.result()

    def _number(self, role: str, piece: Piece, inside: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        name = getattr(self._found, role)
        cells = Cells(_named(f"{role} column {name!r}", piece), piece.rows_before)
        column = piece.table[name]
        cells.refuse(pc.is_null(column), "no id", "Fill it in, or drop such rows")
        column = decoded(column)
        kind = self._kinds.setdefault(role, column.type)
        if column.type != kind:
            raise DataError(f"{cells.name} holds {column.type}, but {kind} before. Make them alike.")
        if role not in self._ids:
            try:
                self._ids[role] = ids_of(kind, exact_text=name in self._stream.exact)
            except DataError as problem:
                raise DataError(f"{cells.name}: {problem}") from problem
        if inside is not None:
            column = column.filter(pa.array(inside))
        return self._ids[role].add(column)

    def _values_and_times(self, piece: Piece) -> tuple[list[NDArray[Any]], NDArray[np.bool_] | None]:
        """Return the values and times, as far as there are any, and which of the rows are in the window."""
        columns: list[NDArray[Any]] = []
        inside = None
        if (name := self._found.value) is not None:
            cells = Cells(_named(f"value column {name!r}", piece), piece.rows_before)
            columns.append(to_values(decoded(piece.table[name]), cells))
        if (name := self._found.time) is not None:
            cells = Cells(_named(f"time column {name!r}", piece), piece.rows_before)
            times, dates = to_times(decoded(piece.table[name]), cells)
            if self._kinds.setdefault("time", dates) != dates:
                kinds = ("dates", "numbers") if dates else ("numbers", "dates")
                raise DataError(f"{cells.name} holds {kinds[0]}, but {kinds[1]} before. Make them alike.")
            if self._window:
                inside = self._window.holds(times, dates, cells.name)
            columns.append(times)
        return (columns if inside is None else [column[inside] for column in columns]), inside


def _named(column: str, piece: Piece) -> str:
    return f"{piece.place}: {column}" if piece.place else column
