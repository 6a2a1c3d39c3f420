"""Tables from frames of any library, and which of their columns are which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from recscale_dask.errors import DataError, OptionError
from recscale_dask.io.spark_frames import arrow_reader

Column: TypeAlias = str | int | Literal[False] | None

# Names as they are after dropping case, spaces and punctuation: "User ID" and "user_id" are "userid".
WELL_KNOWN = {
    "user": "user users userid uid visitorid customerid customer memberid reviewerid",
    "item": "item items itemid iid movieid productid product asin trackid artistid songid bookid isbn gameid "
    "articleid businessid locationid",
    "value": "value rating ratings score count plays playcount weight stars overall",
    "time": "time timestamp ts date datetime unixreviewtime",
}


@dataclass(frozen=True)
class Found:
    """The names of the columns of users, items and, where there are any, values and times."""

    user: str
    item: str
    value: str | None = None
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are there, in the order user, item, value, time."""
        return [name for name in (self.user, self.item, self.value, self.time) if name is not None]


@dataclass(frozen=True)
class Columns:
    """Which column the caller says holds what.

    Attributes
    ----------
    user, item, value, time : str, int, False or None
        A name, a position counting from 0, None (guess from well-known names), or False (there is none;
        value and time only).
    """

    user: Column = None
    item: Column = None
    value: Column = None
    time: Column = None

    def find(self, names: Sequence[str]) -> Found:
        """Return the names, among these, of the columns asked for or guessed.

        Raises
        ------
        DataError
            If a column asked for is not there, one is asked for twice, or there is not one guess.
        """
        user, item = _need("user", self.user, names), _need("item", self.item, names)
        found = Found(user, item, _find("value", self.value, names), _find("time", self.time, names))
        if len(set(found.names)) < len(found.names):
            asked = ", ".join(f"{role}={name!r}" for role, name in asdict(found).items() if name is not None)
            raise DataError(f"{asked} uses a column twice; {_listed(names)}.")
        return found

    @staticmethod
    def may_hold(role: str, name: str) -> bool:
        """Return whether a column goes by a well-known name of users, items, values or times."""
        return bool(_candidates(role, [name]))

    def guessed_in(self, names: Sequence[str]) -> bool:
        """Return whether a user and an item column go by well-known names here."""
        return all(_candidates(role, names) for role in ("user", "item"))


@dataclass(frozen=True)
class Selection:
    """A table, and which of its columns are which."""

    table: pa.Table
    columns: Found


def read_frame(frame: Any, columns: Columns) -> Selection:
    """Return the asked columns of a frame as an Arrow table.

    Parameters
    ----------
    frame : object
        Whatever speaks Arrow's stream protocol (pandas, Polars, PyArrow, a DuckDB relation, a record batch
        reader), a Polars lazy frame, or a Dask or Spark frame, which is converted where its partitions are.
    columns : Columns

    Raises
    ------
    DataError
        If it is none of these, Arrow cannot hold a column, or a column cannot be found.
    """
    library = library_of(frame)
    try:
        if is_dask(frame):
            return _read_dask(frame, columns)
        if library == "polars" and hasattr(frame, "collect_schema"):
            found = columns.find(frame.collect_schema().names())
            return Selection(pa.table(frame.lazy().select(found.names).collect()), found)
        if library == "pandas" and hasattr(frame, "columns"):
            return _read_pandas(frame, columns)
        if is_spark(frame):
            return _read_stream(spark_reader(frame, columns), columns)
        if hasattr(frame, "__arrow_c_stream__"):
            return _read_stream(pa.RecordBatchReader.from_stream(frame), columns)
    except (pa.ArrowException, TypeError) as problem:
        raise not_held(frame, problem) from problem
    raise not_a_frame(frame)


def library_of(frame: object) -> str:
    """Return the name of the package that a frame is of."""
    return type(frame).__module__.partition(".")[0]


def is_dask(frame: object) -> bool:
    """Return whether a frame is one of Dask."""
    return library_of(frame) in ("dask", "dask_expr") and hasattr(frame, "to_delayed")


def is_spark(frame: object) -> bool:
    """Return whether a frame is one of Spark, of a classic session or of Spark Connect."""
    return library_of(frame) == "pyspark" and hasattr(frame, "mapInArrow")


def spark_reader(frame: Any, columns: Columns) -> pa.RecordBatchReader:
    """Return the needed columns of a Spark frame, partition by partition; the others do not travel."""
    names = columns.find(list(frame.columns)).names
    # By other names on the way: Spark takes a dot in a name for a field of a column.
    needed = frame.select(*(frame[f"`{name}`"].alias(f"column{place}") for place, name in enumerate(names)))
    reader = arrow_reader(needed)
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    return pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(names) for batch in reader))


def not_held(frame: object, problem: Exception) -> DataError:
    """Return the error of a frame that Arrow cannot hold."""
    return DataError(f"Arrow cannot hold this {library_of(frame)} frame: {problem}. Give its columns one type.")


def not_a_frame(frame: object) -> DataError:
    """Return the error of what is no frame."""
    return DataError(
        f"cannot read interactions from a {type(frame).__name__}; give a path, or a pandas, Polars, PyArrow, "
        "DuckDB, Dask or Spark frame (UserItemMatrix.from_scipy takes sparse matrices)."
    )


def _read_stream(reader: pa.RecordBatchReader, columns: Columns) -> Selection:
    found = columns.find(reader.schema.names)
    schema = pa.schema([reader.schema.field(name) for name in found.names])
    return Selection(pa.Table.from_batches((batch.select(found.names) for batch in reader), schema), found)


def _read_pandas(frame: Any, columns: Columns) -> Selection:
    frame, found = pandas_columns(frame, columns)
    return Selection(pa.Table.from_pandas(frame, preserve_index=False), found)


def pandas_columns(frame: Any, columns: Columns) -> tuple[Any, Found]:
    """Return the needed columns only, as Arrow may not hold the others; a named index counts as columns."""
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    found = columns.find(list(frame.columns))
    return frame[found.names], found


def _read_dask(frame: Any, columns: Columns) -> Selection:
    from dask import compute, delayed

    found = columns.find(list(frame.columns))
    convert = delayed(pa.Table.from_pandas)
    parts = compute(*[convert(part, preserve_index=False) for part in frame[found.names].to_delayed()])
    return Selection(pa.concat_tables(parts, promote_options="permissive"), found)


def _need(role: str, asked: Column, names: Sequence[str]) -> str:
    if isinstance(asked, bool):
        raise OptionError(f"{role}={asked} is not a column; give its name or position.")
    found = _find(role, asked, names)
    if found is None:
        raise DataError(f"cannot tell which column holds the {role}s; name it with {role}=; {_listed(names)}.")
    return found


def _find(role: str, asked: Column, names: Sequence[str]) -> str | None:
    if asked is False:
        return None
    if asked is True:
        raise OptionError(f"{role}=True is not a column; give its name or position.")
    if isinstance(asked, int):
        if not 0 <= asked < len(names):
            raise DataError(f"{role}={asked}: there are {len(names)} columns, counted from 0; {_listed(names)}.")
        asked = names[asked]
    if asked is not None:
        if names.count(asked) != 1:
            found = "more than one column is" if asked in names else "no column is"
            raise DataError(f"{found} called {asked!r} ({role}=); {_listed(names)}.")
        return asked
    candidates = _candidates(role, names)
    if len(candidates) > 1:
        which = " and ".join(map(repr, candidates))
        none = f" ({role}=False for none)" if role in ("value", "time") else ""
        raise DataError(f"{which} could each be the {role} column; choose one with {role}={none}.")
    return candidates[0] if candidates else None


def _candidates(role: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if re.sub(r"[\W_]", "", name).lower() in WELL_KNOWN[role].split()]


def _listed(names: Sequence[str]) -> str:
    return f"the columns are {', '.join(names)}"


def with_exact_ids(table: pa.Table, names: Sequence[Any]) -> pa.Table:
    """Return the table with text columns as int64 where all of a column survives that and back."""
    for name in names:
        column = table[name]
        try:
            integers = column.cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        if integers.cast(column.type).equals(column):
            table = table.set_column(table.column_names.index(name), name, integers)
    return table
