"""Writing a matrix to disk: block by block, with its statistics, whole or not at all."""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import write_arrow
from recscale_dask.data.blocks import Block
from recscale_dask.data.store import BLOCKS, STORE, VOCABULARIES
from recscale_dask.data.stored_block import write_block
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.data.weighting import Summary, column_sums, row_sums, summarize
from recscale_dask.manifest import file_entry
from recscale_dask.outputs import written_folder
from recscale_dask.tree import fold_tree
from recscale_dask.types import Recipe

_THREADS = 2  # of which one usually waits for the disk
_NOTHING = Summary(np.zeros(0, np.int64), 0.0, 0, b"")


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
    path : path or URL
        Folder to write. To a URL all of it goes by way of a temporary folder of this machine.
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
    with written_folder(STORE, path, overwrite=overwrite) as new:
        fields = write_base(new.files, new.prefix, blocks, users, items)
        STORE.write(new.path, fields)


def write_base(
    folder: Path, prefix: str, blocks: Iterable[Recipe[Block]], users: Vocabulary, items: Vocabulary
) -> dict[str, Any]:
    """Write all that a store is made of, but for the manifest, whose fields are returned.

    Parameters
    ----------
    folder : Path
        Where to write; made here.
    prefix : str
        What leads to it from the folder of the store: empty, or ending in a slash.
    blocks, users, items
        See `write_store`.
    """
    (folder / BLOCKS).mkdir(parents=True)

    def write(block: Block) -> dict[str, Any]:
        name = f"{BLOCKS}/{block.index:06d}.arrow"
        write_block(block, folder / name)
        return {"file": prefix + name, "bytes": (folder / name).stat().st_size}

    return take_stock(blocks, write, len(items)).fields(folder, prefix, users, items)


@dataclass(frozen=True, slots=True, eq=False)
class _Totals:
    """What is known of a block: its entry in the manifest, and what it adds to the statistics."""

    entry: dict[str, Any]
    row_counts: NDArray[np.int64]
    row_sums: NDArray[np.float64]
    column_sums: NDArray[np.float64]
    smallest: float
    largest: float
    dtype: str
    summary: Summary


@dataclass(frozen=True, slots=True, eq=False)
class Inventory:
    """What is known of the blocks of a matrix, one after another.

    Attributes
    ----------
    entries : list of dict
        Of the manifest.
    counts, sums : ndarray of shape (n_users,)
        Number and sum of the stored values of each user.
    column_sums : ndarray of shape (n_items,)
    smallest, largest : float
        Of all values; of no values 0.
    dtype : str
    summary : Summary
    """

    entries: list[dict[str, Any]]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    column_sums: NDArray[np.float64]
    smallest: float
    largest: float
    dtype: str
    summary: Summary

    def fields(self, folder: Path, prefix: str, users: Vocabulary, items: Vocabulary) -> dict[str, Any]:
        """Write the vocabularies to a folder, and return the fields of the manifest; see `write_base`."""
        vocabularies = {}
        for name, known, counts, sums in (
            ("users", users, self.counts, self.sums),
            ("items", items, self.summary.counts, self.column_sums),
        ):
            file = VOCABULARIES[name]
            write_arrow(folder / file, {"id": known.ids, "count": counts, "sum": sums})
            vocabularies[name] = {"file": prefix + file, **file_entry(folder / file)}
        return {
            "n_users": len(users),
            "n_items": len(items),
            "n_stored": sum(entry["n_stored"] for entry in self.entries),
            "dtype": self.dtype,
            "fingerprint": self.summary.digest.hex(),
            "statistics": {
                "sum": self.summary.total,
                "smallest": self.smallest,
                "largest": self.largest,
                "longest_row": int(self.counts.max(initial=0)),
                "longest_column": int(self.summary.counts.max(initial=0)),
            },
            "blocks": self.entries,
            "vocabularies": vocabularies,
        }


def take_stock(blocks: Iterable[Recipe[Block]], write: Callable[[Block], dict[str, Any]], n_items: int) -> Inventory:
    """Go through blocks once, a few at a time in memory, and return what is in them.

    Parameters
    ----------
    blocks : iterable of Block or of recipes of them
        In row order.
    write : callable
        Called with each on one of a few threads; returns where it is, for its entry in the manifest.
    n_items : int
    """
    found: list[_Totals] = []
    column_totals = np.zeros(n_items)

    def summaries() -> Iterator[Summary]:
        for totals in _each(blocks, write):
            np.add(column_totals, totals.column_sums, out=column_totals)
            # Few are in memory: they have a number an item.
            found.append(replace(totals, column_sums=column_totals[:0], summary=_NOTHING))
            yield totals.summary

    summary = fold_tree(summaries(), operator.add)
    return Inventory(
        [each.entry for each in found],
        np.concatenate([each.row_counts for each in found]),
        np.concatenate([each.row_sums for each in found]),
        column_totals,
        min(each.smallest for each in found),
        max(each.largest for each in found),
        found[0].dtype,
        summary,
    )


def _each(blocks: Iterable[Recipe[Block]], write: Callable[[Block], dict[str, Any]]) -> Iterator[_Totals]:
    def totals(index: int, source: Recipe[Block]) -> _Totals:
        block = source.load()
        if block.index != index:
            raise ValueError(f"block {block.index} was given as number {index}: give all blocks, in row order")
        summary = summarize(block)
        entry = {
            "start": block.start,
            "n_rows": block.n_rows,
            "n_stored": len(block.values),
            "digest": summary.digest.hex(),
            **write(block),
        }
        values = block.values if len(block.values) else np.zeros(1)  # what is not stored is zero
        return _Totals(
            entry,
            np.diff(block.indptr),
            row_sums(block),
            column_sums(block),
            float(values.min()),
            float(values.max()),
            block.values.dtype.name,
            summary,
        )

    with ThreadPoolExecutor(_THREADS) as threads:
        waiting: deque[Future[_Totals]] = deque()
        for index, source in enumerate(blocks):
            waiting.append(threads.submit(totals, index, source))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
