"""Sixteen numbers at a time in compiled code: the few vector operations that the kernel's inner loops are made of.

numba's own loops leave accumulators in memory; as values of a vector type they stay in registers. LLVM splits a vector
where the processor's are shorter, so this runs everywhere. Lanes never mix except in `lane_sum`, whose order is fixed.

numba's cache of a compiled function follows the file that the function is in: after a change here, touch kernel.py.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

intrinsic: Callable[[Any], Any] = numba_intrinsic  # its own type has the context among the arguments

LANES = 16
FLOATS = ir.VectorType(ir.FloatType(), LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
ROOT_OF_HALF_BITS = 0x3F3504F3  # sqrt(1/2) as an integer: mantissas lie between it and its double


class Vector(types.Type):
    """Sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)  # type: ignore[no-untyped-call]


VECTOR = Vector()


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), FLOATS.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a C-contiguous float32 or int8 array, seen flat."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        if signature.args[0].dtype == types.int8:
            small = builder.load(builder.bitcast(pointer, BYTES.as_pointer()), align=1)
            return builder.sitofp(builder.sext(small, INTEGERS), FLOATS)
        return builder.load(pointer, align=4)

    return VECTOR(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 16] = value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), generate


@intrinsic
def store_whole(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 16] = value, whole numbers, in an int32 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        whole = builder.fptosi(arguments[2], INTEGERS)
        builder.store(whole, builder.bitcast(pointer, INTEGERS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), generate


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """The same float32 in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(INTEGERS, [0] * LANES))

    return VECTOR(types.float32), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """The sum, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return VECTOR(VECTOR, VECTOR), generate


@intrinsic
def subtract(typing: Any, a: Any, b: Any) -> Any:
    """The difference a - b, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments)

    return VECTOR(VECTOR, VECTOR), generate


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """The product, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return VECTOR(VECTOR, VECTOR), generate


@intrinsic
def divide(typing: Any, a: Any, b: Any) -> Any:
    """The quotient a / b, lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fdiv(*arguments)

    return VECTOR(VECTOR, VECTOR), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a * b + c, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "llvm.fmuladd.v16f32"
        known = builder.module.globals.get(name)
        return builder.call(
            known or ir.Function(builder.module, ir.FunctionType(FLOATS, [FLOATS] * 3), name), arguments
        )

    return VECTOR(VECTOR, VECTOR, VECTOR), generate


@intrinsic
def where_less(typing: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where a < b, else `no`; a NaN is not less."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, yes, no = arguments
        return builder.select(builder.fcmp_ordered("<", a, b), yes, no)

    return VECTOR(VECTOR, VECTOR, VECTOR, VECTOR), generate


@intrinsic
def differing(typing: Any, a: Any, b: Any) -> Any:
    """A bit for every lane in which a and b differ, the first lane's lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_unordered("!=", *arguments), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(VECTOR, VECTOR), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The position of the lowest bit that is set; one must be."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def exponent(typing: Any, a: Any) -> Any:
    """The k of a = 2**k * m with m between sqrt(1/2) and sqrt(2), for normal numbers a > 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(_exponent(builder, arguments[0]), FLOATS)

    return VECTOR(VECTOR), generate


@intrinsic
def mantissa(typing: Any, a: Any) -> Any:
    """The m of a = 2**k * m with m between sqrt(1/2) and sqrt(2), for normal numbers a > 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shifted = builder.shl(_exponent(builder, arguments[0]), _integers(23))
        return builder.bitcast(builder.sub(builder.bitcast(arguments[0], INTEGERS), shifted), FLOATS)

    return VECTOR(VECTOR), generate


@intrinsic
def lane_sum(typing: Any, a: Any) -> Any:
    """The sum of all lanes: halves are added until one is left."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, lanes = arguments[0], LANES
        while lanes > 1:
            lanes //= 2
            kind = ir.VectorType(ir.IntType(32), lanes)
            halves = [list(range(lanes)), list(range(lanes, 2 * lanes))]
            low, high = (builder.shuffle_vector(value, value, ir.Constant(kind, half)) for half in halves)
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(VECTOR), generate


def _exponent(builder: Any, value: Any) -> Any:
    bits = builder.sub(builder.bitcast(value, INTEGERS), _integers(ROOT_OF_HALF_BITS))
    return builder.ashr(bits, _integers(23))


def _integers(value: int) -> Any:
    return ir.Constant(INTEGERS, [value] * LANES)
