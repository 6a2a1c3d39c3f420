"""A hint to the processor's caches, for compiled kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, i: Any, j: Any) -> Any:
    """Ask for the cache line of ``array[i, j]``; changes no result (LLVM's `llvm.prefetch`)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, arguments[0])
        where = [context.cast(builder, arguments[n], signature.args[n], types.intp) for n in (1, 2)]
        element = cgutils.get_item_pointer(context, builder, array_type, struct, where, wraparound=False)
        byte_pointer, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
        function = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
        read, keep_in_all_caches, data = (ir.Constant(int32, value) for value in (0, 3, 1))
        builder.call(function, [builder.bitcast(element, byte_pointer), read, keep_in_all_caches, data])
        return context.get_dummy_value()

    return types.void(array, i, j), generate
