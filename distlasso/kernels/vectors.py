"""Loops over the entries of a sparse column whose rows hold several models, as vectors of the processor.

Numba leaves the models of a row scalar and stores their sums after every entry; and a row that is not in the nearest cache is
waited for, although where an entry lies is known long before. So these two loops are written in LLVM's own terms: a vector
over the models stays in a register, and rows are asked for ahead of time. Read next: ``abreast.py`` and ``sparse.py``, whose
kernels are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

_AHEAD = 24  # entries; with 16 to 48 the time is the same
_BYTES, _DOUBLE, _INT = ir.IntType(8).as_pointer(), ir.DoubleType(), ir.IntType(32)
_TO_KEEP = tuple(_INT(flag) for flag in (1, 3, 1))  # to be written to, near, data: operands of llvm.prefetch
_FUSED = ("contract",)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def gather(context: Any, data: Any, indices: Any, start: Any, stop: Any, rows: Any, total: Any, width: Any) -> Any:
    """total_m += sum_k x_k rows_i(k),m over entries k from ``start`` to ``stop``.

    Rows are float64 [n, width or more], ``total`` [width], both contiguous; ``width`` is a number of models that is known
    when the kernel is compiled.
    """
    return _loop(_gathered, False, data, indices, rows, total, width)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def gather_moments(context: Any, data: Any, indices: Any, start: Any, stop: Any, rows: Any, total: Any, width: Any) -> Any:
    """As ``gather``, and behind it in ``total`` the same with x_k^2."""
    return _loop(_gathered, True, data, indices, rows, total, width)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def move(context: Any, data: Any, indices: Any, start: Any, stop: Any, rows: Any, step: Any, width: Any) -> Any:
    """rows_i(k),m += x_k step_m over entries k from ``start`` to ``stop``; otherwise as ``gather``."""
    return _loop(_moved, False, data, indices, rows, step, width)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def move_weighted(context: Any, data: Any, indices: Any, start: Any, stop: Any, rows: Any, step: Any, width: Any) -> Any:
    """As ``move``, times rows_i(k),width+m."""
    return _loop(_moved, True, data, indices, rows, step, width)


def _loop(generate: Callable[..., None], flag: bool, data: Any, indices: Any, rows: Any, own: Any, width: Any) -> Any:
    """What ``intrinsic`` wants: the signature, and what writes the loop. Arrays that it would misread do not compile."""
    if any(array.layout != "C" or array.dtype != types.float64 for array in (rows, own)):
        raise TypingError(f"rows of models are contiguous float64, not {rows} and {own}")

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        generate(context, builder, signature.args, arguments, width.literal_value, flag)
        return context.get_dummy_value()

    return types.void(data, indices, types.intp, types.intp, rows, own, width), write


def _gathered(context: Any, builder: Any, kinds: Any, arguments: Any, width: int, squares: bool) -> None:
    place = _vector_at(context, builder, kinds, arguments, width)
    places = [place, _beyond(builder, place, width)] if squares else [place]
    sums = [cgutils.alloca_once(builder, _vector(width)) for _ in places]
    for own, total in zip(places, sums, strict=True):
        builder.store(builder.load(own, align=8), total)
    with _entries(context, builder, kinds, arguments, width) as (x, row):
        product = builder.load(row, align=8)
        for total in sums:
            product = builder.fmul(x, product, flags=_FUSED)
            builder.store(builder.fadd(builder.load(total), product, flags=_FUSED), total)
    for own, total in zip(places, sums, strict=True):
        builder.store(builder.load(total), own, align=8)


def _moved(context: Any, builder: Any, kinds: Any, arguments: Any, width: int, weighted: bool) -> None:
    step = builder.load(_vector_at(context, builder, kinds, arguments, width), align=8)
    with _entries(context, builder, kinds, arguments, width) as (x, row):
        change = builder.fmul(x, step, flags=_FUSED)
        if weighted:
            change = builder.fmul(change, builder.load(_beyond(builder, row, width), align=8), flags=_FUSED)
        builder.store(builder.fadd(builder.load(row, align=8), change, flags=_FUSED), row, align=8)


def _vector(width: int) -> ir.VectorType:
    return ir.VectorType(_DOUBLE, width)


def _vector_at(context: Any, builder: Any, kinds: Any, arguments: Any, width: int) -> Any:
    """Pointer to the numbers of the last argument."""
    array = context.make_array(kinds[5])(context, builder, arguments[5])
    return builder.bitcast(array.data, _vector(width).as_pointer())


def _beyond(builder: Any, row: Any, width: int) -> Any:
    """Pointer to what lies behind the models of a row; a vector may take more room than its numbers."""
    weights = builder.gep(builder.bitcast(row, _DOUBLE.as_pointer()), [_INT(width)])
    return builder.bitcast(weights, _vector(width).as_pointer())


@contextmanager
def _entries(context: Any, builder: Any, kinds: Any, arguments: Any, width: int) -> Iterator[tuple[Any, Any]]:
    """Yield the value of an entry, once for each model, and a pointer to the models of its row: the body of the loop."""
    data, indices, rows = (context.make_array(kinds[at])(context, builder, arguments[at]) for at in (0, 1, 4))
    bytes_of_rows, stride = builder.bitcast(rows.data, _BYTES), builder.extract_value(rows.strides, 0)
    last = builder.sub(indices.nitems, context.get_constant(types.intp, 1))

    def row_at(k: Any) -> Any:
        i = context.cast(builder, builder.load(builder.gep(indices.data, [k])), kinds[1].dtype, types.intp)
        return builder.gep(bytes_of_rows, [builder.mul(i, stride)])

    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
    with cgutils.for_range(builder, arguments[3], arguments[2], intp=context.get_value_type(types.intp)) as loop:
        k = loop.index
        ahead = builder.add(k, context.get_constant(types.intp, _AHEAD))
        builder.call(prefetch, [row_at(builder.select(builder.icmp_signed("<", ahead, last), ahead, last)), *_TO_KEEP])
        x = context.cast(builder, builder.load(builder.gep(data.data, [k])), kinds[0].dtype, types.float64)
        one = builder.insert_element(ir.Constant(_vector(width), ir.Undefined), x, _INT(0))
        each = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, width), [0] * width))
        yield each, builder.bitcast(row_at(k), _vector(width).as_pointer())
