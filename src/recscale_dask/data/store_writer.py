"""Writing a matrix to disk: block by block, with its statistics, whole or not at all."""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recscale_dask.atomic import check_output, written_beside
from recscale_dask.data.arrow_file import write_arrow
from recscale_dask.data.blocks import Block
from recscale_dask.data.store import BLOCKS, STORE, VOCABULARIES
from recscale_dask.data.stored_block import write_block
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.data.weighting import Summary, column_sums, row_sums, summarize
from recscale_dask.errors import OutputError
from recscale_dask.manifest import file_entry
from recscale_dask.tree import fold_tree
from recscale_dask.types import Recipe

_THREADS = 2  # of which one usually waits for the disk


def write_store(
    path: str | os.PathLike[str],
    blocks: Iterable[Recipe[Block]],
    users: Vocabulary,
    items: Vocabulary,
    *,
    overwrite: bool = False,
) -> None:
    """Write row blocks to a store: a folder that appears whole or not at all.

    Parameters
    ----------
    path : path
        Folder to write.
    blocks : iterable of Block or of recipes of them
        In row order, cut by `recscale_dask.data.blocks.balanced_bounds`; taken as the disk has room, so that few are
        in memory.
    users, items : Vocabulary
        Ids of rows and columns.
    overwrite : bool
        Whether a store at `path` is replaced; anything else is never.

    Raises
    ------
    OutputError
        If there is something at `path`, or it cannot be written.
    """
    target = Path(path)
    check_target(target, overwrite=overwrite)
    with written_beside(target, overwrite=overwrite) as folder:
        (folder / BLOCKS).mkdir(parents=True)
        entries: list[dict[str, Any]] = []
        rows: list[_RowTotals] = []
        column_totals = np.zeros(len(items))

        def summaries() -> Iterator[Summary]:
            for entry, totals, columns, summary in _each_written(blocks, folder):
                entries.append(entry)
                rows.append(totals)
                np.add(column_totals, columns, out=column_totals)
                yield summary

        summary = fold_tree(summaries(), operator.add)  # few are in memory: each has a number an item
        counts, sums = (np.concatenate(each) for each in zip(*((row.counts, row.sums) for row in rows), strict=True))
        for name, vocabulary, *totals in (
            ("users", users, counts, sums),
            ("items", items, summary.counts, column_totals),
        ):
            write_arrow(folder / VOCABULARIES[name], {"id": vocabulary.ids, "count": totals[0], "sum": totals[1]})
        STORE.write(
            folder,
            {
                "n_users": len(users),
                "n_items": len(items),
                "n_stored": sum(entry["n_stored"] for entry in entries),
                "dtype": rows[0].dtype,
                "fingerprint": summary.digest.hex(),
                "statistics": {
                    "sum": summary.total,
                    "smallest": min(row.smallest for row in rows),
                    "largest": max(row.largest for row in rows),
                    "longest_row": int(counts.max(initial=0)),
                    "longest_column": int(summary.counts.max(initial=0)),
                },
                "blocks": entries,
                "vocabularies": {name: file_entry(folder / file) for name, file in VOCABULARIES.items()},
            },
        )


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise an OutputError if a store cannot be written there: something is in the way, or the folder is missing."""
    if overwrite and target.exists() and not STORE.is_at(target):
        raise OutputError(f"{target} exists and is not a store, so it is not overwritten. Choose another path.")
    check_output(target, overwrite=overwrite)


@dataclass(frozen=True, slots=True, eq=False)
class _RowTotals:
    """What is known of the rows of a block once it is on disk."""

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    smallest: float
    largest: float
    dtype: str


_OnDisk: TypeAlias = tuple[dict[str, Any], _RowTotals, NDArray[np.float64], Summary]


def _each_written(blocks: Iterable[Recipe[Block]], folder: Path) -> Iterator[_OnDisk]:
    """Write blocks on a few threads; yield of each, in order, its entry in the manifest and what it adds up to."""

    def write(index: int, source: Recipe[Block]) -> _OnDisk:
        block = source.load()
        if block.index != index:
            raise ValueError(f"block {block.index} was given as number {index}: give all blocks, in row order")
        name = f"{BLOCKS}/{index:06d}.arrow"
        write_block(block, folder / name)
        entry = {
            "file": name,
            "start": block.start,
            "n_rows": block.n_rows,
            "n_stored": len(block.values),
            "bytes": (folder / name).stat().st_size,
            "digest": (summary := summarize(block)).digest.hex(),
        }
        values = block.values if len(block.values) else np.zeros(1)  # what is not stored is zero
        totals = _RowTotals(
            np.diff(block.indptr), row_sums(block), float(values.min()), float(values.max()), block.values.dtype.name
        )
        return entry, totals, column_sums(block), summary

    with ThreadPoolExecutor(_THREADS) as threads:
        waiting: deque[Future[_OnDisk]] = deque()
        for index, source in enumerate(blocks):
            waiting.append(threads.submit(write, index, source))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
