"""Recommendations in Parquet: one file, or a data set that the workers write and that can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recscale_dask.atomic import check_output, written_beside
from recscale_dask.errors import OutputError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import map_blocks
from recscale_dask.model import Factors
from recscale_dask.scoring.recommend import (
    RecommendRequest,
    candidate_factors,
    queries,
    recommend_batches,
    to_table,
)
from recscale_dask.scoring.topk import TopKQuery, top_k

_MANIFEST = "_recommendations.json"
FORMAT = 1


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
    id_types = [("user", model.users.ids.type), ("item", model.items.ids.type)]
    schema = pa.schema([*id_types, ("rank", pa.int32()), ("score", pa.float32())])
    rows = 0
    with written_beside(path, overwrite=overwrite) as beside, pq.ParquetWriter(beside, schema) as writer:
        for best in recommend_batches(model, wanted, executor, observer=observer):
            writer.write_table(to_table(model, best))
            rows += len(best.scores)
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """One job: a batch of users, the ids to write for them, and the file."""

    query: TopKQuery
    user_ids: pa.Array
    path: Path


def recommend_to(
    model: Factors,
    wanted: RecommendRequest,
    path: str | os.PathLike[str],
    executor: Executor,
    *,
    observer: Observer = ignore,
) -> int:
    """Write all recommendations under a folder and return the number of rows there.

    Each batch of users is one file ``part-00000.parquet`` (user, item, rank, score), written beside and
    renamed by the worker that made it. Called again with the same model and request, only missing files
    are made; finished bytes are the same whoever wrote them. Workers must see the folder.

    Raises
    ------
    OutputError
        If the folder holds anything else, or cannot be written.
    """
    folder = Path(path)
    _open_folder(folder, _describe(model, wanted))
    paths = [folder / f"part-{batch:05d}.parquet" for batch in range(wanted.n_batches)]
    missing = [batch for batch, part in enumerate(paths) if not part.exists()]

    def partitions() -> Iterator[Partition]:
        for batch in missing:
            (query,) = queries(model, wanted, range(batch, batch + 1))
            yield Partition(query, model.users.take(query.rows), paths[batch].absolute())

    item_codes = wanted.items if wanted.items is not None else np.arange(len(model.items), dtype=np.int32)
    constants = {
        "candidates": np.ascontiguousarray(candidate_factors(model, wanted)),
        "item_ids": model.items.take(item_codes),
    }
    receipts = map_blocks(
        executor,
        write_partition,
        partitions(),
        constants,
        total=len(missing),
        label="recommend",
        observer=observer,
    )
    for _ in receipts:
        pass
    return sum(int(pq.read_metadata(part).num_rows) for part in paths)


def write_partition(part: Partition, *, candidates: NDArray[np.float32], item_ids: pa.Array) -> int:
    """Score a batch of users and write its file; return the number of rows: a task for `map_blocks`."""
    best = top_k(part.query, candidates=candidates)
    owners = np.repeat(np.arange(len(best.rows)), best.counts)
    table = pa.table(
        {
            "user": part.user_ids.take(pa.array(owners)),
            "item": item_ids.take(pa.array(best.candidates)),
            "rank": best.ranks(),
            "score": best.scores,
        }
    )
    beside = part.path.with_name(f".{part.path.name}.{os.getpid()}.writing")
    try:
        pq.write_table(table, beside)
        beside.replace(part.path)
    finally:
        beside.unlink(missing_ok=True)
    return len(best.scores)


def _describe(model: Factors, wanted: RecommendRequest) -> dict[str, Any]:
    digest = hashlib.sha256(wanted.users.tobytes())
    digest.update(b"all" if wanted.items is None else wanted.items.tobytes())
    ids_and_seen = hashlib.sha256(f"{model.users.fingerprint()} {model.items.fingerprint()}".encode())
    for array in (model.seen.indptr, model.seen.indices):
        ids_and_seen.update(np.ascontiguousarray(array).data.cast("B") if len(array) else b"")
    return {
        "kind": "recscale_dask recommendations",
        "format": FORMAT,
        "model": model.factors_sha256(),
        "ids and seen items": ids_and_seen.hexdigest(),
        "k": wanted.k,
        "exclude_seen": wanted.exclude_seen,
        "request": digest.hexdigest(),
    }


def _open_folder(folder: Path, description: dict[str, Any]) -> None:
    """Make the folder with its manifest, or check that it is one that may be continued."""
    manifest = folder / _MANIFEST
    if folder.exists():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            check_output(folder)
            raise
        if not isinstance(found, dict):
            check_output(folder)
        differing = [key for key in description if found.get(key) != description[key]]
        if differing:
            raise OutputError(
                f"{folder} holds recommendations of another request (they differ in {', '.join(differing)}). "
                "Choose another path, or delete it."
            )
        return
    check_output(folder)
    try:
        folder.mkdir()
        manifest.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
