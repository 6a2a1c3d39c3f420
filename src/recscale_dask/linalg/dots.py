"""Dot products of float32 rows in float64, in one order of additions whatever the processor.

Eight sums, each of every eighth product, are added in halves: sum i and sum i + 4, then i and i + 2, then both.
A product of two float32 numbers is exact in float64, so a fused multiplication and addition rounds as the two do.
Written as LLVM instructions, because a compiler must not change the order of the additions of a plain loop, and
eight at a time is how processors are fast.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_LANES = 8
_int32, _int64 = ir.IntType(32), ir.IntType(64)
_narrow = ir.VectorType(ir.FloatType(), _LANES)
_wide = ir.VectorType(ir.DoubleType(), _LANES)


class _Dot:
    """Builds the instructions for the product of two runs of float32 numbers at pointers."""

    def __init__(self, builder: Any, left: Any, right: Any, count: Any) -> None:
        self._builder, self._left, self._right, self._count = builder, left, right, count
        signature = ir.FunctionType(_wide, [_wide] * 3)
        name = f"llvm.fmuladd.v{_LANES}f64"
        self._multiply_add = cgutils.get_or_insert_function(builder.module, signature, name)
        self._sums = cgutils.alloca_once(builder, _wide)

    def total(self) -> Any:
        """Return the product, a double."""
        builder = self._builder
        zeros = ir.Constant(_wide, [0.0] * _LANES)
        builder.store(zeros, self._sums)
        whole = builder.and_(self._count, ir.Constant(_int64, -_LANES))
        with cgutils.for_range_slice(builder, _constant(0), whole, _constant(_LANES), _int64) as (place, _):
            self._add(self._eight(self._left, place), self._eight(self._right, place))
        with builder.if_then(builder.icmp_signed("<", whole, self._count), likely=False):
            ends = [cgutils.alloca_once_value(builder, zeros) for _ in range(2)]
            with cgutils.for_range_slice(builder, whole, self._count, _constant(1), _int64) as (place, _):
                lane = builder.trunc(builder.sub(place, whole), _int32)
                for base, end in zip((self._left, self._right), ends, strict=True):
                    number = builder.fpext(builder.load(builder.gep(base, [place])), ir.DoubleType())
                    builder.store(builder.insert_element(builder.load(end), number, lane), end)
            self._add(*(builder.load(end) for end in ends))
        return self._added_in_halves(builder.load(self._sums))

    def _eight(self, base: Any, place: Any) -> Any:
        pointer = self._builder.bitcast(self._builder.gep(base, [place]), _narrow.as_pointer())
        return self._builder.fpext(self._builder.load(pointer, align=4), _wide)

    def _add(self, left: Any, right: Any) -> None:
        total = self._builder.call(self._multiply_add, [left, right, self._builder.load(self._sums)])
        self._builder.store(total, self._sums)

    def _added_in_halves(self, sums: Any) -> Any:
        builder = self._builder
        half = _LANES // 2
        while half:
            order = [min(lane + half, _LANES - 1) for lane in range(_LANES)]
            mask = ir.Constant(ir.VectorType(_int32, _LANES), order)
            sums = builder.fadd(sums, builder.shuffle_vector(sums, sums, mask))
            half //= 2
        return builder.extract_element(sums, ir.Constant(_int32, 0))


def _constant(number: int) -> Any:
    return ir.Constant(_int64, number)


@intrinsic  # type: ignore[untyped-decorator]
def dot_at(typing: Any, left: Any, left_place: Any, right: Any, right_place: Any, count: Any) -> Any:
    """Return the product of `count` numbers from a place in each of two flat float32 arrays, in float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(at: int) -> Any:
            data = context.make_array(signature.args[at])(context, builder, arguments[at]).data
            return builder.gep(data, [arguments[at + 1]])

        return _Dot(builder, pointer(0), pointer(2), arguments[4]).total()

    return types.float64(left, types.intp, right, types.intp, types.intp), generate
