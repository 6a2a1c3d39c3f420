"""Recommendations in Parquet: one file, or a data set that the workers write and that can be resumed."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.portable import load
from recscale_dask.execution.run import map_blocks
from recscale_dask.linalg.topk_candidates import Candidates
from recscale_dask.model import Factors
from recscale_dask.outputs import check_file, check_suffix, written_file
from recscale_dask.scoring.dataset import DataSet, part_name, schema
from recscale_dask.scoring.folder import Folder
from recscale_dask.scoring.recommend import (
    Batch,
    Rules,
    batches,
    best_of,
    constants,
    tables,
    to_table,
)
from recscale_dask.scoring.request import RecommendRequest
from recscale_dask.scoring.row_scores import RowScorer
from recscale_dask.scoring.user_rows import UserRows, placed_rows

PARQUET: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["user", "item"],  # of scores, all different, it takes twice the time and more room
    "write_statistics": True,
}
"""How files are written; named here, so that the bytes do not change with the defaults of Arrow."""


def check_recommendations(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a file of recommendations cannot be written there, before any work is done."""
    check_file(path, overwrite=overwrite)
    check_suffix(path, "Parquet", (".parquet", ".pq"))


def recommend_file(
    model: Factors,
    wanted: RecommendRequest,
    path: str | os.PathLike[str],
    executor: Executor,
    *,
    overwrite: bool = False,
    observer: Observer = ignore,
) -> int:
    """Write all recommendations to one Parquet file, a batch of users at a time; return the number of rows.

    Raises
    ------
    OutputError
        If the path exists (and `overwrite` is false) or cannot be written.
    """
    rows = 0
    with (
        written_file(path, overwrite=overwrite) as beside,
        pq.ParquetWriter(beside, schema(model), **PARQUET) as writer,
    ):
        for table in tables(model, wanted, executor, observer=observer):
            writer.write_table(table)
            rows += len(table)
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One job: a batch of users, whose rows have their ids, and the name of the file."""

    batch: Batch
    name: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a part: how many rows it has, or why it could not be written."""

    rows: int
    problem: str | None = None


def recommend_to(
    model: Factors,
    wanted: RecommendRequest,
    path: str | os.PathLike[str],
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> int:
    """Write all recommendations under a folder and return the number of rows there.

    Each batch of users is one file ``part-00000.parquet`` (user, item, rank, score), which appears whole,
    written by the worker that computed it. Called again with the same model and request, only missing
    files are made; finished bytes are the same whoever wrote them. Workers must see the folder.

    Raises
    ------
    OutputError
        If the folder holds anything else, or cannot be written.
    """
    wanted = wanted.of(model)
    data = DataSet.open(path, model, wanted)
    finished = data.finished()
    rows = sum(finished.values())
    numbers = [number for number in range(data.n_parts) if number not in finished]
    if numbers:
        with closing(_written(model, wanted, data, numbers, executor, observer)) as receipts:
            for receipt in receipts:
                if receipt.problem is not None:
                    raise data.folder.failed(receipt.problem)
                rows += receipt.rows
    data.finish(rows)
    return rows


def _written(
    model: Factors,
    wanted: RecommendRequest,
    data: DataSet,
    numbers: list[int],
    executor: Executor,
    observer: Observer,
) -> Generator[Receipt, None, None]:
    """Yield the receipts of parts, as the workers write them."""
    shared = {**constants(model, wanted), "item_ids": model.items.ids, "folder": data.folder}
    with placed_rows(model, wanted.users, executor, with_seen=wanted.exclude_seen, with_ids=True) as rows_of:
        parts = (
            Part(batch, part_name(number))
            for number, batch in zip(numbers, batches(wanted, rows_of, numbers), strict=True)
        )
        yield from map_blocks(
            executor, write_part, parts, shared, total=len(numbers), label="recommend", observer=observer
        )


def write_part(
    part: Part, *, candidates: Candidates | RowScorer, rules: Rules, item_ids: pa.Array, folder: Folder
) -> Receipt:
    """Score a batch of users and write its file: a task for `map_blocks`.

    A refusal of the file system is an answer and no error, as trying again at once does not help.
    """
    rows, content = part_file(part, candidates=candidates, rules=rules, item_ids=item_ids)
    try:
        folder.write(part.name, content)
    except OSError as error:
        return Receipt(0, str(error.strerror or error))
    return Receipt(rows)


def part_file(
    part: Part, *, candidates: Candidates | RowScorer, rules: Rules, item_ids: pa.Array
) -> tuple[int, pa.Buffer]:
    """Return the number of recommendations of a batch of users, and the bytes of its file."""
    rows: UserRows = load(part.batch.rows)
    best = best_of(replace(part.batch, rows=rows), candidates=candidates, rules=rules)
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(best, rows.ids, item_ids), sink, **PARQUET)
    return len(best.scores), sink.getvalue()
