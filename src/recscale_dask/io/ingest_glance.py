"""What can be known of interactions before they are read: from metadata of their files and a sample of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recscale_dask.data.vocabulary import decoded
from recscale_dask.errors import DataError, OptionError
from recscale_dask.io.frames import Columns
from recscale_dask.io.ingest_ids import WIDEST
from recscale_dask.io.pieces import Stream, stream_frame
from recscale_dask.io.places import File, locate
from recscale_dask.io.readers import STREAMERS

_TEXT_FORMATS = ("csv", "tsv", "movielens", "adjacency")
_PIECES = 4  # that are read: a million rows each, or 16 MB of text
_STREAM_ROW = 16
_TEXT_SAMPLE = 1 << 20  # bytes from the start of a file of text


@dataclass(frozen=True, slots=True)
class IdsAhead:
    """What is expected of the ids of one side.

    Attributes
    ----------
    n : int
        Different ones.
    id_bytes : int
        Of one id in Arrow.
    integers : bool
    span : int or None
        How many integers there are from the least to the largest; None for text, or if that is not known.
    assumed : str
        Where the number comes from.
    """

    n: int
    id_bytes: int
    integers: bool
    span: int | None
    assumed: str

    @property
    def narrow(self) -> bool:
        """Whether they are counted in an array rather than looked up in a table."""
        return self.span is not None and self.span <= WIDEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is expected of a source.

    Attributes
    ----------
    n_rows : int
    has_values, has_times : bool
    row_bytes : int
        Of a row in Arrow, as it comes from the source.
    text_bytes : int
        To be parsed; 0 for what is no text.
    users, items : IdsAhead
    assumed : tuple of str
        What could not be known.
    """

    n_rows: int
    has_values: bool
    has_times: bool
    row_bytes: int
    text_bytes: int
    users: IdsAhead
    items: IdsAhead
    assumed: tuple[str, ...]


def glance(source: Any, columns: Columns, format: str | None) -> Glance:
    """Return what is expected of a source, of which a few million rows are read: the first of a few of its files.

    Parameters
    ----------
    source : path or frame
    columns : Columns
    format : str or None
        Of files.

    Raises
    ------
    DataError
        If there are no rows, or a file is malformed as far as it is read.
    OptionError
        If the number of rows of a frame is not known before they are computed, or a plugin reads the files.
    """
    if format is None:
        files, stream = [], _of_frame(source, columns)
        n_rows, text_bytes, assumed = stream.n_rows or int(source.shape[0]), 0, list[str]()
        pieces = list(islice(stream.pieces, _PIECES))
    else:
        if format not in STREAMERS:
            raise OptionError(f"format {format!r} is read as a whole by a plugin, so its ingest cannot be planned.")
        files = locate(source)
        stream = STREAMERS[format](files, columns)
        n_rows, text_bytes, assumed = _rows_of(files, stream, format)
        chosen = files[:: -(-len(files) // _PIECES)]
        each = 1 if format == "adjacency" else -(-_PIECES // len(chosen))
        pieces = [piece for file in chosen for piece in islice(STREAMERS[format]([file], columns).pieces, each)]
    if not pieces:
        raise DataError("the source has columns but not one row.")
    sample, found = pa.concat_tables([piece.table for piece in pieces]), stream.columns
    if len(pieces) < _PIECES and len(files) < 2:
        n_rows = sample.num_rows  # that was all
    n_rows = max(n_rows, sample.num_rows)
    with_statistics = files if format == "parquet" else []
    users, items = (
        _ids(decoded(sample[name]), pieces[0].table.num_rows, n_rows, _span(with_statistics, name), what)
        for name, what in ((found.user, "users"), (found.item, "items"))
    )
    return Glance(
        n_rows=n_rows,
        has_values=found.value is not None,
        has_times=found.time is not None,
        row_bytes=-(-sample.nbytes // sample.num_rows),
        text_bytes=text_bytes,
        users=users,
        items=items,
        assumed=(*assumed, users.assumed, items.assumed),
    )


def _of_frame(frame: Any, columns: Columns) -> Stream:
    """Return the rows of a frame in memory."""
    if not isinstance(getattr(frame, "shape", None), tuple) or not isinstance(frame.shape[0], int):
        raise OptionError(
            f"how many rows a {type(frame).__name__} has is not known before it is computed, so its ingest cannot be "
            "planned. Plan that of files or of a frame in memory."
        )
    return stream_frame(frame, columns)


def _rows_of(files: list[File], stream: Stream, format: str) -> tuple[int, int, list[str]]:
    """Return the number of rows in files, the bytes of text, and what is assumed for that."""
    if format in _TEXT_FORMATS:
        return _rows_of_text(files, format == "adjacency")
    if stream.n_rows is not None:
        return stream.n_rows, 0, []
    import pyarrow.dataset as ds

    try:
        paths = [file.path for file in files]
        return int(ds.dataset(paths, filesystem=files[0].filesystem, format="ipc").count_rows()), 0, []
    except pa.ArrowException:  # a stream, which has no list of its batches
        size = sum(_size(file) for file in files)
        return (
            size // _STREAM_ROW,
            0,
            [f"{_STREAM_ROW} bytes for each row of an Arrow stream, which does not tell how many"],
        )


def _rows_of_text(files: list[File], adjacency: bool) -> tuple[int, int, list[str]]:
    """Return about how many rows there are in files of text, by the rows at the start of the first."""
    with files[0].open() as stream:
        start = stream.read(_TEXT_SAMPLE)
    whole = len(start) < _TEXT_SAMPLE
    size = sum(_size(file) for file in files)
    packed = _size(files[0]) < len(start) or files[0].path.endswith((".gz", ".bz2", ".zst", ".lz4"))
    assumed = []
    if packed:
        size *= 4
        assumed.append("four bytes of text in one that is compressed")
    elif whole and len(files) == 1:
        size = len(start)
    lines = start.splitlines()
    rows = len(start.split()) - len(lines) if adjacency else len(lines)
    if not (whole and len(files) == 1):
        assumed.append(f"rows as long as the first ones of {files[0].path}")
    return max(1, round(size / max(1, len(start)) * rows)), size, assumed


def _size(file: File) -> int:
    return int(file.filesystem.get_file_info(file.path).size or 0)


def _ids(column: pa.ChunkedArray, n_first: int, n_rows: int, span: int | None, what: str) -> IdsAhead:
    """Return what is expected of the ids of a side, from those in a sample, whose first rows follow on each other."""
    integers = pa.types.is_integer(column.type)
    counted = column.value_counts()
    distinct = len(counted)
    id_bytes = 8 if integers else -(-counted.field("values").nbytes // max(1, distinct))
    if len(column) >= n_rows:
        if integers:
            span = int(pc.max(column).as_py()) - int(pc.min(column).as_py()) + 1
        return IdsAhead(distinct, id_bytes, integers, span, f"{distinct:,} {what}, which were counted")
    if _ascending(column.slice(0, n_first)):
        n = round(distinct * n_rows / len(column))
        why = f"rows in their order, and {distinct:,} in {len(column):,} of them"
    else:
        n = _in_all(counted.field("counts").to_numpy())
        why = f"by how many occur once and twice in {len(column):,} rows; there may be more"
    n = min(n, n_rows, span or n_rows)
    return IdsAhead(n, id_bytes, integers, span, f"about {n:,} {what}, {why}")


def _ascending(column: pa.ChunkedArray) -> bool:
    return bool(len(column) > 1 and pc.all(pc.less_equal(column.slice(0, len(column) - 1), column.slice(1))).as_py())


def _in_all(counts: NDArray[np.int64]) -> int:
    """Return about how many kinds there are at least, of which so many of each were in a sample.

    A. Chao, "Nonparametric estimation of the number of classes in a population" (1984), in the form without bias: exact
    if all kinds are equally frequent, and else a bound from below.
    """
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return len(counts) + once * (once - 1) // (2 * (twice + 1))


def _span(files: Sequence[File], name: str) -> int | None:
    """Return the span of integers that the statistics of Parquet files tell; None if they do not, of all rows."""
    import pyarrow.parquet as pq

    least, largest = [], []
    for file in files:
        with file.filesystem.open_input_file(file.path) as stream:
            metadata = pq.read_metadata(stream)
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        if name not in names:
            return None
        number = names.index(name)
        for group in range(metadata.num_row_groups):
            statistics = metadata.row_group(group).column(number).statistics
            if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, int | np.integer):
                return None
            least.append(statistics.min)
            largest.append(statistics.max)
    return max(largest) - min(least) + 1 if least else None
