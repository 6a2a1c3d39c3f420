"""Interactions that Dask computes: the partitions of a frame, or files that its workers read, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recscale_dask.io.frames import Columns, not_held
from recscale_dask.io.pieces import Piece, Stream, pieces_of
from recscale_dask.io.places import File, locate
from recscale_dask.io.readers import STREAMERS

if TYPE_CHECKING:
    from distributed import Client

_AT_ONCE = 4  # without a cluster: partitions in memory, and threads that compute them


def stream_dask_frame(frame: Any, columns: Columns, client: Client | None) -> Stream:
    """Return a Dask frame partition by partition, converted where it is computed.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
    columns : Columns
    client : distributed.Client or None
        Of the cluster that computes; None leaves it to Dask (its current client, or threads of this process).
    """
    found = columns.find(list(frame.columns))
    partitions = frame[found.names].to_delayed()
    return Stream(
        found, _computed([partial(_arrow_of, number) for number in range(len(partitions))], partitions, client)
    )


def stream_dask_files(source: Any, format: str, columns: Columns, client: Client | None) -> Stream:
    """Return files that are read by Dask's workers, which have to see them, each as a whole."""
    files = locate(source)
    whole = STREAMERS[format](files, columns)  # looks at the first lines and at schemas, here
    read = partial(_pieces_of_file, format, columns)
    return Stream(whole.columns, _computed([read] * len(files), files, client), whole.exact, whole.n_rows)


def _computed(tasks: Sequence[Any], arguments: Sequence[Any], client: Client | None) -> Iterator[Piece]:
    """Yield what the tasks return, in their order, with few of them on their way at a time."""
    from dask import compute, delayed

    made = [delayed(task)(argument) for task, argument in zip(tasks, arguments, strict=True)]
    if client is None:
        for start in range(0, len(made), _AT_ONCE):
            for pieces in compute(*made[start : start + _AT_ONCE]):
                yield from pieces
        return
    at_once = 2 * max(1, sum(client.nthreads().values()))
    coming: deque[Any] = deque(client.compute(made[:at_once]))
    for each in [*made[at_once:], *[None] * min(at_once, len(made))]:
        pieces = coming.popleft().result()
        if each is not None:
            coming.append(client.compute(each))
        yield from pieces


def _arrow_of(number: int, partition: Any) -> list[Piece]:
    try:
        return list(pieces_of([pa.Table.from_pandas(partition, preserve_index=False)], f"partition {number}"))
    except (pa.ArrowException, TypeError) as problem:
        raise not_held(partition, problem) from problem


def _pieces_of_file(format: str, columns: Columns, file: File) -> list[Piece]:
    return list(STREAMERS[format]([file], columns).pieces)
