"""The distance of two points in compiled code, sixteen features at a time.

numba's own loop over the features takes five times as long: it does not keep its sums in registers. As vectors they
stay there; LLVM splits them where the processor's are shorter, so this runs everywhere, and whole numbers add up to the
same sum in any order.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from pipeline.featurize.baseline.coordinates import WIDTH

intrinsic: Callable[[Any], Any] = numba_intrinsic  # its own type has the context among the arguments
declared: Callable[..., Any] = cgutils.get_or_insert_function

_LANES = 16
_INDEX, _SUM = ir.IntType(64), ir.IntType(32)
_BYTES, _STEPS, _SQUARES = (ir.VectorType(ir.IntType(bits), _LANES) for bits in (8, 16, 32))


@intrinsic
def squared_distance(typing: Any, points: Any, number: Any, row: Any) -> Any:
    """Sum of squared steps (int32) between points[number] of (k, WIDTH) int8 and row (WIDTH,) int8, both contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        point = builder.gep(first, [builder.mul(arguments[1], ir.Constant(_INDEX, WIDTH))])
        other = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        total = ir.Constant(_SQUARES, None)
        for column in range(0, WIDTH, _LANES):
            steps = builder.sub(*(_steps(builder, each, column) for each in (point, other)))
            wide = builder.sext(steps, _SQUARES)
            total = builder.add(total, builder.mul(wide, wide))
        reduce_add = ir.FunctionType(_SUM, [_SQUARES])
        name = f"llvm.vector.reduce.add.v{_LANES}i32"
        return builder.call(declared(builder.module, reduce_add, name), [total])

    return types.int32(points, types.uint64, row), generate


def _steps(builder: Any, pointer: Any, column: int) -> Any:
    """Sixteen features from a column on, as int16: a difference of bytes needs nine bits."""
    at = builder.bitcast(builder.gep(pointer, [ir.Constant(_INDEX, column)]), _BYTES.as_pointer())
    return builder.sext(builder.load(at, align=1), _STEPS)
