"""A row of neighbouring pixels at once: the few vector instructions that compiled loops over samples are made of.

The loops of `combining` run over the samples of a pixel, which differ in number and order from pixel
to pixel, so that the compiler finds nothing to put into vector registers. These functions name the
instructions: each works on a row of `LANES` values that lie side by side in memory, one a pixel.
Missing samples are +inf, which sorts behind every other.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

intrinsic: Any = extending.intrinsic

#: Pixels in a row.
LANES = 16

_F32, _F64 = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
_I64 = ir.IntType(64)
_FUSE = ("contract",)  # a product and a sum may be one instruction


def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any = None) -> Any:
    """Address of a row of a C-contiguous array whose last axis has `LANES` values; of the first without `row`."""
    data = context.make_array(kind)(context, builder, array).data
    if row is not None:
        data = builder.gep(data, [builder.mul(row, ir.Constant(row.type, LANES))])
    return builder.bitcast(data, ir.VectorType(data.type.pointee, LANES).as_pointer())


def _load(builder: Any, address: Any) -> Any:
    return builder.load(address, align=4)


def _all(kind: Any, value: float) -> Any:
    """A row of one constant."""
    return ir.Constant(kind, [value] * LANES)


def _places(places: Any) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(places))


def _same(builder: Any, value: Any) -> Any:
    """A row of one variable."""
    nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    row = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(row, nothing, _places([0] * LANES))


def _is_finite(builder: Any, row: Any) -> Any:
    return builder.fcmp_ordered("<", row, _all(_F32, float("inf")))


class _Sums:
    """Rows of sums that stay in registers over a loop."""

    def __init__(self, builder: Any, count: int) -> None:
        self._builder = builder
        self._rows = [cgutils.alloca_once_value(builder, _all(_F64, 0.0)) for _ in range(count)]

    def add(self, number: int, row: Any) -> None:
        self._builder.store(
            self._builder.fadd(self._builder.load(self._rows[number]), row, flags=_FUSE), self._rows[number]
        )

    def store(self, context: Any, kinds: Any, arrays: Any) -> None:
        for row, kind, array in zip(self._rows, kinds, arrays, strict=True):
            address = _address(context, self._builder, kind, array)
            self._builder.store(self._builder.load(row), address, align=8)


@intrinsic
def exchange(typing: Any, rows: Any, first: Any, second: Any) -> Any:
    """Put the smaller of two float32 rows into `first` and the larger into `second`, pixel by pixel."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        low, high = (_address(context, builder, signature.args[0], given[0], row) for row in given[1:])
        one, other = _load(builder, low), _load(builder, high)
        in_order = builder.fcmp_ordered("<", one, other)
        builder.store(builder.select(in_order, one, other), low, align=4)
        builder.store(builder.select(in_order, other, one), high, align=4)
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.int64), code


@intrinsic
def clipped_moments(
    typing: Any, rows: Any, count: Any, low: Any, high: Any, centre: Any, sums: Any, squares: Any
) -> Any:
    """Sums, and sums of squares, of the finite values of `count` rows, pulled in to low..high, from the centre."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        floor, ceiling, middle = (
            _load(builder, _address(context, builder, signature.args[k], given[k])) for k in (2, 3, 4)
        )
        moments = _Sums(builder, 2)
        with cgutils.for_range(builder, given[1]) as loop:
            value = _load(builder, _address(context, builder, signature.args[0], given[0], loop.index))
            away = builder.fpext(value, _F64)
            away = builder.select(builder.fcmp_ordered(">", away, floor), away, floor)
            away = builder.select(builder.fcmp_ordered("<", away, ceiling), away, ceiling)
            away = builder.fsub(away, middle)
            away = builder.select(_is_finite(builder, value), away, _all(_F64, 0.0))
            moments.add(0, away)
            moments.add(1, builder.fmul(away, away, flags=_FUSE))
        moments.store(context, signature.args[5:], given[5:])
        return context.get_dummy_value()

    return types.void(rows, types.int64, low, high, centre, sums, squares), code


@intrinsic
def outliers(typing: Any, rows: Any, row: Any, centre: Any, below: Any, above: Any) -> Any:
    """Bits, lowest first, of the pixels whose finite value in a row is farther than allowed from the centre."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        value = _load(builder, _address(context, builder, signature.args[0], given[0], given[1]))
        middle, down, up = (_load(builder, _address(context, builder, signature.args[k], given[k])) for k in (2, 3, 4))
        away = builder.fsub(builder.fpext(value, _F64), middle)
        is_far = builder.or_(
            builder.fcmp_ordered(">", away, up),
            builder.fcmp_ordered(">", builder.fsub(_all(_F64, -0.0), away), down),
        )
        is_far = builder.and_(is_far, _is_finite(builder, value))
        return builder.zext(builder.bitcast(is_far, ir.IntType(LANES)), _I64)

    return types.int64(rows, types.int64, centre, below, above), code


@intrinsic
def weighted_sums(
    typing: Any, rows: Any, weights: Any, sigma: Any, count: Any, total: Any, weight: Any, variance: Any
) -> Any:
    """Sums of w v, of w and of (w sigma)^2 over the finite values of `count` rows; one sigma a row."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        sums = _Sums(builder, 3)
        noise = context.make_array(signature.args[2])(context, builder, given[2]).data
        with cgutils.for_range(builder, given[3]) as loop:
            value, share = (
                _load(builder, _address(context, builder, signature.args[k], given[k], loop.index)) for k in (0, 1)
            )
            counts = _is_finite(builder, value)
            share = builder.select(counts, builder.fpext(share, _F64), _all(_F64, 0.0))
            value = builder.select(counts, builder.fpext(value, _F64), _all(_F64, 0.0))
            one = builder.fpext(builder.load(builder.gep(noise, [loop.index])), ir.DoubleType())
            spread = builder.fmul(share, _same(builder, one))
            sums.add(0, builder.fmul(share, value, flags=_FUSE))
            sums.add(1, share)
            sums.add(2, builder.fmul(spread, spread, flags=_FUSE))
        sums.store(context, signature.args[4:], given[4:])
        return context.get_dummy_value()

    return types.void(rows, weights, sigma, types.int64, total, weight, variance), code


def _make_collector(channels: int) -> Any:
    """The collector for images with so many interleaved channels."""

    @intrinsic
    def collect(
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
            address = builder.bitcast(builder.gep(data, [given[1]]), span.as_pointer())
            read = _load(builder, address)
            value = builder.shuffle_vector(
                read, ir.Constant(span, ir.Undefined), _places(range(0, LANES * channels, channels))
            )
            factor, shift, share = (_same(builder, given[k]) for k in (2, 3, 4))
            value = builder.fadd(builder.fmul(value, factor), shift)
            # NaN and both infinities fail.
            counted = builder.and_(
                _is_finite(builder, value), builder.fcmp_ordered(">", value, _all(_F32, float("-inf")))
            )
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

    return collect


#: For images of one and of three channels: ``gain * sample + offset`` of `LANES` neighbours from ``samples[at]`` on
#: goes to a row of values (+inf where it is not finite), `weight` to a row of shares (0 there), and the finite
#: ones are counted.
collect_mono, collect_colour = _make_collector(1), _make_collector(3)
