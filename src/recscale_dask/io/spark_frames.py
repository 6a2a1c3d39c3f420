"""Spark frames as streams of Arrow batches; of Spark, nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

_BATCH_ROWS = 1 << 18  # in one message from a worker to the driver


def arrow_reader(frame: Any) -> pa.RecordBatchReader:
    """Return the rows of a Spark frame as Arrow batches, partition by partition, in the order of partitions.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Of any session, Spark Connect too. It is computed as the batches are asked for, the next partition while one
        is read. The driver holds two partitions at a time, and Spark all else.
    """
    batches = _batches(frame)
    first = next(batches, None)  # says how Arrow holds the columns: Spark's own answer to that differs by version
    if first is None:
        return pa.RecordBatchReader.from_batches(pa.schema([(name, pa.null()) for name in frame.columns]), [])
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))


def _batches(frame: Any) -> Iterator[pa.RecordBatch]:
    packed = frame.mapInArrow(_pack(_BATCH_ROWS), "batches binary")
    for row in packed.toLocalIterator(prefetchPartitions=True):
        with pa.ipc.open_stream(row.batches) as reader:
            yield from reader


def _pack(n_rows: int) -> Any:
    """Return a function that writes batches as messages of about so many rows; it travels to workers by value."""

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(each.num_rows for each in waiting) >= n_rows:
                yield message(waiting)
                waiting = []
        if waiting:
            yield message(waiting)

    def message(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for each in batches:
                writer.write_batch(each)
        return pa.RecordBatch.from_pydict({"batches": pa.array([sink.getvalue().to_pybytes()], pa.binary())})

    return pack
