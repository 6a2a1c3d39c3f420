"""Pairs from adjacency lists: lines of ``user item item ...``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Found, Selection, with_exact_ids
from recscale_dask.io.pieces import Stream, pieces_of
from recscale_dask.io.places import File, locate


def read_adjacency(source: Any, columns: Columns) -> Selection:
    """Return the pairs in lines ``user item item ...``; a line with only a user adds none."""
    table = pa.concat_tables([_parse_adjacency(file) for file in locate(source)])
    if not table.num_rows:
        raise DataError(f"{source} holds no interactions: no line has an item after its user.")
    return Selection(with_exact_ids(table, ["user", "item"]), Found("user", "item"))


def stream_adjacency(source: Any, columns: Columns) -> Stream:
    """Return the pairs in lines ``user item item ...``, each file as a whole; see `read_adjacency`."""
    pieces = (piece for file in locate(source) for piece in pieces_of([_parse_adjacency(file)], file.path))
    return Stream(Found("user", "item"), pieces, frozenset(("user", "item")))


def _parse_adjacency(file: File) -> pa.Table:
    """Return the (user, item) pairs of one file, as text."""
    try:
        with file.open() as stream:
            data = stream.read()
        data.decode()
    except OSError as problem:
        raise DataError(f"cannot read {file.path}: {problem}.") from problem
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise DataError(f"line {line} of {file.path} is not UTF-8 text; expected 'user item item ...'.") from problem
    if not data.strip():
        raise DataError(f"{file.path} is empty; expected lines of 'user item item ...'.")
    letters = np.frombuffer(data, dtype=np.uint8)
    space = (letters == 32) | ((letters >= 9) & (letters <= 13))
    control = np.flatnonzero((letters < 32) & ~space)
    if len(control):
        line = data.count(b"\n", 0, int(control[0])) + 1
        raise DataError(f"line {line} of {file.path} holds a control character; expected 'user item item ...'.")
    edges = np.flatnonzero(np.diff(space, prepend=True, append=True))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    text = pa.py_buffer(letters[~space])
    tokens = pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(offsets), text)
    lines = np.searchsorted(np.flatnonzero(letters == 10), starts)
    is_user = np.diff(lines, prepend=-1) > 0
    users = np.flatnonzero(is_user)[np.cumsum(is_user) - 1]
    return pa.table({"user": tokens.take(pa.array(users[~is_user])), "item": tokens.filter(pa.array(~is_user))})
