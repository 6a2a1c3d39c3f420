"""The formats that are built in, by name, and how to tell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import pyarrow as pa

from recscale_dask.errors import DataError
from recscale_dask.io.adjacency import read_adjacency, stream_adjacency
from recscale_dask.io.columnar import read_arrow, read_parquet, stream_arrow, stream_parquet
from recscale_dask.io.frames import Columns, Selection
from recscale_dask.io.pieces import Stream
from recscale_dask.io.places import File, locate
from recscale_dask.io.text import DOUBLE_COLON, TAB, read_csv, read_movielens, read_tsv, stream_delimited

Reader: TypeAlias = Callable[[Any, Columns], Selection | pa.Table]
"""``reader(source, columns)``: the asked columns of a path, URL, glob, folder, or list of these."""

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "csv": read_csv,
        "tsv": read_tsv,
        "movielens": read_movielens,
        "parquet": read_parquet,
        "arrow": read_arrow,
        "adjacency": read_adjacency,
    }
)
"""The formats that are built in; plugins' readers are given to `read_interactions` beside them."""

STREAMERS: Mapping[str, Callable[[Any, Columns], Stream]] = MappingProxyType(
    {
        "csv": stream_delimited,
        "tsv": partial(stream_delimited, delimiter=TAB),
        "movielens": partial(stream_delimited, delimiter=DOUBLE_COLON),
        "parquet": stream_parquet,
        "arrow": stream_arrow,
        "adjacency": stream_adjacency,
    }
)
"""The same formats, piece by piece."""

_SUFFIXES = {
    "csv": (".csv", ".txt", ".dat", ".data"),
    "tsv": (".tsv", ".tab"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
_COMPRESSED = re.compile(r"\.(gz|bz2|zst|lz4)$")


def format_of(source: Any) -> str:
    """Return the format of files by their suffix or, failing that, their first bytes; never "adjacency".

    Raises
    ------
    DataError
        If they are not all of one format.
    """
    files = locate(source)
    formats = [_format_of_file(file) for file in files]
    known = [each for each in formats if each is not None]
    if not known:  # text by any name
        return "csv"
    for file, each in zip(files, formats, strict=True):
        if each is None:
            raise DataError(
                f"{file.path} is among the files, and is no data file by its suffix. Choose those that are with a "
                "glob, such as 'folder/*.csv', or say with format= what all of them are."
            )
        if each != known[0]:
            first = files[formats.index(known[0])]
            raise DataError(f"{file.path} is {each}, {first.path} is {known[0]}; choose with a glob.")
    return known[0]


def _format_of_file(file: File) -> str | None:
    bare = _COMPRESSED.sub("", file.path.lower())
    for name, suffixes in _SUFFIXES.items():
        if bare.endswith(suffixes):
            return name
    with file.open() as stream:
        magic = stream.read(6)
    return "parquet" if magic[:4] == b"PAR1" else "arrow" if magic == b"ARROW1" else None
