"""Tables from delimited text, with and without header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from recscale_dask.errors import DataError
from recscale_dask.io.frames import Columns, Found, Selection, with_exact_ids
from recscale_dask.io.pieces import Piece, Stream, pieces_of
from recscale_dask.io.places import File, find_in, locate

TAB = "\t"
_DELIMITERS = (",", TAB, ";", "|")
_PIECE_BYTES = 1 << 24  # of text at a time, where not all of it is
DOUBLE_COLON = "\x1f"  # what stands for "::" while parsing, as Arrow's delimiters are single bytes


def read_csv(source: Any, columns: Columns) -> Selection:
    """Return the asked columns of text files, whose first line tells the delimiter and if it is a header."""
    return _read_delimited(source, columns, None)


def read_tsv(source: Any, columns: Columns) -> Selection:
    """Return the asked columns of text files with tabs."""
    return _read_delimited(source, columns, TAB)


def read_movielens(source: Any, columns: Columns) -> Selection:
    """Return the asked columns of text files with ``::`` between fields."""
    return _read_delimited(source, columns, DOUBLE_COLON)


@dataclass(frozen=True)
class _Layout:
    """How to read one text file: what its first line told."""

    delimiter: str
    names: list[str]
    lines_to_skip: int
    found: Found

    @property
    def quotes(self) -> bool:
        """Whether a field may be in double quotes."""
        return self.delimiter != DOUBLE_COLON

    def open(self, file: File) -> Any:
        stream = file.open()
        if self.quotes:
            return stream
        with stream:
            return self.opened(stream.read_buffer())

    def opened(self, text: pa.Buffer) -> Any:
        """Return a stream of this text, as it is parsed."""
        return pa.BufferReader(text if self.quotes else text.to_pybytes().replace(b"::", DOUBLE_COLON.encode()))


def stream_delimited(source: Any, columns: Columns, delimiter: str | None = None) -> Stream:
    """Return the asked columns of text files piece by piece; ids are text, see `Stream.exact`."""
    files, layouts = _laid_out([file.unmapped() for file in locate(source)], columns, delimiter)
    found = layouts[0].found

    def pieces() -> Iterator[Piece]:
        for file, layout in zip(files, layouts, strict=True):
            before = 0
            for number, text in enumerate(_whole_lines(file)):
                skip = layout.lines_to_skip if number == 0 else 0
                table = _parse_piece(file, layout, text, skip)
                yield from (replace(p, rows_before=before + p.rows_before) for p in pieces_of([table], file.path))
                before += table.num_rows

    return Stream(found, pieces(), frozenset((found.user, found.item)))


def _parse_piece(file: File, layout: _Layout, text: bytes, skip: int) -> pa.Table:
    for numbers in (_numbers_of(layout.found), {}):  # text: dates, or no numbers, which the door names
        try:
            return _parse(layout.opened(pa.py_buffer(text)), layout, numbers, skip)
        except pa.ArrowInvalid as problem:
            error = problem
    raise DataError(_bad_line(file, layout) or f"cannot read {file.path}: {error}.") from error


def _whole_lines(file: File) -> Iterator[bytes]:
    """Yield the text of a file in pieces that end with a line, as Arrow too ends them: also within quotes."""
    rest = b""
    try:
        with file.open() as stream:
            while data := stream.read(_PIECE_BYTES):
                text = rest + data
                end = 1 + (text.rfind(b"\n") if b"\n" in data else text.rfind(b"\r", 0, -1))
                rest = text[end:]
                if end:
                    yield text[:end]
    except (OSError, EOFError) as problem:
        raise DataError(f"cannot read {file.path}: {problem}.") from problem
    if rest.strip(b"\r\n"):
        yield rest


def _read_delimited(source: Any, columns: Columns, delimiter: str | None) -> Selection:
    files, layouts = _laid_out(locate(source), columns, delimiter)
    found = layouts[0].found
    numbers = _numbers_of(found)
    try:
        tables = [_parse_file(*each, numbers) for each in zip(files, layouts, strict=True)]
    except pa.ArrowInvalid:  # a wrong line, named below; or dates, or no numbers, which the door names
        tables = [_parse_as_text(*each) for each in zip(files, layouts, strict=True)]
    return Selection(with_exact_ids(pa.concat_tables(tables), found.names[:2]), found)


def _laid_out(files: list[File], columns: Columns, delimiter: str | None) -> tuple[list[File], list[_Layout]]:
    layouts = [_layout(file, columns, delimiter) for file in files]
    for file, layout in zip(files, layouts, strict=True):
        if layout.found != layouts[0].found:
            here, first = layout.found.names, layouts[0].found.names
            raise DataError(f"{file.path} has the columns {here}, but {files[0].path} has {first}.")
    return files, layouts


def _numbers_of(found: Found) -> dict[str, pa.DataType]:
    kinds = {found.value: pa.float64(), found.time: pa.int64()}
    return {name: kind for name, kind in kinds.items() if name is not None}


def _layout(file: File, columns: Columns, asked: str | None) -> _Layout:
    try:
        with file.open() as stream:
            lines = re.split(r"\r\n|\r|\n", stream.read(1 << 18).decode("utf-8-sig", errors="replace"))
    except OSError as problem:
        raise DataError(f"cannot read {file.path}: {problem}.") from problem
    number = next((number for number, line in enumerate(lines) if line), None)
    if number is None:
        raise DataError(f"{file.path} is empty; expected lines of user, item and, if you like, value and time.")
    first = lines[number]
    delimiter = asked or (DOUBLE_COLON if "::" in first else max(_DELIMITERS, key=first.count))
    fields = first.split("::") if delimiter == DOUBLE_COLON else next(csv.reader([first], delimiter=delimiter))
    if len(fields) < 2:
        tried = {TAB: "tab", DOUBLE_COLON: "'::'"}.get(asked or "", "comma, tab, semicolon, bar or '::'")
        raise DataError(
            f"{file.path} has no {tried} between fields in its first line, {first[:40]!r}. For lines of "
            "'user item item ...' say format='adjacency'."
        )
    if _has_header(fields, columns):
        return _Layout(delimiter, fields, number + 1, find_in(file, columns, fields))
    names = [f"column {position}" for position in range(len(fields))]
    return _Layout(delimiter, names, number, find_in(file, _by_position(columns, len(fields)), names))


def _has_header(fields: Sequence[str], columns: Columns) -> bool:
    asked = (columns.user, columns.item, columns.value, columns.time)
    if any(isinstance(each, str) for each in asked) or columns.guessed_in(fields):
        return True
    if any(isinstance(each, int) and not isinstance(each, bool) for each in asked):
        return False
    return not (all(map(_is_number, fields[:2])) or any(map(_is_number, fields[2:3])))


def _by_position(columns: Columns, width: int) -> Columns:
    """Return the columns of a file without a header: user, item, value, time in order unless asked otherwise."""
    user = 0 if columns.user is None else columns.user
    item = 1 if columns.item is None else columns.item
    value, time = columns.value, columns.time
    usual = {user, item} == {0, 1}
    if value is None:
        value = 2 if usual and width > 2 and time != 2 else False
    if time is None:
        time = 3 if usual and width > 3 and value != 3 else False
    return Columns(user, item, value, time)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_file(file: File, layout: _Layout, numbers: Mapping[str, pa.DataType]) -> pa.Table:
    return _parse(layout.open(file), layout, numbers, layout.lines_to_skip)


def _parse(stream: Any, layout: _Layout, numbers: Mapping[str, pa.DataType], lines_to_skip: int) -> pa.Table:
    wanted = layout.found.names
    with stream:
        return pacsv.read_csv(
            stream,
            pacsv.ReadOptions(column_names=layout.names, skip_rows=lines_to_skip),
            pacsv.ParseOptions(delimiter=layout.delimiter, quote_char='"' if layout.quotes else False),
            pacsv.ConvertOptions(
                include_columns=wanted,
                column_types={name: numbers.get(name, pa.string()) for name in wanted},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


def _parse_as_text(file: File, layout: _Layout) -> pa.Table:
    try:
        return _parse_file(file, layout, {})
    except pa.ArrowInvalid as problem:
        raise DataError(_bad_line(file, layout) or f"cannot read {file.path}: {problem}.") from problem


def _bad_line(file: File, layout: _Layout) -> str:
    """Return where a line has the wrong number of fields; Arrow's own row numbers skip empty lines."""
    expected = len(layout.names)
    with layout.open(file) as stream, io.TextIOWrapper(stream, "utf-8", errors="replace", newline="") as text:
        rows = csv.reader(
            text, delimiter=layout.delimiter, quoting=csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE
        )
        for row in rows:
            if row and len(row) != expected:
                return f"line {rows.line_num} of {file.path} has {len(row)} fields, expected {expected}."
    return ""
