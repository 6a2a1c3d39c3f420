"""Sums over short rows of a dense matrix that stay in vector registers: what small linear systems are solved with.

Written as LLVM instructions, as `sparse_rows` is. All arrays are flat and float32, and rows have a multiple of
`LANES` numbers. Sums are fused multiplications and additions in the order of the rows, so they are the same
wherever a vector has any number of lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
"""What the width of rows is a multiple of."""
GROUP = 8
"""Rows that are multiplied together."""

_int32 = ir.IntType(32)
_int64 = ir.IntType(64)
_float = ir.FloatType()
_vector = ir.VectorType(_float, LANES)
_zeros = ir.Constant(_vector, [0.0] * LANES)


def _index(number: int) -> Any:
    return ir.Constant(_int64, number)


class _Builder:
    """Builds instructions on flat arrays that are arguments of an intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder, self.arguments = builder, arguments
        self._context, self._types = context, signature.args
        fused = ir.FunctionType(_vector, [_vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{LANES}f32")

    def at(self, array: int, *places: Any) -> Any:
        """Return the pointer to the entry of an array argument at a sum of places."""
        data = self._context.make_array(self._types[array])(self._context, self.builder, self.arguments[array]).data
        return self.moved(data, *places)

    def moved(self, pointer: Any, *places: Any) -> Any:
        for place in places:
            pointer = self.builder.gep(pointer, [place])
        return pointer

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, _vector.as_pointer()), align=4)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, _vector.as_pointer()), align=4)

    def spread(self, pointer: Any) -> Any:
        """Return a vector of the one number at a pointer."""
        undefined = ir.Constant(_vector, ir.Undefined)
        single = self.builder.insert_element(undefined, self.builder.load(pointer), ir.Constant(_int32, 0))
        first_lane = ir.Constant(ir.VectorType(_int32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, undefined, first_lane)

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        return self.builder.call(self._fma, [left, right, total])

    @contextmanager
    def each(self, count: Any, step: int = 1) -> Iterator[Any]:
        with cgutils.for_range_slice(self.builder, _index(0), count, _index(step), _int64) as (place, _):
            yield place

    def folded(self, vectors: list[Any]) -> Any:
        """Return a vector that begins with the sum of the lanes of each of eight vectors."""
        while len(vectors) > 1:
            vectors = [self._halved(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]
        return self._halved(vectors[0], vectors[0])

    def _halved(self, left: Any, right: Any) -> Any:
        """Return the sums of neighbouring lanes of one vector, and then those of another."""
        every_other = ir.VectorType(_int32, LANES)
        evens, odds = (ir.Constant(every_other, list(range(first, 2 * LANES, 2))) for first in (0, 1))
        shuffle = self.builder.shuffle_vector
        return self.builder.fadd(shuffle(left, right, evens), shuffle(left, right, odds))


@intrinsic  # type: ignore[untyped-decorator]
def copy_scaled(
    typing: Any, out: Any, out_place: Any, rows: Any, place: Any, scales: Any, factors: Any, at: Any, width: Any
) -> Any:
    """Write a row, times `scales`, times the one number at place `at` of `factors`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        build = _Builder(context, builder, signature, arguments)
        source, target, scale = build.at(2, arguments[3]), build.at(0, arguments[1]), build.at(4)
        factor = build.spread(build.at(5, arguments[6]))
        with build.each(arguments[7], LANES) as column:
            product = builder.fmul(build.load(build.moved(source, column)), build.load(build.moved(scale, column)))
            build.store(builder.fmul(product, factor), build.moved(target, column))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(out, integer, rows, integer, scales, factors, integer, integer), generate


@intrinsic  # type: ignore[untyped-decorator]
def eight_dots(
    typing: Any, rows: Any, place: Any, width: Any, vector: Any, vector_place: Any, out: Any, out_place: Any
) -> Any:
    """Write the products of a vector with `GROUP` rows, from `place` on, to eight entries of `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        build = _Builder(context, builder, signature, arguments)
        width = arguments[2]
        starts = [build.at(0, arguments[1])]
        for _ in range(1, GROUP):
            starts.append(build.moved(starts[-1], width))
        vector = build.at(3, arguments[4])
        sums = [cgutils.alloca_once_value(builder, _zeros) for _ in starts]
        for each in sums:
            builder.store(_zeros, each)
        with build.each(width, LANES) as column:
            line = build.load(build.moved(vector, column))
            for start, each in zip(starts, sums, strict=True):
                row = build.load(build.moved(start, column))
                builder.store(build.multiply_add(row, line, builder.load(each)), each)
        total = build.folded([builder.load(each) for each in sums])
        target = builder.bitcast(build.at(5, arguments[6]), ir.VectorType(_float, GROUP).as_pointer())
        mask = ir.Constant(ir.VectorType(_int32, GROUP), list(range(GROUP)))
        builder.store(builder.shuffle_vector(total, total, mask), target, align=4)
        return context.get_dummy_value()

    integer = types.intp
    return types.void(rows, integer, integer, vector, integer, out, integer), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_eight(
    typing: Any, out: Any, out_place: Any, rows: Any, place: Any, width: Any, weights: Any, weights_place: Any
) -> Any:
    """Add `GROUP` rows, one behind another from `place` on, times eight weights to a row of `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        build = _Builder(context, builder, signature, arguments)
        width = arguments[4]
        starts = [build.at(2, arguments[3])]
        for _ in range(1, GROUP):
            starts.append(build.moved(starts[-1], width))
        factors = [build.spread(build.at(5, arguments[6], _index(row))) for row in range(GROUP)]
        target = build.at(0, arguments[1])
        with build.each(width, LANES) as column:
            total = build.load(build.moved(target, column))
            for start, factor in zip(starts, factors, strict=True):
                total = build.multiply_add(build.load(build.moved(start, column)), factor, total)
            build.store(total, build.moved(target, column))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(out, integer, rows, integer, integer, weights, integer), generate


@intrinsic  # type: ignore[untyped-decorator]
def subtract_rows(
    typing: Any,
    out: Any,
    out_place: Any,
    rows: Any,
    place: Any,
    step: Any,
    weights: Any,
    weights_place: Any,
    count: Any,
    width: Any,
) -> Any:
    """Subtract `count` rows, `step` numbers apart, times weights that are as far apart, from a row of `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        build = _Builder(context, builder, signature, arguments)
        step, count, width = arguments[4], arguments[7], arguments[8]
        target, source, weights = build.at(0, arguments[1]), build.at(2, arguments[3]), build.at(5, arguments[6])
        total = cgutils.alloca_once(builder, _vector)
        with build.each(width, LANES) as column:
            builder.store(build.load(build.moved(target, column)), total)
            with build.each(count) as row:
                offset = builder.mul(row, step)
                weight = builder.fneg(build.spread(build.moved(weights, offset)))
                line = build.load(build.moved(source, column, offset))
                builder.store(build.multiply_add(line, weight, builder.load(total)), total)
            build.store(builder.load(total), build.moved(target, column))
        return context.get_dummy_value()

    integer = types.intp
    signature = types.void(out, integer, rows, integer, integer, weights, integer, integer, integer)
    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def add_products(
    typing: Any,
    out: Any,
    out_place: Any,
    out_step: Any,
    rows: Any,
    left: Any,
    right: Any,
    step: Any,
    count: Any,
    sign: Any,
) -> Any:
    """Add ``L' R`` to an 8 x 16 tile of `out`, or with a `sign` of -1 subtract it.

    L and R are eight and sixteen columns of `count` rows that are `step` numbers apart: those from places `left` and
    `right` on.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        build = _Builder(context, builder, signature, arguments)
        step, count = arguments[6], arguments[7]
        lefts, rights = build.at(3, arguments[4]), build.at(3, arguments[5])
        sums = [cgutils.alloca_once(builder, _vector) for _ in range(GROUP)]
        for each in sums:
            builder.store(_zeros, each)
        with build.each(count) as row:
            offset = builder.mul(row, step)
            line = build.load(build.moved(rights, offset))
            for number, each in enumerate(sums):
                weight = build.spread(build.moved(lefts, offset, _index(number)))
                builder.store(build.multiply_add(line, weight, builder.load(each)), each)
        target = build.at(0, arguments[1])
        for each in sums:
            before = build.load(target)
            combine = builder.fsub if sign.literal_value < 0 else builder.fadd
            build.store(combine(before, builder.load(each)), target)
            target = build.moved(target, arguments[2])
        return context.get_dummy_value()

    integer = types.intp
    signature = types.void(out, integer, integer, rows, integer, integer, integer, integer, sign)
    return signature, generate
