"""Columns of values and times as arrays, with errors that name the row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recscale_dask.errors import DataError

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True, slots=True)
class Cells:
    """How errors name the cells of a column.

    Attributes
    ----------
    name : str
        Of the column.
    rows_before : int
        Rows of the same file or frame that came before these.
    """

    name: str
    rows_before: int = 0

    def refuse(self, bad: Any, found: str, cure: str) -> None:
        """Raise a DataError that names the first bad row, if there is one."""
        rows = np.flatnonzero(np.asarray(bad))
        if len(rows):
            raise self.error(int(rows[0]), found, cure)

    def error(self, row: int, found: str, cure: str) -> DataError:
        """Return the error of one row, counted from 0."""
        return DataError(f"{self.name} has {found} in row {self.rows_before + row + 1} (counting from 1). {cure}.")


def to_values(column: pa.ChunkedArray, cells: Cells) -> NDArray[np.float32]:
    """Return a column of values as float32, all finite."""
    cure = "Correct or drop such rows, or ignore the values with value=False"
    numbers = _numbers(column, cells, cure)
    cells.refuse(np.isnan(numbers), "NaN", cure)
    cells.refuse(np.isinf(numbers), "an infinite value", cure)
    with np.errstate(over="ignore", under="ignore"):
        values: NDArray[np.float32] = numbers.astype(np.float32)
    cells.refuse(np.isinf(values), "a value too large for float32", cure)
    return values


def to_times(column: pa.ChunkedArray, cells: Cells) -> tuple[NDArray[np.int64], bool]:
    """Return a column of times as int64, and whether it held dates: those become microseconds since 1970."""
    cure = "Correct or drop such rows, or ignore the times with time=False"
    cells.refuse(pc.is_null(column), "no value", cure)
    for kind in (pa.int64(), pa.float64(), pa.timestamp("us")):
        if _is_text(column.type):
            column = _parsed(column, kind, cells, cure, last_try=pa.types.is_timestamp(kind))
    dates = bool(pa.types.is_date(column.type) or pa.types.is_timestamp(column.type))
    if dates:
        column = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        return np.array(column.cast(pa.int64()), dtype=np.int64), dates  # own memory, not the caller's frame
    numbers = np.floor(_numbers(column, cells, cure))
    cells.refuse(~(np.abs(numbers) < 2.0**63), "a number that is not finite or not below 2**63", cure)
    return numbers.astype(np.int64), dates


def _numbers(column: pa.ChunkedArray, cells: Cells, cure: str) -> NDArray[np.float64]:
    """Return a column of numbers, or of their text, as float64."""
    cells.refuse(pc.is_null(column), "no value", cure)
    if _is_text(column.type):
        column = _parsed(column, pa.float64(), cells, cure, last_try=True)
    kind = column.type
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    if not any(is_kind(kind) for is_kind in numeric):
        raise DataError(f"{cells.name} holds {kind}, not numbers. {cure}.")
    return np.asarray(column.cast(pa.float64(), safe=False), dtype=np.float64)


def _parsed(column: pa.ChunkedArray, kind: pa.DataType, cells: Cells, cure: str, *, last_try: bool) -> Any:
    """Return text as `kind`; if some is not, return it as it is or, in the last try, name the first row."""
    text = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        if not last_try:
            return column
    good, bad = 0, len(text)  # the first `good` rows parse, the first `bad` do not
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            text.slice(good, middle - good).cast(kind)
            good = middle
        except pa.ArrowInvalid:
            bad = middle
    expected = "a number" if kind == pa.float64() else "a time"
    bad_cell = column[good].as_py()
    if kind == pa.float64() and _DECIMAL_COMMA.fullmatch(bad_cell.strip()):
        cure = "Write decimals with a point, not with a comma"
    raise cells.error(good, f"{bad_cell!r}, which is not {expected},", cure)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
