"""Tables that come piece by piece, for what need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from recscale_dask.io.frames import (
    Columns,
    Found,
    is_spark,
    library_of,
    not_a_frame,
    not_held,
    pandas_columns,
    spark_reader,
)

PIECE_ROWS = 1 << 20
"""Most rows in a piece."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a source.

    Attributes
    ----------
    table : pyarrow.Table
        The asked columns, with the ids as they are in the source.
    place : str
        Path of the file; empty for a frame.
    rows_before : int
        Rows of that file or frame that came before.
    """

    table: pa.Table
    place: str = ""
    rows_before: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """A source, piece by piece; it can be gone through once.

    Attributes
    ----------
    columns : Found
        Which columns are which.
    pieces : iterable of Piece
    exact : frozenset of str
        Columns of text whose ids are integers if all of them survive that and back: see
        `recscale_dask.io.frames.with_exact_ids`.
    n_rows : int or None
        Rows in all, where that is known before they are read.
    """

    columns: Found
    pieces: Iterable[Piece]
    exact: frozenset[str] = frozenset()
    n_rows: int | None = None


def pieces_of(batches: Iterable[pa.RecordBatch | pa.Table], place: str = "") -> Iterator[Piece]:
    """Yield batches as pieces: small ones together, large ones in slices."""
    waiting: list[pa.Table] = []
    rows = before = 0
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        for start in range(0, table.num_rows, PIECE_ROWS):
            part = table.slice(start, PIECE_ROWS)
            if waiting and rows + part.num_rows > PIECE_ROWS:
                yield Piece(pa.concat_tables(waiting), place, before)
                before, rows, waiting = before + rows, 0, []
            waiting.append(part)
            rows += part.num_rows
    if waiting:
        yield Piece(pa.concat_tables(waiting), place, before)


def stream_frame(frame: Any, columns: Columns) -> Stream:
    """Return a frame piece by piece; see `recscale_dask.io.frames.read_frame` for which it may be.

    What computes its rows as they are asked for (a lazy Polars frame, a record batch reader, a DuckDB relation) is
    never in memory as a whole; nor is a Spark frame, which comes partition by partition.
    """
    library = library_of(frame)
    n_rows = None
    batches: Iterator[pa.Table]
    try:
        if library == "polars" and hasattr(frame, "collect_schema"):
            lazy = frame.lazy()
            found = columns.find(lazy.collect_schema().names())
            wanted = lazy.select(found.names)
            lazily = hasattr(wanted, "collect_batches") and frame is lazy
            batches = map(pa.table, wanted.collect_batches() if lazily else [wanted.collect()])
        elif library == "pandas" and hasattr(frame, "columns"):
            frame, found = pandas_columns(frame, columns)
            n_rows = len(frame)
            slices = (frame.iloc[start : start + PIECE_ROWS] for start in range(0, n_rows, PIECE_ROWS))
            batches = (pa.Table.from_pandas(each, preserve_index=False) for each in slices)
        elif is_spark(frame) or hasattr(frame, "__arrow_c_stream__"):
            reader = spark_reader(frame, columns) if is_spark(frame) else pa.RecordBatchReader.from_stream(frame)
            found = columns.find(reader.schema.names)
            batches = (pa.Table.from_batches([batch.select(found.names)]) for batch in reader)
        else:
            raise not_a_frame(frame)
    except (pa.ArrowException, TypeError) as problem:
        raise not_held(frame, problem) from problem
    return Stream(found, pieces_of(_each_held(frame, batches)), n_rows=n_rows)


def _each_held(frame: Any, batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    try:
        yield from batches
    except (pa.ArrowException, TypeError) as problem:
        raise not_held(frame, problem) from problem
