"""Arrow IPC files: written uncompressed, read by mapping them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from recscale_dask.data.vocabulary import Vocabulary


def write_arrow(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns, which are arrays of equal length, to a file of one record batch."""
    batch = pa.RecordBatch.from_pydict(dict(columns))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def read_arrow(path: Path) -> pa.Table:
    """Return the table of a file, mapped: the map lives as long as an array of it does."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def read_vocabulary(path: Path) -> Vocabulary:
    """Return the ids in the column ``id`` of a file."""
    return Vocabulary(read_arrow(path).column("id").combine_chunks())
