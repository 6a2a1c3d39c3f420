"""The door for interactions: from any path or frame into codes, and back into a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, OptionError, OutputError, UnknownNameError
from recscale_dask.io.frames import Column, Columns, Selection, read_frame
from recscale_dask.io.readers import READERS, Reader, format_of
from recscale_dask.outputs import written_file


def read_interactions(
    source: Any,
    *,
    user: Column = None,
    item: Column = None,
    value: Column = None,
    time: Column = None,
    format: str | None = None,
    readers: Mapping[str, Reader] | None = None,
) -> Interactions:
    """Return the interactions in a file or frame; see `recscale_dask.read_interactions`, which calls it with plugins.

    Parameters
    ----------
    source, user, item, value, time, format
        See there.
    readers : mapping of str to callable, optional
        Further formats: ``reader(source, columns)`` returns a pyarrow.Table, or a `Selection`.
    """
    columns = Columns(user, item, value, time)
    if is_place(source):
        known = {**READERS, **(readers or {})}
        name = format_of(source) if format is None else format
        if name not in known:
            raise UnknownNameError(f"nothing reads the format {name!r}; there are {', '.join(sorted(known))}.")
        selection = known[name](source, columns)
    elif format is not None:
        raise OptionError(f"format={format!r} is for paths; a {type(source).__name__} is read as a frame.")
    else:
        selection = read_frame(source, columns)
    if not isinstance(selection, Selection):
        selection = Selection(selection, columns.find(selection.column_names))
    found = selection.columns
    try:
        return Interactions.from_arrow(
            selection.table, user=found.user, item=found.item, value=found.value, time=found.time
        )
    except DataError as problem:
        if not is_place(source):
            raise
        raise DataError(f"{source}: {problem}") from problem


def write_interactions(interactions: Interactions, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write interactions with their original ids, in the columns user, item, value, time.

    Parameters
    ----------
    interactions : Interactions
    path : path or URL
        The suffix chooses the format: .csv, .tsv, .parquet, .arrow or .feather. The file appears whole, or not
        at all.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    OutputError
        If the path exists, cannot be written, or has another suffix.
    """
    name = Path(path).name
    writer = _WRITERS.get(Path(name).suffix.lower())
    if writer is None:
        raise OutputError(f"cannot tell a format from {name!r}; end it in {', '.join(_WRITERS)}.")
    with written_file(path, overwrite=overwrite) as beside:
        writer(interactions, beside)


def is_place(source: Any) -> bool:
    """Return whether a source is a path or a list of paths, rather than a frame."""
    if isinstance(source, list | tuple):
        return all(isinstance(each, str | os.PathLike) for each in source)
    return isinstance(source, str | os.PathLike)


def _write_text(interactions: Interactions, path: Path, delimiter: str) -> None:
    table = interactions.to_arrow()
    for column, vocabulary, codes in (
        (0, interactions.users, interactions.user_codes),
        (1, interactions.items, interactions.item_codes),
    ):
        table = table.set_column(column, table.column_names[column], vocabulary.text().take(pa.array(codes)))
    options = pacsv.WriteOptions(delimiter=delimiter, quoting_style="needed", quoting_header="none")
    pacsv.write_csv(table, path, options)


def _write_parquet(interactions: Interactions, path: Path) -> None:
    pq.write_table(interactions.to_arrow(), path)


def _write_arrow(interactions: Interactions, path: Path) -> None:
    table = interactions.to_arrow()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


_WRITERS = {
    ".csv": lambda interactions, path: _write_text(interactions, path, ","),
    ".tsv": lambda interactions, path: _write_text(interactions, path, "\t"),
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
    ".feather": _write_arrow,
}
