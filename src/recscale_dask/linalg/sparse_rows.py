"""One sparse row times a tile of a dense matrix, with the running sums in vector registers.

Written as LLVM instructions, because a compiler that sees a loop over columns keeps the sums in memory and
reloads them for every stored value. A tile is two cache lines wide, or one of a matrix that is no wider: sums of a
row and the tile of a row of the dense matrix fit into the registers of any processor with vectors, and the tile of a
whole dense matrix of some ten thousand rows stays in the cache next to the core. How many lines it has is known
when a kernel is compiled: the literal `lines`. Items come in no order, so the rows of the dense matrix are asked
for `_AHEAD` stored values before they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from recscale_dask.linalg.prefetch import LINE_BYTES, prefetch_at

LINES = 2
"""Most lines in a tile."""

_AHEAD = 16

_int32 = ir.IntType(32)
_int64 = ir.IntType(64)


class _Row:
    """Builds the instructions for the stored values ``[first, last)`` of a row and one tile of columns."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, lines: int) -> None:
        self._context, self._builder = context, builder
        self._types, self._arguments = signature.args, arguments
        self._indices, self._values = self.data(0), self.data(1)
        self._first, self._last = arguments[2], arguments[3]
        self._count = context.make_array(self._types[0])(context, builder, arguments[0]).nitems
        dense = self._types[4].dtype
        self._scalar = context.get_value_type(dense)
        self._size = dense.bitwidth // 8
        self._lanes = LINE_BYTES // self._size
        self._vector = ir.VectorType(self._scalar, self._lanes)
        self._lines = [ir.Constant(_int64, line) for line in range(lines)]
        self._sums = [cgutils.alloca_once(builder, self._vector) for _ in self._lines]
        module = builder.module
        fused = ir.FunctionType(self._vector, [self._vector] * 3)
        name = f"llvm.fmuladd.v{self._lanes}f{8 * self._size}"
        self._multiply_add = cgutils.get_or_insert_function(module, fused, name)

    def data(self, number: int) -> Any:
        """Return the pointer to the data of an array argument."""
        array = self._context.make_array(self._types[number])
        return array(self._context, self._builder, self._arguments[number]).data

    def gather(self, basis: Any) -> None:
        """Set the sums to the row times the dense matrix at `basis`."""
        for each in self._sums:
            self._builder.store(ir.Constant(self._vector, [0.0] * self._lanes), each)
        with self._each_value(basis) as (value, lines):
            for line, each in zip(lines, self._sums, strict=True):
                term = self._builder.load(line, align=self._size)
                total = self._builder.call(self._multiply_add, [value, term, self._builder.load(each)])
                self._builder.store(total, each)

    def scatter(self, out: Any) -> None:
        """Add the transposed row times the sums to the dense matrix at `out`."""
        with self._each_value(out) as (value, lines):
            for line, each in zip(lines, self._sums, strict=True):
                before = self._builder.load(line, align=self._size)
                total = self._builder.call(self._multiply_add, [value, self._builder.load(each), before])
                self._builder.store(total, line, align=self._size)

    def load(self, rows: Any, offset: Any) -> None:
        """Set the sums to the tile that begins `offset` numbers behind `rows`."""
        for line, each in zip(self._lines_at(rows, offset), self._sums, strict=True):
            self._builder.store(self._builder.load(line, align=self._size), each)

    def store(self, rows: Any, offset: Any) -> None:
        """Write the sums to the tile that begins `offset` numbers behind `rows`."""
        for line, each in zip(self._lines_at(rows, offset), self._sums, strict=True):
            self._builder.store(self._builder.load(each), line, align=self._size)

    @contextmanager
    def _each_value(self, dense: Any) -> Iterator[tuple[Any, list[Any]]]:
        builder = self._builder
        one = ir.Constant(_int64, 1)
        with cgutils.for_range_slice(builder, self._first, self._last, one, _int64) as (place, _):
            ahead = builder.add(place, ir.Constant(_int64, _AHEAD))
            inside = builder.icmp_signed("<", ahead, self._count)
            for line in self._dense_lines(dense, builder.select(inside, ahead, place)):
                prefetch_at(builder, line)
            value = builder.load(builder.gep(self._values, [place]))
            if value.type != self._scalar:
                value = builder.fpext(value, self._scalar)
            undefined = ir.Constant(self._vector, ir.Undefined)
            first_lane = ir.Constant(ir.VectorType(_int32, self._lanes), [0] * self._lanes)
            value = builder.insert_element(undefined, value, ir.Constant(_int32, 0))
            yield builder.shuffle_vector(value, undefined, first_lane), self._dense_lines(dense, place)

    def _dense_lines(self, dense: Any, place: Any) -> list[Any]:
        """Return pointers to the lines of the dense row that belongs to the stored value at `place`."""
        column = self._builder.sext(self._builder.load(self._builder.gep(self._indices, [place])), _int64)
        width = ir.Constant(_int64, len(self._lines) * self._lanes)
        return self._lines_at(dense, self._builder.mul(column, width))

    def _lines_at(self, base: Any, offset: Any) -> list[Any]:
        start = self._builder.bitcast(self._builder.gep(base, [offset]), self._vector.as_pointer())
        return [self._builder.gep(start, [line]) for line in self._lines]


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def gram_row(typing: Any, indices: Any, values: Any, first: Any, last: Any, basis: Any, out: Any, lines: Any) -> Any:
    """Add ``a' (a basis)`` of the row a to `out`; both of shape (n_columns, tile)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _Row(context, builder, signature, arguments, lines.literal_value)
        row.gather(row.data(4))
        row.scatter(row.data(5))
        return context.get_dummy_value()

    return types.void(indices, values, types.intp, types.intp, basis, out, lines), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def image_row(
    typing: Any,
    indices: Any,
    values: Any,
    first: Any,
    last: Any,
    basis: Any,
    out: Any,
    rows: Any,
    offset: Any,
    lines: Any,
) -> Any:
    """`gram_row` that also writes ``a basis`` to the tile at `offset` of the flat array `rows`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _Row(context, builder, signature, arguments, lines.literal_value)
        row.gather(row.data(4))
        row.store(row.data(6), arguments[7])
        row.scatter(row.data(5))
        return context.get_dummy_value()

    return types.void(indices, values, types.intp, types.intp, basis, out, rows, types.intp, lines), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def product_row(
    typing: Any, indices: Any, values: Any, first: Any, last: Any, basis: Any, rows: Any, offset: Any, lines: Any
) -> Any:
    """Write ``a basis`` of the row a to the tile at `offset` of the flat array `rows`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _Row(context, builder, signature, arguments, lines.literal_value)
        row.gather(row.data(4))
        row.store(row.data(5), arguments[6])
        return context.get_dummy_value()

    return types.void(indices, values, types.intp, types.intp, basis, rows, types.intp, lines), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def transpose_row(
    typing: Any, indices: Any, values: Any, first: Any, last: Any, rows: Any, offset: Any, out: Any, lines: Any
) -> Any:
    """Add ``a' r`` to `out` of shape (n_columns, tile), r being the tile at `offset` of the flat array `rows`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = _Row(context, builder, signature, arguments, lines.literal_value)
        row.load(row.data(4), arguments[5])
        row.scatter(row.data(6))
        return context.get_dummy_value()

    return types.void(indices, values, types.intp, types.intp, rows, types.intp, out, lines), generate
