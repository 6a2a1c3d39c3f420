"""Lists of ids as users have them: sequences, columns, frames and files, of one column or of pairs."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, read_frame, with_exact_ids
from recscale_dask.io.places import File, locate
from recscale_dask.model import Factors

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NAMES = ("user", "item")  # of columns without a header
_TITLES = ("title", "name", "genre", "genres", "description")
_MOST_COLUMNS = 64  # those behind them are not asked for
_NO_DELIMITER = "\x1f"  # a character that no line of ids has
_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc", ".ipc": "ipc"}


def item_list(model: Factors, given: Any, what: str) -> Any:
    """Return what `recscale_dask.scoring.request.request` takes as an allow or deny list.

    Parameters
    ----------
    model : Factors
        Its ids tell the header of a text file.
    given : object
        Item ids (returned as they are); a frame, or the path of a file, of one column (item ids), of users
        and items, or of items first and then what is said of them; `Interactions`; or the `UserItemMatrix` of the
        model's users and items.
    what : str
        Name of the argument, for messages.

    Returns
    -------
    sequence of ids, Interactions or None

    Raises
    ------
    DataError
        If a file is missing or malformed, columns cannot be told, or a matrix is of other users or items.
    """
    if isinstance(given, UserItemMatrix):
        return _pairs_of_matrix(model, given, what)
    if isinstance(given, str | os.PathLike):
        return _ids_or_pairs(_read_file(model, given, what), what)
    return _ids_or_pairs(_read_frame(_collected(given), what), what) if _is_frame(given) else given


def user_list(model: Factors, given: Any) -> Any:
    """Return user ids: those in the first column of a file or the only one of a frame, anything else as it is.

    Raises
    ------
    DataError
        If a file is missing or malformed, or a frame has several columns.
    """
    if isinstance(given, str | os.PathLike):
        return _read_file(model, given, "users").column(0)
    if not _is_frame(given):
        return given
    given = _collected(given)
    names = _names_of(given)
    if len(names) != 1:
        raise DataError(
            f"users is a frame of {len(names)} columns ({', '.join(names)}). Give the one of user ids, such as "
            "frame['user']."
        )
    return _column_of(given, names[0])


# -- pairs -------------------------------------------------------------------------------------------


def _ids_or_pairs(table: pa.Table, what: str) -> pa.ChunkedArray | Interactions:
    alone = _items_alone(table.column_names)
    if alone is not None:
        return table.column(alone)
    found = _columns(table.column_names, what).find(table.column_names)
    if table.num_rows:
        return Interactions.from_arrow(table, user=found.user, item=found.item)
    nothing, codes = Vocabulary.from_ids([])
    return Interactions(codes, codes, None, None, nothing, nothing)


def _pairs_of_matrix(model: Factors, matrix: UserItemMatrix, what: str) -> Interactions:
    for kind, theirs, ours in (("users", matrix.users, model.users), ("items", matrix.items, model.items)):
        if theirs != ours:
            raise DataError(
                f"{what} is a matrix that does not belong to this model: its {len(theirs)} {kind} are not the "
                f"{len(ours)} of the model. Give a frame of users and items instead, which is matched by id."
            )
    rows = matrix.to_scipy()
    users = np.repeat(np.arange(rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
    return Interactions(users, rows.indices.astype(np.int32), None, None, matrix.users, matrix.items)


def _items_alone(names: list[str]) -> str | None:
    """Return the column of items where users are none: the only one, or the first of a catalogue, such as of films.

    In doubt there are none, for any other column could be of users, whatever they are called there.
    """
    if len(names) == 1:
        return names[0]
    others = [role for role in ("user", "value", "time") if any(Columns.may_hold(role, name) for name in names)]
    items = [name for name in names if Columns.may_hold("item", name)]
    catalogue = len(names) > 2 or any(name.lower() in _TITLES for name in names[1:])
    return names[0] if catalogue and not others and items == names[:1] else None


def _columns(names: list[str], what: str) -> Columns:
    """Return where users and items are: well-known names, or else the first and second of two columns."""
    by_name = Columns(value=False, time=False)
    try:
        by_name.find(names)
    except DataError as problem:
        if len(names) == 2:
            return Columns(0, 1, False, False)
        raise DataError(
            f"{what}: cannot tell which of the columns {', '.join(names)} are users and items. Give one column (item "
            "ids), two (users, items), or call them user and item."
        ) from problem
    return by_name


# -- frames and files ----------------------------------------------------------------------------------


def _is_frame(given: Any) -> bool:
    if getattr(given, "ndim", 2) == 1:  # a column, which of Dask has columns too
        return False
    return hasattr(given, "collect_schema") or hasattr(given, "columns") or isinstance(given, pa.RecordBatchReader)


def _collected(frame: Any) -> Any:
    """Return a frame as it is, and that of Polars in memory: its lazy frames warn when asked for their columns."""
    return frame.lazy().collect() if hasattr(frame, "collect_schema") else frame


def _names_of(frame: Any) -> list[str]:
    is_arrow = isinstance(frame, pa.Table | pa.RecordBatch | pa.RecordBatchReader)
    return frame.schema.names if is_arrow else [str(name) for name in frame.columns]


def _column_of(frame: Any, name: str) -> pa.ChunkedArray:
    """Return one column of a frame of any library."""
    if hasattr(frame, "to_delayed"):  # of Dask
        frame = frame[[name]].compute()
    if hasattr(frame, "iloc"):  # of pandas, whose other columns Arrow may not hold
        frame = frame[[each for each in frame.columns if str(each) == name]]
    return pa.table(frame).column(name)


def _read_frame(frame: Any, what: str) -> pa.Table:
    """Return the needed columns of a frame of any library."""
    names = _names_of(frame)
    alone = _items_alone(names)
    if alone is not None:
        return pa.table({alone: _column_of(frame, alone)})
    return read_frame(frame, _columns(names, what)).table


def _read_file(model: Factors, place: str | os.PathLike[str], what: str) -> pa.Table:
    """Return the columns of a file: Parquet, Arrow, CSV and TSV with or without a header, or an id a line."""
    try:
        files = locate(place)
    except DataError as problem:
        raise DataError(
            f"{what}: {problem} {what} is the name of a file with an id a line, or in Python a list of ids."
        ) from problem
    suffix = os.path.splitext(re.sub(r"\.(gz|bz2|zst|lz4)$", "", files[0].path.lower()))[1]
    try:
        if suffix in _FORMATS:
            import pyarrow.dataset as ds  # here, as it takes longer to import than most of the package

            paths = [file.path for file in files]
            return ds.dataset(paths, filesystem=files[0].filesystem, format=_FORMATS[suffix]).to_table()
        return pa.concat_tables([_read_text(model, file, _DELIMITERS.get(suffix, _NO_DELIMITER)) for file in files])
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{what}: cannot read {place}: {problem}") from problem


def _read_text(model: Factors, file: File, delimiter: str) -> pa.Table:
    """Return the columns of a text file, with ids as integers where that loses nothing.

    The first line of CSV and TSV is a header if nothing in it is a number or an id of the model.
    """
    with file.open() as stream:
        content = stream.read()
    if not content.strip():
        return pa.table({"id": pa.array([], pa.string())})
    lines = delimiter == _NO_DELIMITER
    table = pacsv.read_csv(
        pa.BufferReader(content),
        pacsv.ReadOptions(autogenerate_column_names=True),
        pacsv.ParseOptions(delimiter=delimiter, quote_char=False if lines else '"'),
        pacsv.ConvertOptions(column_types={f"f{column}": pa.string() for column in range(_MOST_COLUMNS)}),
    )
    if lines:
        ids = pc.utf8_trim_whitespace(table.column(0))
        return with_exact_ids(pa.table({"id": ids.filter(pc.not_equal(ids, ""))}), ["id"])
    first = [str(column[0]) for column in table.columns]
    if any(_is_number(cell) or _is_known(model, cell) for cell in first):
        table = table.rename_columns([*_NAMES, *table.column_names[len(_NAMES) :]][: table.num_columns])
    else:
        table = table.slice(1).rename_columns(first)
    return with_exact_ids(table, [name for name in table.column_names if table.column_names.count(name) == 1])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_known(model: Factors, text: str) -> bool:
    texts = [each for each in (model.users, model.items) if pa.types.is_string(each.ids.type)]
    return any(int(each.codes([text], missing="ignore")[0]) >= 0 for each in texts)
