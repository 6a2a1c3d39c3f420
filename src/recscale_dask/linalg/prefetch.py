"""Asking for memory before it is needed, where the processor cannot foresee what that will be."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE_BYTES = 64
READ, KEEP_IN_ALL_CACHES, DATA = 0, 3, 1

_int32 = ir.IntType(32)
_bytes = ir.IntType(8).as_pointer()


def prefetch_at(builder: Any, pointer: Any) -> None:
    """Build the instruction that asks for the cache line at a pointer."""
    hint = ir.FunctionType(ir.VoidType(), [_bytes, _int32, _int32, _int32])
    instruction = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
    flags = [ir.Constant(_int32, flag) for flag in (READ, KEEP_IN_ALL_CACHES, DATA)]
    builder.call(instruction, [builder.bitcast(pointer, _bytes), *flags])


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of entry `place` of a flat array; it may lie behind its end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        prefetch_at(builder, builder.gep(data, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
