"""Vector instructions, written as LLVM code: the fast implementation of `simd`.

The loops of `combining` run over the samples of a pixel, which differ in number and order from pixel to pixel, so
that the compiler cannot vectorise them by itself. Each function here works on `LANES` neighbouring pixels at
once.

This module builds on internals of Numba and llvmlite, which may change. `simd` tests it once and takes
`simd_plain` where it does not do what it should.
"""

from __future__ import annotations

import functools
import platform
from functools import partial
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import extending
from numba.core import cgutils, types

from .compiled import jit
from .simd_layout import INNER_TAPS, LANES, MERGE_EIGHT, MERGE_FOUR, SORT_EIGHT, STRIDE, TABLE_WIDTH, TAPS

intrinsic: Any = extending.intrinsic

_F32, _F64 = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
_I64 = ir.IntType(64)
_LINE = 16  # float32 numbers of a line of the cache


def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any = None) -> Any:
    """Address of a row of a C-contiguous array whose last axis has `LANES` values; of the first without `row`."""
    data = context.make_array(kind)(context, builder, array).data
    if row is not None:
        data = builder.gep(data, [builder.mul(row, ir.Constant(row.type, LANES))])
    return builder.bitcast(data, ir.VectorType(data.type.pointee, LANES).as_pointer())


def _load(builder: Any, address: Any) -> Any:
    return builder.load(address, align=4)


def _all(kind: Any, value: float) -> Any:
    """A row in which every value is one constant."""
    return ir.Constant(kind, [value] * LANES)


def _places(places: Any) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(places))


def _same(builder: Any, value: Any) -> Any:
    """A row in which every value is one variable."""
    nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    row = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(row, nothing, _places([0] * LANES))


def _is_present(builder: Any, row: Any) -> Any:
    return builder.fcmp_ordered("<", row, _all(_F32, float("inf")))


def _is_finite(builder: Any, row: Any) -> Any:
    """True for finite numbers: NaN and both infinities fail."""
    kind = row.type
    infinity = [float("inf")] * kind.count
    return builder.and_(
        builder.fcmp_ordered("<", row, ir.Constant(kind, infinity)),
        builder.fcmp_ordered(">", row, ir.Constant(kind, [-end for end in infinity])),
    )


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` of vectors, rounded once."""
    element = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}[a.type.element]
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{a.type.count}{element}")
    return builder.call(function, [a, b, c])


class _Sums:
    """Rows of sums, kept in registers over a loop."""

    def __init__(self, builder: Any, count: int) -> None:
        self._builder = builder
        self._rows = [cgutils.alloca_once_value(builder, _all(_F64, 0.0)) for _ in range(count)]

    def add(self, number: int, row: Any) -> None:
        self._builder.store(self._builder.fadd(self._builder.load(self._rows[number]), row), self._rows[number])

    def add_product(self, number: int, a: Any, b: Any) -> None:
        self._builder.store(_fma(self._builder, a, b, self._builder.load(self._rows[number])), self._rows[number])

    def store(self, context: Any, kinds: Any, arrays: Any) -> None:
        for row, kind, array in zip(self._rows, kinds, arrays, strict=True):
            address = _address(context, self._builder, kind, array)
            self._builder.store(self._builder.load(row), address, align=8)


def _make_fma(kind: Any) -> Any:
    """The fused multiply-add of one type."""

    @intrinsic
    def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.fma(*given)

        # A wider type would be rounded without a word.
        return (kind(kind, kind, kind), code) if {a, b, c} <= {types.float32, kind} else None

    return fma


#: ``a * b + c``, rounded once, of float32 and of float64.
fma, fma64 = _make_fma(types.float32), _make_fma(types.float64)


@intrinsic
def compare_exchange(typing: Any, rows: Any, first: Any, second: Any) -> Any:
    """Put the smaller of two float32 rows into `first` and the larger into `second`, pixel by pixel."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        low, high = (_address(context, builder, signature.args[0], given[0], row) for row in given[1:])
        one, other = _load(builder, low), _load(builder, high)
        smaller, larger = _in_order(builder, one, other)
        builder.store(smaller, low, align=4)
        builder.store(larger, high, align=4)
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.int64), code


def _in_order(builder: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """The smaller and the larger of two rows, pixel by pixel."""
    in_order = builder.fcmp_ordered("<", one, other)
    return builder.select(in_order, one, other), builder.select(in_order, other, one)


def _make_network(pairs: Any) -> Any:
    """The function that puts pairs of some rows in order, one after the other, without storing them in between."""
    count = 1 + max(max(pair) for pair in pairs)

    @intrinsic
    def network(typing: Any, source: Any, first: Any, rows: Any, into: Any, step: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            def address(k: int, number: int) -> Any:
                row = builder.add(given[k + 1], builder.mul(given[4], ir.Constant(_I64, number)))
                return _address(context, builder, signature.args[k], given[k], row)

            held = [_load(builder, address(0, number)) for number in range(count)]
            for one, other in pairs:
                held[one], held[other] = _in_order(builder, held[one], held[other])
            for number, row in enumerate(held):
                builder.store(row, address(2, number), align=4)
            return context.get_dummy_value()

        return types.void(source, types.int64, rows, types.int64, types.int64), code

    return network


#: Sort rows pixel by pixel: every `step`-th of `source` from `first` on, and write them to `rows` from `into` on. Those
#: that are merged must be bitonic: a rotation of a sequence that rises and then falls.
sort_eight, merge_eight, merge_four = (_make_network(pairs) for pairs in (SORT_EIGHT, MERGE_EIGHT, MERGE_FOUR))


@intrinsic
def distances(typing: Any, rows: Any, count: Any, centre: Any, away: Any) -> Any:
    """Write the distances from the centre of `count` rows, as float32; 0 where a value is missing."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        middle = _load(builder, _address(context, builder, signature.args[2], given[2]))
        with cgutils.for_range(builder, given[1]) as loop:
            value = _load(builder, _address(context, builder, signature.args[0], given[0], loop.index))
            distance = builder.fptrunc(builder.fsub(builder.fpext(value, _F64), middle), _F32)
            distance = builder.select(_is_present(builder, value), distance, _all(_F32, 0.0))
            place = _address(context, builder, signature.args[3], given[3], loop.index)
            builder.store(distance, place, align=4)
        return context.get_dummy_value()

    return types.void(rows, types.int64, centre, away), code


@intrinsic
def clipped_moments(typing: Any, away: Any, count: Any, low: Any, high: Any, sums: Any, squares: Any) -> Any:
    """Sums, and sums of squares, of `count` rows; values outside of low..high are moved to the nearer of the two."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        floor, ceiling = (_load(builder, _address(context, builder, signature.args[k], given[k])) for k in (2, 3))
        moments = _Sums(builder, 2)
        with cgutils.for_range(builder, given[1]) as loop:
            value = _load(builder, _address(context, builder, signature.args[0], given[0], loop.index))
            value = builder.select(builder.fcmp_ordered(">", value, floor), value, floor)
            value = builder.select(builder.fcmp_ordered("<", value, ceiling), value, ceiling)
            value = builder.fpext(value, _F64)
            moments.add(0, value)
            moments.add_product(1, value, value)
        moments.store(context, signature.args[4:], given[4:])
        return context.get_dummy_value()

    return types.void(away, types.int64, low, high, sums, squares), code


@intrinsic
def huber_step(
    typing: Any, sums: Any, squares: Any, n: Any, going: Any, factor: Any, near: Any, spread: Any, low: Any, high: Any
) -> Any:
    """Replace the spread by that of `n` winsorised samples times `factor`, and the limits by 1.5 times that.

    Only the pixels whose bit is set in `going` change. Returned are the bits of those whose spread changed by more
    than the share `near` of what it was.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def row(k: int, align: int = 8) -> Any:
            return builder.load(_address(context, builder, signature.args[k], given[k]), align=align)

        def keep(k: int, new: Any, old: Any, align: int) -> None:
            place = _address(context, builder, signature.args[k], given[k])
            builder.store(builder.select(chosen, new, old), place, align=align)

        chosen = builder.bitcast(builder.trunc(given[3], ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))
        total, square, before = row(0), row(1), row(6)
        number = builder.sitofp(row(2), _F64)
        one = _all(_F64, 1.0)
        free = builder.fsub(number, one)
        free = builder.select(builder.fcmp_ordered(">", free, one), free, one)
        variance = builder.fsub(square, builder.fdiv(builder.fmul(total, total), number))
        variance = builder.fdiv(variance, free)
        nothing = _all(_F64, 0.0)
        variance = builder.select(builder.fcmp_ordered(">", variance, nothing), variance, nothing)
        kind = ir.FunctionType(_F64, [_F64])
        root = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f64")
        after = builder.fmul(builder.call(root, [variance]), _same(builder, given[4]))
        change = builder.fsub(after, before)
        change = builder.select(builder.fcmp_ordered("<", change, nothing), builder.fneg(change), change)
        allowed = builder.fmul(_same(builder, given[5]), before)
        moved = builder.and_(builder.fcmp_ordered(">", change, allowed), chosen)
        limit = builder.fptrunc(builder.fmul(after, _all(_F64, 1.5)), _F32)
        keep(6, after, before, 8)
        keep(7, builder.fneg(limit), row(7, 4), 4)
        keep(8, limit, row(8, 4), 4)
        return builder.zext(builder.bitcast(moved, ir.IntType(LANES)), _I64)

    f64, i64 = types.float64, types.int64
    return i64(sums, squares, n, i64, f64, f64, spread, low, high), code


@intrinsic
def outlier_bits(typing: Any, rows: Any, row: Any, centre: Any, below: Any, above: Any) -> Any:
    """A bit for each pixel, lowest first: 1 if its finite value in a row is farther from the centre than allowed."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        value = _load(builder, _address(context, builder, signature.args[0], given[0], given[1]))
        middle, down, up = (_load(builder, _address(context, builder, signature.args[k], given[k])) for k in (2, 3, 4))
        away = builder.fsub(builder.fpext(value, _F64), middle)
        is_far = builder.or_(
            builder.fcmp_ordered(">", away, up),
            builder.fcmp_ordered(">", builder.fsub(_all(_F64, -0.0), away), down),
        )
        is_far = builder.and_(is_far, _is_present(builder, value))
        return builder.zext(builder.bitcast(is_far, ir.IntType(LANES)), _I64)

    return types.int64(rows, types.int64, centre, below, above), code


@intrinsic
def weighted_sums(
    typing: Any, rows: Any, weights: Any, sigma: Any, count: Any, total: Any, weight: Any, variance: Any
) -> Any:
    """Sums of ``w * v``, of ``w`` and of ``(w * sigma)**2`` over the finite values of `count` rows; one sigma a row."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        sums = _Sums(builder, 3)
        noise = context.make_array(signature.args[2])(context, builder, given[2]).data
        with cgutils.for_range(builder, given[3]) as loop:
            value, share = (
                _load(builder, _address(context, builder, signature.args[k], given[k], loop.index)) for k in (0, 1)
            )
            counts = _is_present(builder, value)
            share = builder.select(counts, builder.fpext(share, _F64), _all(_F64, 0.0))
            value = builder.select(counts, builder.fpext(value, _F64), _all(_F64, 0.0))
            one = builder.fpext(builder.load(builder.gep(noise, [loop.index])), ir.DoubleType())
            spread = builder.fmul(share, _same(builder, one))
            sums.add_product(0, share, value)
            sums.add(1, share)
            sums.add_product(2, spread, spread)
        sums.store(context, signature.args[4:], given[4:])
        return context.get_dummy_value()

    return types.void(rows, weights, sigma, types.int64, total, weight, variance), code


def _fetch_ahead(builder: Any, address: Any, count: int) -> None:
    """Prefetch the `count` numbers that follow as many at an address.

    The samples of a pixel lie in as many places as there are subs, more than the processor itself looks ahead for.
    """
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    read, keep, data = (ir.Constant(flag, number) for number in (0, 3, 1))
    for line in range(0, count, _LINE):
        place = builder.gep(address, [ir.Constant(_I64, count + line)])
        builder.call(function, [builder.bitcast(place, byte), read, keep, data])


def _make_loader(channels: int) -> Any:
    """The function that loads samples of images with that many interleaved channels."""

    @intrinsic
    def load_scaled(
        typing: Any,
        samples: Any,
        at: Any,
        gain: Any,
        offset: Any,
        weight: Any,
        values: Any,
        shares: Any,
        row: Any,
        counts: Any,
    ) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, given[0]).data
            span = ir.VectorType(ir.FloatType(), (LANES - 1) * channels + 1)
            first = builder.gep(data, [given[1]])
            _fetch_ahead(builder, first, LANES * channels)
            read = _load(builder, builder.bitcast(first, span.as_pointer()))
            value = builder.shuffle_vector(
                read, ir.Constant(span, ir.Undefined), _places(range(0, LANES * channels, channels))
            )
            factor, shift, share = (_same(builder, given[k]) for k in (2, 3, 4))
            value = builder.fadd(builder.fmul(value, factor), shift)
            counted = _is_finite(builder, value)
            value = builder.select(counted, value, _all(_F32, float("inf")))
            share = builder.select(counted, share, _all(_F32, 0.0))
            for k, found in ((5, value), (6, share)):
                place = _address(context, builder, signature.args[k], given[k], given[7])
                builder.store(found, place, align=4)
            total = _address(context, builder, signature.args[8], given[8])
            wide = ir.VectorType(_I64, LANES)
            builder.store(builder.add(builder.load(total, align=8), builder.zext(counted, wide)), total, align=8)
            return context.get_dummy_value()

        f32 = types.float32
        return types.void(samples, types.int64, f32, f32, f32, values, shares, types.int64, counts), code

    return load_scaled


#: For images of one and of three channels: writes ``gain * sample + offset`` of `LANES` neighbours from
#: ``samples[at]`` on to a row of `values` (+inf where it is not finite) and `weight` to a row of `shares` (0
#: there), and adds 1 to `counts` where it is finite.
load_scaled_mono, load_scaled_colour = _make_loader(1), _make_loader(3)


@intrinsic
def lanczos_pixel(
    typing: Any, source: Any, at: Any, stride: Any, table: Any, row_x: Any, t_x: Any, row_y: Any, t_y: Any,
    undershoot: Any, overshoot: Any, calibration: Any, u: Any, v: Any, target: Any, where: Any,
) -> Any:  # fmt: skip
    """Resample and calibrate one pixel of three colours; returns a bit for each colour that is not finite.

    `source` is flat with `STRIDE` numbers a pixel, `at` is the index of the first number of the first tap, `stride`
    the count of numbers of a row. `table` holds `TABLE_WIDTH` weights a phase. `calibration` is float64 (11, 4), see
    `calibration.calibrated`. `target` is flat, with the pixel's three colours from `where` on.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        (
            source, at, stride, table, row_x, t_x, row_y, t_y, under, over, coefficients, u, v, target, where,
        ) = given  # fmt: skip
        f32, f64 = ir.FloatType(), ir.DoubleType()
        four = _Colours(builder)
        pixels = context.make_array(signature.args[0])(context, builder, source).data
        weights = context.make_array(signature.args[3])(context, builder, table).data
        wx, wy = (_phase_weights(builder, weights, row, t) for row, t in ((row_x, t_x), (row_y, t_y)))
        total = low = high = None
        inner_rows = []
        for j in range(TAPS):
            place = builder.gep(pixels, [builder.add(at, builder.mul(stride, ir.Constant(stride.type, j)))])
            row = _load(builder, builder.bitcast(place, ir.VectorType(f32, 4 * TAPS).as_pointer()))
            weight = _shuffled(builder, wy, [j] * (4 * TAPS))
            if j == 0:
                first, first_weight = row, weight
            elif j == 1:
                total = _fma(builder, first, first_weight, builder.fmul(row, weight))
            else:
                total = _fma(builder, row, weight, total)
            if 1 <= j <= INNER_TAPS:
                inner = _shuffled(builder, row, range(4, 4 + 4 * INNER_TAPS))
                inner_rows.append(inner)
                low = inner if low is None else four.smaller(low, inner)
                high = inner if high is None else four.larger(high, inner)
        total = builder.fmul(total, _shuffled(builder, wx, [k // 4 for k in range(4 * TAPS)]))
        value = four.folded(total, TAPS, builder.fadd)
        bad = four.bits_of_not_finite(value)
        least, most = four.folded(low, INNER_TAPS, four.smaller), four.folded(high, INNER_TAPS, four.larger)
        spread = builder.fsub(most, least)
        raised = builder.fsub(four.ends_of_trough(inner_rows), least)
        value = four.larger(value, builder.fsub(least, builder.fmul(four.same(under), raised)))
        value = four.smaller(value, builder.fadd(most, builder.fmul(four.same(over), spread)))
        data = context.make_array(signature.args[10])(context, builder, coefficients).data
        value = builder.fptrunc(
            _calibrated(builder, four, data, builder.fpext(value, ir.VectorType(f64, 4)), u, v), ir.VectorType(f32, 4)
        )
        place = builder.gep(context.make_array(signature.args[13])(context, builder, target).data, [where])
        colours = _shuffled(builder, value, range(3))
        builder.store(colours, builder.bitcast(place, ir.VectorType(f32, 3).as_pointer()), align=4)
        return bad

    f32, f64, i64 = types.float32, types.float64, types.int64
    return i64(
        source, i64, i64, table, i64, f32, i64, f32, f32, f32, calibration, f64, f64, target, i64
    ), code  # fmt: skip


@intrinsic
def lanczos_mono(
    typing: Any, source: Any, at: Any, stride: Any, table: Any, row_x: Any, t_x: Any, row_y: Any, t_y: Any,
    undershoot: Any, overshoot: Any,
) -> Any:  # fmt: skip
    """Resample one pixel of one channel; NaN or infinite if a tap is.

    `source` is flat, `at` is the index of the first tap and `stride` the count of pixels of a row. Eight pixels of each
    of six rows are read: the caller sees to it that the array holds them. `table` holds `TABLE_WIDTH` weights a phase.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, at, stride, table, row_x, t_x, row_y, t_y, under, over = given
        pixels = context.make_array(signature.args[0])(context, builder, source).data
        weights = context.make_array(signature.args[3])(context, builder, table).data
        wx, wy = (_phase_weights(builder, weights, row, t) for row, t in ((row_x, t_x), (row_y, t_y)))
        eight = ir.VectorType(ir.FloatType(), TABLE_WIDTH)
        rows = []
        for j in range(TAPS):
            place = builder.gep(pixels, [builder.add(at, builder.mul(stride, ir.Constant(stride.type, j)))])
            rows.append(_load(builder, builder.bitcast(place, eight.as_pointer())))
        shares = [_shuffled(builder, wy, [j] * TABLE_WIDTH) for j in range(TAPS)]
        total = _fma(builder, rows[0], shares[0], builder.fmul(rows[1], shares[1]))
        for row, share in zip(rows[2:], shares[2:], strict=True):
            total = _fma(builder, row, share, total)
        total = builder.fmul(total, wx)
        pairs = builder.fadd(_shuffled(builder, total, (0, 2, 4)), _shuffled(builder, total, (1, 3, 5)))
        value = builder.fadd(
            builder.fadd(_number(builder, pairs, 0), _number(builder, pairs, 1)), _number(builder, pairs, 2)
        )
        inner = rows[1 : 1 + INNER_TAPS]
        least, most = (
            _folded(builder, functools.reduce(partial(joined, builder), inner), joined)
            for joined in (_smaller, _larger)
        )
        middle = _larger(builder, rows[2], rows[3])
        across = _smaller(builder, _number(builder, middle, 1), _number(builder, middle, INNER_TAPS))
        top, bottom = (
            _larger(builder, _number(builder, row, 2), _number(builder, row, 3)) for row in (rows[1], rows[INNER_TAPS])
        )
        raised = builder.fsub(_larger(builder, across, _smaller(builder, top, bottom)), least)
        limited = _larger(builder, value, builder.fsub(least, builder.fmul(under, raised)))
        limited = _smaller(builder, limited, builder.fadd(most, builder.fmul(over, builder.fsub(most, least))))
        # The limits would make a number of what is none.
        below = builder.fcmp_ordered("<", value, ir.Constant(value.type, float("inf")))
        above = builder.fcmp_ordered(">", value, ir.Constant(value.type, float("-inf")))
        return builder.select(builder.and_(below, above), limited, value)

    f32, i64 = types.float32, types.int64
    return f32(source, i64, i64, table, i64, f32, i64, f32, f32, f32), code


@intrinsic
def lanczos_pixel_of_valid(
    typing: Any, source: Any, at: Any, stride: Any, table: Any, row_x: Any, t_x: Any, row_y: Any, t_y: Any,
    least_weight: Any, nearest: Any, wanted: Any, calibration: Any, u: Any, v: Any, target: Any, where: Any,
) -> Any:  # fmt: skip
    """Resample the colours whose bit is set in `wanted` from those of their taps that are finite, and calibrate them.

    Their weights are renormalised, and the value is limited to their range. It is NaN where the weights add up to less
    than `least_weight`, or where the value at `nearest` is not finite, which is the index of the first number of the
    pixel that is the nearest.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        (
            source, at, stride, table, row_x, t_x, row_y, t_y, least_weight, nearest, wanted, coefficients, u, v,
            target, where,
        ) = given  # fmt: skip
        f32, f64 = ir.FloatType(), ir.DoubleType()
        four, taps = _Colours(builder), ir.VectorType(f32, 4 * TAPS)
        pixels = context.make_array(signature.args[0])(context, builder, source).data
        weights = context.make_array(signature.args[3])(context, builder, table).data
        wx, wy = (_phase_weights(builder, weights, row, t) for row, t in ((row_x, t_x), (row_y, t_y)))
        along = _shuffled(builder, wx, [k // 4 for k in range(4 * TAPS)])
        nothing = ir.Constant(taps, [0.0] * (4 * TAPS))
        total, weight = nothing, nothing
        low, high = (ir.Constant(taps, [end] * (4 * TAPS)) for end in (float("inf"), float("-inf")))
        for j in range(TAPS):
            place = builder.gep(pixels, [builder.add(at, builder.mul(stride, ir.Constant(stride.type, j)))])
            row = _load(builder, builder.bitcast(place, taps.as_pointer()))
            counts = _is_finite(builder, row)
            share = builder.fmul(_shuffled(builder, wy, [j] * (4 * TAPS)), along)
            share = builder.select(counts, share, nothing)
            weight = builder.fadd(weight, share)
            total = _fma(builder, share, builder.select(counts, row, nothing), total)
            low = builder.select(builder.and_(counts, builder.fcmp_ordered("<", row, low)), row, low)
            high = builder.select(builder.and_(counts, builder.fcmp_ordered(">", row, high)), row, high)
        weight = four.folded(weight, TAPS, builder.fadd)
        value = builder.fdiv(four.folded(total, TAPS, builder.fadd), weight)
        value = four.smaller(value, four.folded(high, TAPS, four.larger))
        value = four.larger(value, four.folded(low, TAPS, four.smaller))
        middle = builder.bitcast(builder.gep(pixels, [nearest]), ir.VectorType(f32, 4).as_pointer())
        enough = builder.fcmp_ordered(">=", weight, four.same(least_weight))
        enough = builder.and_(enough, _is_finite(builder, _load(builder, middle)))
        value = builder.select(enough, value, ir.Constant(ir.VectorType(f32, 4), [float("nan")] * 4))
        data = context.make_array(signature.args[11])(context, builder, coefficients).data
        value = builder.fptrunc(
            _calibrated(builder, four, data, builder.fpext(value, ir.VectorType(f64, 4)), u, v), ir.VectorType(f32, 4)
        )
        place = builder.gep(context.make_array(signature.args[14])(context, builder, target).data, [where])
        place = builder.bitcast(place, ir.VectorType(f32, 3).as_pointer())
        chosen = builder.bitcast(builder.trunc(wanted, ir.IntType(3)), ir.VectorType(ir.IntType(1), 3))
        colours = builder.select(chosen, _shuffled(builder, value, range(3)), _load(builder, place))
        builder.store(colours, place, align=4)
        return context.get_dummy_value()

    f32, f64, i64 = types.float32, types.float64, types.int64
    return types.void(
        source, i64, i64, table, i64, f32, i64, f32, f32, i64, i64, calibration, f64, f64, target, i64
    ), code  # fmt: skip


def _shuffled(builder: Any, vector: Any, places: Any) -> Any:
    places = list(places)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _number(builder: Any, vector: Any, place: int) -> Any:
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), place))


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _folded(builder: Any, row: Any, joined: Any) -> Any:
    """Combine the inner taps of a row, pairwise."""
    pairs = joined(builder, _shuffled(builder, row, (1, 3)), _shuffled(builder, row, (2, 4)))
    return joined(builder, _number(builder, pairs, 0), _number(builder, pairs, 1))


def _phase_weights(builder: Any, table: Any, row: Any, t: Any) -> Any:
    """Weights of eight taps between two rows of the table."""
    eight = ir.VectorType(ir.FloatType(), TABLE_WIDTH)
    place = builder.gep(table, [builder.mul(row, ir.Constant(row.type, TABLE_WIDTH))])
    here = _load(builder, builder.bitcast(place, eight.as_pointer()))
    place = builder.gep(place, [ir.Constant(row.type, TABLE_WIDTH)])
    there = _load(builder, builder.bitcast(place, eight.as_pointer()))
    one = builder.insert_element(ir.Constant(eight, ir.Undefined), t, ir.Constant(ir.IntType(32), 0))
    return _fma(builder, _shuffled(builder, one, [0] * TABLE_WIDTH), builder.fsub(there, here), here)


def _calibrated(builder: Any, four: _Colours, table: Any, value: Any, u: Any, v: Any) -> Any:
    """The same as `calibration.calibrated`, operation by operation, on the colours of a pixel."""
    kind = ir.VectorType(ir.DoubleType(), 4)

    def column(number: int) -> Any:
        place = builder.gep(table, [ir.Constant(_I64, 4 * number)])
        return _load(builder, builder.bitcast(place, kind.as_pointer()))

    def plus(total: Any, number: int, factor: Any) -> Any:
        return _fma(builder, column(number), four.same(factor), total)

    uu, uv, vv = builder.fmul(u, u), builder.fmul(u, v), builder.fmul(v, v)
    r2 = builder.fadd(uu, vv)
    light = ir.Constant(kind, [1.0] * 4)
    for number, factor in ((5, u), (6, v), (7, uu), (8, uv), (9, vv), (10, builder.fmul(r2, r2))):
        light = plus(light, number, factor)
    background = plus(plus(column(2), 3, u), 4, v)
    return _fma(builder, builder.fsub(value, column(1)), builder.fdiv(column(0), light), background)


class _Colours:
    """Operations on the four numbers of a pixel."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def same(self, value: Any) -> Any:
        kind = ir.VectorType(value.type, 4)
        one = self._builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        return _shuffled(self._builder, one, [0] * 4)

    def smaller(self, a: Any, b: Any) -> Any:
        return _smaller(self._builder, a, b)

    def larger(self, a: Any, b: Any) -> Any:
        return _larger(self._builder, a, b)

    def ends_of_trough(self, rows: Any) -> Any:
        """Height to which the inner taps rise at both ends of their middle rows or columns."""

        def pixel(row: Any, number: int) -> Any:
            return _shuffled(self._builder, row, range(4 * number, 4 * number + 4))

        middle, last = self.larger(rows[1], rows[2]), INNER_TAPS - 1
        across = self.smaller(pixel(middle, 0), pixel(middle, last))
        top, bottom = (self.larger(pixel(row, 1), pixel(row, 2)) for row in (rows[0], rows[last]))
        return self.larger(across, self.smaller(top, bottom))

    def bits_of_not_finite(self, value: Any) -> Any:
        """A bit for each of the first three numbers, lowest first: 1 if it is NaN or infinite."""
        kind = ir.VectorType(ir.IntType(32), 4)
        exponent = ir.Constant(kind, [0x7F800000] * 4)
        found = self._builder.and_(self._builder.bitcast(value, kind), exponent)
        marks = self._builder.select(
            self._builder.icmp_unsigned("==", found, exponent),
            ir.Constant(kind, [1, 2, 4, 0]),
            ir.Constant(kind, [0, 0, 0, 0]),
        )
        one, two, four = (
            self._builder.extract_element(marks, ir.Constant(ir.IntType(32), place)) for place in range(3)
        )
        return self._builder.zext(self._builder.or_(self._builder.or_(one, two), four), _I64)

    def folded(self, vector: Any, pixels: int, joined: Any) -> Any:
        """Combine the numbers of several pixels, pairwise, into those of one."""
        parts = [_shuffled(self._builder, vector, range(4 * k, 4 * k + 4)) for k in range(pixels)]
        while len(parts) > 1:
            pairs = [joined(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[2 * len(pairs) :]
        return parts[0]


def host_has_fma() -> bool:
    """True if the processor has an instruction for a fused multiply-add; without it each would be a slow call."""
    if platform.machine().lower() not in ("x86_64", "amd64", "x86", "i386", "i686"):
        return True
    other = numba.config.CPU_NAME  # type: ignore[attr-defined]  # compiled for another processor than this one
    return not other and bool(binding.get_host_cpu_features().get("fma", False))


@jit
def trial(
    rows: Any, sums: Any, image: Any, table: Any, calibration: Any, target: Any, bits: Any, counts: Any, wide: Any,
    away: Any, sorted_rows: Any,
) -> None:  # fmt: skip
    """Use every function of this module once; see `simd_choice`."""
    a, b = image[0], image[1]
    load_scaled_mono(image, 3, a, b, a, rows, rows, 7, counts)
    load_scaled_colour(image, 5, a, b, b, rows, rows, 8, counts)
    compare_exchange(rows, 0, 1)
    sort_eight(rows, 1, sorted_rows, 0, 1)
    merge_eight(rows, 1, sorted_rows, 8, 1)
    merge_four(rows, 1, sorted_rows, 16, 2)
    bits[0] = outlier_bits(rows, 3, sums[0], sums[8], sums[9])
    distances(rows, 7, sums[2], away)
    clipped_moments(away, 7, away[7], away[8], sums[3], sums[4])
    for k in range(LANES):
        wide[k] = sums[4, k]
    bits[2] = huber_step(sums[3], sums[4], counts, 21845, 1.134, 0.4, sums[1], away[7], away[8])
    weighted_sums(rows, rows, image, 6, sums[5], sums[6], sums[7])
    bits[1] = lanczos_pixel(
        image, 4, 10 * STRIDE, table, 0, table[0, 0], 1, table[0, 1], table[0, 2], table[0, 3], calibration, 0.3, -0.2,
        target, 1,
    )  # fmt: skip
    wide[2 * LANES] = lanczos_mono(image, 3, 17, table, 0, table[0, 0], 1, table[0, 1], table[0, 2], table[0, 3])
    image[4 + 4 * STRIDE] = np.nan
    image[5 + 10 * STRIDE] = -np.inf
    lanczos_pixel_of_valid(
        image, 4, 10 * STRIDE, table, 0, table[0, 0], 1, table[0, 1], table[0, 2], 24 * STRIDE, 5, calibration, 0.3,
        -0.2, target, 4,
    )  # fmt: skip
    for k in range(8):
        target[8 + k] = fma(image[k], image[k + 1], image[k + 2])
        target[16 + k] = fma(image[k], image[k + 1], -image[k] * image[k + 1])
        wide[LANES + k] = fma64(calibration[k, 0], calibration[k, 1], calibration[k, 2])
