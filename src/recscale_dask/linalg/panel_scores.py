"""Scores of six rows with a panel of sixteen candidates, compared with thresholds while still in registers.

Written as LLVM instructions, as `sparse_rows` is: 6 x 16 sums stay in the vector registers of any processor
with vectors (6 of AVX-512's 32, 12 of AVX2's 16), and nothing is written unless a score reaches the
threshold of its row. That runs at the peak of the multiply-add units, which a matrix product that has to
write its result, and read it again for the selection, does not.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

ROWS = 6
"""Rows that are scored together."""
PANEL = 16
"""Candidates that are scored together."""
WORDS = -(-ROWS * PANEL // 64)
"""Words of 64 bits with a bit for each of these scores."""
UNROLLED = 4
"""Factors per step of the loop; rows and panels are padded with zeros to a multiple of it."""

_int32 = ir.IntType(32)
_int64 = ir.IntType(64)
_bits = ir.IntType(PANEL)
_float = ir.FloatType()
_vector = ir.VectorType(_float, PANEL)


def _index(number: int) -> Any:
    return ir.Constant(_int64, number)


def _spread(builder: Any, scalar: Any) -> Any:
    """Return a vector of one number."""
    undefined = ir.Constant(_vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(_int32, PANEL), [0] * PANEL)
    return builder.shuffle_vector(
        builder.insert_element(undefined, scalar, ir.Constant(_int32, 0)), undefined, first_lane
    )


@intrinsic  # type: ignore[untyped-decorator]
def reach_thresholds(
    typing: Any,
    rows: Any,
    places: Any,
    thresholds: Any,
    first: Any,
    panels: Any,
    panel: Any,
    width: Any,
    scores: Any,
    reached: Any,
) -> Any:
    """Return whether a score reaches the threshold of its row; if so, write all scores and who reached.

    Parameters
    ----------
    rows : ndarray of float32, flat
        Rows of factors, padded to `width`.
    places : ndarray of int64
        Where the rows to be scored begin in `rows`: six numbers from `first` on.
    thresholds : ndarray of float32
        Of the same rows, six numbers from `first` on.
    panels : ndarray of float32, shape (n_panels, width, 16), flat
        Factors of candidates; the panel to be scored begins at `panel`.
    scores : ndarray of float32, shape (6, 16), flat
        Written, if a threshold is reached.
    reached : ndarray of int64, shape (2,)
        Written, if a threshold is reached: bit i of all 96 says that entry i of `scores` reaches that of its row.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(number: int) -> Any:
            return context.make_array(signature.args[number])(context, builder, arguments[number]).data

        def of_row(array: Any, row: int) -> Any:
            return builder.load(builder.gep(array, [builder.add(arguments[3], _index(row))]))

        fused = ir.FunctionType(_vector, [_vector] * 3)
        multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{PANEL}f32")
        row_starts = [builder.gep(data(0), [of_row(data(1), row)]) for row in range(ROWS)]
        panel_start = builder.gep(data(4), [arguments[5]])
        sums = [cgutils.alloca_once(builder, _vector) for _ in range(ROWS)]
        for each in sums:
            builder.store(ir.Constant(_vector, [0.0] * PANEL), each)
        with cgutils.for_range_slice(builder, _index(0), arguments[6], _index(UNROLLED), _int64) as (step, _):
            for offset in range(UNROLLED):
                factor = builder.add(step, _index(offset))
                line = builder.gep(panel_start, [builder.mul(factor, _index(PANEL))])
                candidates = builder.load(builder.bitcast(line, _vector.as_pointer()), align=4)
                for start, each in zip(row_starts, sums, strict=True):
                    number = _spread(builder, builder.load(builder.gep(start, [factor])))
                    builder.store(builder.call(multiply_add, [number, candidates, builder.load(each)]), each)
        bits = []
        for row, each in enumerate(sums):
            threshold = _spread(builder, of_row(data(2), row))
            bits.append(builder.bitcast(builder.fcmp_ordered(">=", builder.load(each), threshold), _bits))
        union = bits[0]
        for each in bits[1:]:
            union = builder.or_(union, each)
        any_reached = builder.icmp_unsigned("!=", union, ir.Constant(_bits, 0))
        with builder.if_then(any_reached, likely=False):
            target = builder.bitcast(data(7), _vector.as_pointer())
            words = [_index(0)] * WORDS
            for row in range(ROWS):
                builder.store(builder.load(sums[row]), builder.gep(target, [_index(row)]), align=4)
                word, place = divmod(row * PANEL, 64)
                words[word] = builder.or_(words[word], builder.shl(builder.zext(bits[row], _int64), _index(place)))
            for number, word in enumerate(words):
                builder.store(word, builder.gep(data(8), [_index(number)]))
        return builder.zext(any_reached, context.get_value_type(types.boolean))

    integer = types.intp
    return types.boolean(rows, places, thresholds, integer, panels, integer, integer, scores, reached), generate


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Return the number of the lowest bit that is set in an int64 other than 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate
