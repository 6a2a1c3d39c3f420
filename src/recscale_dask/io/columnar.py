"""Tables from Parquet and Arrow IPC files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Selection, with_exact_ids
from recscale_dask.io.places import File, find_in, locate


def read_parquet(source: Any, columns: Columns) -> Selection:
    """Return the asked columns of Parquet files; hive partitions (``day=3/``) are columns too."""
    import pyarrow.dataset as ds  # here, as it takes longer to import than most of the package

    files = locate(source)
    where: dict[str, Any] = {"source": [file.path for file in files], "filesystem": files[0].filesystem}
    try:
        every_name = ds.dataset(**where, partitioning="hive").schema.names
        schemas = [part.physical_schema for part in ds.dataset(**where).get_fragments()]
        keys = [name for name in every_name if name not in schemas[0].names]
        found = find_in(files[0], columns, every_name)
        _require_same_types(schemas, files, [name for name in found.names if name not in keys])
        as_text = ds.partitioning(pa.schema([(key, pa.string()) for key in keys]), flavor="hive")
        table = ds.dataset(**where, partitioning=as_text).to_table(columns=found.names)
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"cannot read {source} as Parquet: {problem}.") from problem
    return Selection(with_exact_ids(table, [name for name in (found.user, found.item) if name in keys]), found)


def read_arrow(source: Any, columns: Columns) -> Selection:
    """Return the asked columns of Arrow IPC files (Feather version 2) or streams."""
    files = locate(source)
    tables = [_open_ipc(file) for file in files]
    found = find_in(files[0], columns, tables[0].column_names)
    _require_same_types([table.schema for table in tables], files, found.names)
    return Selection(pa.concat_tables([table.select(found.names) for table in tables]), found)


def _require_same_types(schemas: Sequence[pa.Schema], files: Sequence[File], names: Sequence[str]) -> None:
    for schema, file in zip(schemas, files, strict=True):
        for name in names:
            here = schema.field(name).type if name in schema.names else "not there"
            if here != schemas[0].field(name).type:
                first = f"{schemas[0].field(name).type} in {files[0].path}"
                raise DataError(f"column {name!r} is {here} in {file.path}, but {first}. Make them alike.")


def _open_ipc(file: File) -> pa.Table:
    """Return the table of an IPC file or stream; a local one is mapped, so that unused columns cost nothing."""
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            is_file = stream.read(6) == b"ARROW1"
            stream.seek(0)
            return (pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)).read_all()
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"cannot read {file.path} as Arrow IPC: {problem}.") from problem
