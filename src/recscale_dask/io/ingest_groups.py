"""The second stage of an ingest: rows go to groups of neighbouring users that can be sorted in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.execution.events import IngestStep, Observer
from recscale_dask.io.ingest_files import read_columns, refusing_to_write
from recscale_dask.io.ingest_ids import Lookup
from recscale_dask.io.ingest_room import Room
from recscale_dask.io.ingest_rows import Chunk, NumberedRows
from recscale_dask.linalg.row_moves import count_groups, move, move_coded, place_rows


@dataclass(frozen=True, slots=True)
class Group:
    """A file of all rows of users ``[start, stop)``, in the order of arrival."""

    path: Path
    n_rows: int
    start: int
    stop: int


def group_rows(rows: NumberedRows, folder: Path, room: Room, observer: Observer) -> list[Group]:
    """Return the rows in groups of neighbouring users, with codes in place of numbers; the chunks are deleted."""
    counts = rows.users.counts
    heaviest = int(np.argmax(counts))
    room.check_user(int(counts[heaviest]), rows.users.vocabulary.ids[heaviest].as_py())
    offsets = np.concatenate([[0], np.cumsum(counts)])
    n_groups = max(1, -(-rows.n_rows // room.group_rows))
    cuts = np.searchsorted(offsets, np.arange(1, n_groups) * (rows.n_rows / n_groups))
    bounds = np.unique(np.concatenate([[0], cuts, [len(counts)]]))
    groups = [
        Group(folder / f"group-{number:06d}", int(offsets[stop] - offsets[start]), int(start), int(stop))
        for number, (start, stop) in enumerate(pairwise(bounds))
    ]
    group_of_user = np.repeat(np.arange(len(groups), dtype=np.int32), np.diff(bounds))
    written = np.zeros(len(groups), np.int64)
    done = 0
    with ThreadPoolExecutor(1) as thread:
        chunks = iter(rows.chunks)
        coming = thread.submit(_grouped, rows, next(chunks), group_of_user, len(groups))
        for chunk in [*chunks, None]:
            columns, sizes = coming.result()
            if chunk is not None:
                coming = thread.submit(_grouped, rows, chunk, group_of_user, len(groups))
            with refusing_to_write(folder):
                _append(groups, written, columns, sizes)
            written += sizes
            done += int(sizes.sum())
            observer(IngestStep(stage="grouping", rows=done, total=rows.n_rows))
    return groups


def _grouped(
    rows: NumberedRows, chunk: Chunk, group_of_user: NDArray[np.int32], n_groups: int
) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    """Return the columns of a chunk in the order of groups, and how many rows each group has."""
    users, items, *others = read_columns(chunk.path, rows.dtypes, chunk.n_rows)
    user_lookup, item_lookup = rows.users.lookups[chunk.user_epoch], rows.items.lookups[chunk.item_epoch]
    sizes = np.zeros(n_groups, np.int64)
    count_groups(users, user_lookup.codes, user_lookup.first, group_of_user, sizes)
    destinations = np.empty(chunk.n_rows, np.int32)
    place_rows(users, group_of_user, np.cumsum(sizes) - sizes, destinations)
    moved = [_moved(users, destinations), _moved(items, destinations, item_lookup)]
    return moved + [_moved(column, destinations) for column in others], sizes


def _moved(column: NDArray[Any], destinations: NDArray[np.int32], lookup: Lookup | None = None) -> NDArray[Any]:
    moved = np.empty_like(column)
    if lookup is None:
        move(column, destinations, moved)
    else:
        move_coded(column, lookup.codes, lookup.first, destinations, moved)
    return moved


def _append(
    groups: list[Group], written: NDArray[np.int64], columns: list[NDArray[Any]], sizes: NDArray[np.int64]
) -> None:
    """Write rows behind those that each group has; in its file each column has the place of all its rows."""
    stops = np.cumsum(sizes)
    for group, before, start, stop in _not_empty(groups, written, stops - sizes, stops):
        file = os.open(group.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            place = 0
            for column in columns:
                _write_at(file, column[start:stop], place + before * column.itemsize)
                place += group.n_rows * column.itemsize
        finally:
            os.close(file)


def _not_empty(
    groups: list[Group], written: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> Iterator[tuple[Group, int, int, int]]:
    for number in np.flatnonzero(stops > starts):
        yield groups[number], int(written[number]), int(starts[number]), int(stops[number])


def _write_at(file: int, rows: NDArray[Any], place: int) -> None:
    data = rows.data.cast("B")
    while len(data):  # a full disk may take a part first
        n = os.pwrite(file, data, place)
        data, place = data[n:], place + n
