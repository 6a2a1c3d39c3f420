"""Tables from Parquet and Arrow IPC files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Selection, with_exact_ids
from recscale_dask.io.pieces import PIECE_ROWS, Piece, Stream, pieces_of
from recscale_dask.io.places import File, find_in, locate

_AROUND = re.compile(
    r"^.*Is this a '\w+' file\?: (Could not open \w+ input source '.*?': )?"
)  # what Arrow says before why
_READ_BYTES = 1 << 22  # of a column at a time, rather than all of it in a row group


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
        raise _unreadable(source, "Parquet", problem) from problem
    return Selection(with_exact_ids(table, [name for name in (found.user, found.item) if name in keys]), found)


def stream_parquet(source: Any, columns: Columns) -> Stream:
    """Return the asked columns of Parquet files piece by piece; see `read_parquet`."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    files = [file.unmapped() for file in locate(source)]
    where: dict[str, Any] = {"source": [file.path for file in files], "filesystem": files[0].filesystem}
    try:
        fragments = list(ds.dataset(**where, partitioning="hive").get_fragments())
        keys = [ds.get_partition_keys(each.partition_expression) for each in fragments]
        schemas = [each.physical_schema for each in fragments]
        n_rows = sum(each.metadata.num_rows for each in fragments)
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(source, "Parquet", problem) from problem
    found = find_in(files[0], columns, [*schemas[0].names, *(name for name in keys[0] if name not in schemas[0].names)])
    in_path = [name for name in found.names if name not in schemas[0].names]
    _require_same_types(schemas, files, [name for name in found.names if name not in in_path])

    def batches(file: File) -> Iterator[pa.Table]:
        text = _path_keys(file.path)
        with file.filesystem.open_input_file(file.path) as stream:
            parquet = pq.ParquetFile(stream, buffer_size=_READ_BYTES)
            for batch in parquet.iter_batches(PIECE_ROWS, columns=[n for n in found.names if n not in in_path]):
                table = pa.Table.from_batches([batch])
                for name in in_path:
                    table = table.append_column(name, pa.repeat(pa.scalar(text[name], pa.string()), table.num_rows))
                yield table

    return Stream(found, _pieces(files, batches, "Parquet"), frozenset(in_path) & {found.user, found.item}, n_rows)


def stream_arrow(source: Any, columns: Columns) -> Stream:
    """Return the asked columns of Arrow IPC files or streams batch by batch."""
    files = [file.unmapped() for file in locate(source)]
    schemas = []
    for file in files:
        with _opened_ipc(file) as reader:
            schemas.append(reader.schema)
    found = find_in(files[0], columns, schemas[0].names)
    _require_same_types(schemas, files, found.names)

    def batches(file: File) -> Iterator[pa.Table]:
        with _opened_ipc(file) as reader:
            for batch in _each_batch(reader):
                yield pa.Table.from_batches([batch.select(found.names)])

    return Stream(found, _pieces(files, batches, "Arrow IPC"))


def _pieces(files: Sequence[File], batches: Callable[[File], Iterator[pa.Table]], kind: str) -> Iterator[Piece]:
    for file in files:
        try:
            yield from pieces_of(batches(file), file.path)
        except (pa.ArrowException, OSError) as problem:
            raise _unreadable(file.path, kind, problem) from problem


def _unreadable(place: Any, kind: str, problem: Exception) -> DataError:
    reason = _AROUND.sub("", str(problem).splitlines()[0]).rstrip(".")
    return DataError(f"cannot read {place} as {kind}: {reason}. Copy it again, or say what it is with format=.")


def _path_keys(path: str) -> dict[str, str]:
    """Return what the folders of a file say of its rows, as text: ``day=3/``."""
    return {unquote(name): unquote(value) for name, value in re.findall(r"([^/=]+)=([^/]*)/", path)}


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
    with _opened_ipc(file) as reader:
        return reader.read_all()


@contextmanager
def _opened_ipc(file: File) -> Iterator[Any]:
    """Yield the reader of an IPC file or stream."""
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            is_file = stream.read(6) == b"ARROW1"
            stream.seek(0)
            yield pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file.path, "Arrow IPC", problem) from problem


def _each_batch(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader
