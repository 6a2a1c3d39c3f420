"""The last stages of an ingest: groups are sorted and combined, filtered, and read back as blocks of the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocks import Block, balanced_bounds
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError
from recscale_dask.execution.events import IngestStep, Observer
from recscale_dask.io.ingest_files import read_columns, refusing_to_write
from recscale_dask.io.ingest_groups import Group
from recscale_dask.io.ingest_rows import NumberedRows
from recscale_dask.linalg.row_moves import kept_values, prune
from recscale_dask.types import Aggregation

_THREADS = 2
PART_VALUES = 1 << 21
"""Stored values that are read at a time, to be filtered."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredValues:
    """A matrix in CSR on disk, in two flat files, and its ids.

    Attributes
    ----------
    folder : Path
        With the files ``items`` (int32) and ``values`` (float32).
    indptr : ndarray of int64, shape (n_users + 1,)
    users, items : Vocabulary
    """

    folder: Path
    indptr: NDArray[np.int64]
    users: Vocabulary
    items: Vocabulary

    def blocks(self, observer: Observer) -> Iterator[Block]:
        """Yield the blocks of the store."""
        for index, (start, stop) in enumerate(pairwise(balanced_bounds(self.indptr, len(self.items)))):
            indptr, items, values = self.rows(int(start), int(stop))
            yield Block(index, int(start), indptr, items, values, len(self.items))
            observer(IngestStep(stage="writing", rows=int(self.indptr[stop]), total=int(self.indptr[-1])))

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield bounds of users whose values can be in memory together."""
        start, n_users = 0, len(self.users)
        while start < n_users:
            stop = int(np.searchsorted(self.indptr, self.indptr[start] + PART_VALUES, side="right")) - 1
            yield start, max(start + 1, min(stop, n_users))
            start = max(start + 1, stop)

    def rows(
        self, start: int, stop: int, *, values: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Return the CSR arrays of users ``[start, stop)``."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        items = np.fromfile(self.folder / "items", np.int32, last - first, offset=4 * first)
        numbers = np.empty(0, np.float32)
        if values:
            numbers = np.fromfile(self.folder / "values", np.float32, last - first, offset=4 * first)
        return self.indptr[start : stop + 1] - first, items, numbers


_Combined: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


def combine_rows(
    rows: NumberedRows, groups: list[Group], duplicates: Aggregation, folder: Path, observer: Observer
) -> StoredValues:
    """Return the values of each user and item, combined as `Interactions.aggregate` does; the groups are deleted."""

    def combined(group: Group) -> _Combined:
        users, items, *others = read_columns(group.path, rows.dtypes, group.n_rows)
        values = others[0] if rows.has_values else None
        times = others[-1] if rows.has_times else None
        given = Interactions(users, items, values, times, rows.users.vocabulary, rows.items.vocabulary)
        unique = given.aggregate(duplicates)
        counts = np.bincount(unique.user_codes - np.int32(group.start), minlength=group.stop - group.start)
        ones = unique.values if unique.values is not None else np.ones(len(unique), np.float32)
        return counts, unique.item_codes, ones

    indptr = np.zeros(len(rows.users.vocabulary) + 1, np.int64)
    done = 0
    with (
        refusing_to_write(folder),
        (folder / "items").open("wb") as items_file,
        (folder / "values").open("wb") as values_file,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        for group, (counts, items, values) in _in_order(threads, combined, groups):
            indptr[group.start + 1 : group.stop + 1] = counts
            items_file.write(items.data)
            values_file.write(values.data)
            done += group.n_rows
            observer(IngestStep(stage="sorting", rows=done, total=rows.n_rows))
    np.cumsum(indptr, out=indptr)
    return StoredValues(folder, indptr, rows.users.vocabulary, rows.items.vocabulary)


def _in_order(
    threads: ThreadPoolExecutor, combined: Callable[[Group], _Combined], groups: list[Group]
) -> Iterator[tuple[Group, _Combined]]:
    waiting: deque[tuple[Group, Future[_Combined]]] = deque()
    for group in groups:
        waiting.append((group, threads.submit(combined, group)))
        if len(waiting) > _THREADS:
            done, result = waiting.popleft()
            yield done, result.result()
    while waiting:
        done, result = waiting.popleft()
        yield done, result.result()


def keep_frequent(
    matrix: StoredValues, least_of_user: int, least_of_item: int, folder: Path, observer: Observer
) -> StoredValues:
    """Return the largest part in which every user has so many items, and every item so many users.

    Raises
    ------
    DataError
        If nothing is left.
    """
    users_kept = np.ones(len(matrix.users), np.bool_)
    items_kept = np.ones(len(matrix.items), np.bool_)
    while True:
        counts = np.zeros(len(matrix.items), np.int64)
        for start, stop in matrix.parts():
            indptr, items, _ = matrix.rows(start, stop, values=False)
            prune(indptr, items, least_of_user, users_kept[start:stop], items_kept, counts)
            observer(IngestStep(stage="filtering", rows=int(matrix.indptr[stop]), total=int(matrix.indptr[-1])))
        rare = items_kept & (counts < max(least_of_item, 1))
        items_kept &= ~rare
        if not rare.any():
            break
    if not items_kept.any():
        raise DataError(
            f"nothing is left of {len(matrix.users)} users and {len(matrix.items)} items where every user has "
            f"{least_of_user} items and every item {least_of_item} users. Ask for fewer."
        )
    return _kept(matrix, users_kept, items_kept, folder)


def _kept(
    matrix: StoredValues, users_kept: NDArray[np.bool_], items_kept: NDArray[np.bool_], folder: Path
) -> StoredValues:
    new_codes = np.where(items_kept, np.cumsum(items_kept) - 1, -1).astype(np.int32)
    counts = np.zeros(len(matrix.users), np.int64)
    with refusing_to_write(folder):
        folder.mkdir()
        with (folder / "items").open("wb") as items_file, (folder / "values").open("wb") as values_file:
            for start, stop in matrix.parts():
                indptr, items, values = matrix.rows(start, stop)
                n = kept_values(
                    indptr, items, values, users_kept[start:stop], new_codes, counts[start:stop], items, values
                )
                items_file.write(items[:n].data)
                values_file.write(values[:n].data)
        for name in ("items", "values"):
            (matrix.folder / name).unlink()
    indptr = np.concatenate([[0], np.cumsum(counts[users_kept])])
    users, new_items = (
        Vocabulary(ids.take(np.flatnonzero(kept)))
        for ids, kept in ((matrix.users, users_kept), (matrix.items, items_kept))
    )
    return StoredValues(folder, indptr, users, new_items)
