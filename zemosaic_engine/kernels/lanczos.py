"""Images resampled by Lanczos-3 and calibrated in one pass: a fast twin of `reference.resample`.

Pixels of colour subs have four numbers, three colours and one that is not used, so that the colours of a pixel fill a
vector register; of one channel, eight neighbours do. The code is serial and releases the interpreter's lock. The value
of a pixel does not depend on the part of the source or of the target that a call works on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import calibrated, sensor_frame
from .compiled import jit, jit_borrowing, jit_inline
from .fused import fma
from .reference import interpolating as reference
from .simd import STRIDE, TABLE_WIDTH, TAPS, lanczos_mono, lanczos_pixel, lanczos_pixel_of_valid

# Typed, so that arithmetic on pixels stays in 32 bits.
_UNDERSHOOT, _OVERSHOOT = np.float32(reference.UNDERSHOOT), np.float32(reference.OVERSHOOT)
_HALF_WEIGHT = np.float32(reference.HALF_WEIGHT)
_INFINITY = np.float32(np.inf)
_COLOURS = 3


@jit_inline
def _between(table: Any, row: int, t: Any, k: int) -> Any:
    return fma(t, table[row + 1, k] - table[row, k], table[row, k])


@jit_inline
def _phase_of(place: float, phases: int) -> Any:
    """The pixel at or before a place, the row of the table for the rest of the way, and how far off the next row is."""
    pixel = int(np.floor(place))
    phase = (place - pixel) * phases
    row = min(int(phase), phases - 1)
    return pixel, row, np.float32(phase - row)


@jit_borrowing
def _over_valid(source: Any, top: int, left: int, c: int, table: Any, at_y: Any, at_x: Any) -> Any:
    """Sum of the taps that are inside and finite, renormalised and limited to their range, where some are outside."""
    total, weight = np.float32(0.0), np.float32(0.0)
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for j in range(max(0, -top), min(TAPS, source.shape[0] - top)):
        for i in range(max(0, -left), min(TAPS, source.shape[1] - left)):
            value = source[top + j, left + i, c]
            if not abs(value) < _INFINITY:
                continue
            share = _between(table, at_y[0], at_y[1], j) * _between(table, at_x[0], at_x[1], i)
            weight += share
            total += share * value
            low, high = min(low, value), max(high, value)
    # At half a pixel beyond the border half of the weight remains, but for rounding.
    if weight < _HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / weight, low), high)


@jit_borrowing
def _places_of_row(nodes: Any, step: int, row: int, first_column: int, along: Any) -> None:
    """Fill in the places on the sub of the pixels of a row, linear between the nodes."""
    j, columns, q = row // step, along.shape[1], 0
    v = (row - j * step) / step
    while q < columns:
        i = (first_column + q) // step
        end = min(columns, (i + 1) * step - first_column)
        for k in range(2):
            left = (1.0 - v) * nodes[j, i, k] + v * nodes[j + 1, i, k]
            right = (1.0 - v) * nodes[j, i + 1, k] + v * nodes[j + 1, i + 1, k]
            for p in range(q, end):
                u = (first_column + p - i * step) / step
                along[k, p] = (1.0 - u) * left + u * right
        q = end


@jit_borrowing
def _resample_row(
    source: Any, origin: Any, shape: Any, along: Any, table: Any, sensor: Any, calibration: Any, out: Any
) -> int:
    """Fill a row of pixels and count those that got a value of any colour."""
    height, width = shape
    middle_x, middle_y, per_half = sensor
    phases, stride, found = table.shape[0] - 1, source.shape[1] * source.shape[2], 0
    flat, target = source.reshape(source.size), out.reshape(out.size)
    for q in range(out.shape[0]):
        x, y, where = along[0, q], along[1, q], q * _COLOURS
        # NaN fails these comparisons too.
        if not (x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5):
            for c in range(_COLOURS):
                target[where + c] = np.nan
            continue
        left, row_x, t_x = _phase_of(x, phases)
        top, row_y, t_y = _phase_of(y, phases)
        u, v = (x - middle_x) * per_half, (y - middle_y) * per_half
        x0, y0 = left - 2 - origin[1], top - 2 - origin[0]
        near_x, near_y = int(np.floor(x + 0.5)) - origin[1], int(np.floor(y + 0.5)) - origin[0]
        if x0 >= 0 and y0 >= 0 and x0 + TAPS <= source.shape[1] and y0 + TAPS <= source.shape[0]:
            bad = lanczos_pixel(
                flat, y0 * stride + x0 * STRIDE, stride, table, row_x, t_x, row_y, t_y, _UNDERSHOOT, _OVERSHOOT,
                calibration, u, v, target, where,
            )  # fmt: skip
            if bad != 0:
                lanczos_pixel_of_valid(
                    flat, y0 * stride + x0 * STRIDE, stride, table, row_x, t_x, row_y, t_y, _HALF_WEIGHT,
                    near_y * stride + near_x * STRIDE, bad, calibration, u, v, target, where,
                )  # fmt: skip
        else:
            for c in range(_COLOURS):
                value = np.float32(np.nan)
                if abs(source[near_y, near_x, c]) < _INFINITY:
                    value = _over_valid(source, y0, x0, c, table, (row_y, t_y), (row_x, t_x))
                target[where + c] = calibrated(np.float64(value), u, v, calibration[:, c])
        is_there = False
        for c in range(_COLOURS):
            is_there = is_there or abs(target[where + c]) < _INFINITY
        found += is_there
    return found


@jit
def resample_part(
    source: Any,
    origin: Any,
    shape: Any,
    nodes: Any,
    step: int,
    first_row: int,
    first_column: int,
    table: Any,
    calibration: Any,
    out: Any,
) -> int:
    """Fill a box of the canvas from a part of a sub, and count the pixels that got a value of any colour.

    Parameters
    ----------
    source : float32 (h, w, 4), C-contiguous
        Part of the sub that holds every pixel of it within three of where the box looks; NaN = invalid.
    origin : tuple of int
        Row and column of ``source[0, 0]`` on the sub.
    shape : tuple of int
        ``(height, width)`` of the whole sub.
    nodes : float64 (rows, columns, 2)
        Place (x, y) on the sub at the nodes of the map.
    step, first_row, first_column : int
        Distance of the nodes, and row and column of ``out[0, 0]`` counted from the first node.
    table : float32 (phases + 1, 8)
        Weights of the six taps for every phase of a pixel; the last two are 0.
    calibration : float64 (11, 4)
        ``SubCalibration.coefficients``, one column a colour.
    out : float32 (h, w, 3), C-contiguous
        Written whole; NaN where there is nothing. See `warp.resample` for the rules.
    """
    sensor = sensor_frame(shape[0], shape[1])
    along, found = np.empty((2, out.shape[1])), 0
    for r in range(out.shape[0]):
        _places_of_row(nodes, step, first_row + r, first_column, along)
        found += _resample_row(source, origin, shape, along, table, sensor, calibration, out[r])
    return found


@jit_borrowing
def _resample_mono_row(
    source: Any, origin: Any, shape: Any, along: Any, table: Any, sensor: Any, calibration: Any, corner: Any, out: Any
) -> None:
    height, width = shape
    middle_x, middle_y, per_half = sensor
    phases, stride = table.shape[0] - 1, source.shape[1]
    flat, target = source.reshape(source.size), out.reshape(out.size)
    for q in range(out.shape[0]):
        x, y = along[0, q], along[1, q]
        target[q] = np.nan
        # NaN fails these comparisons too.
        if not (x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5):
            continue
        near_x, near_y = int(np.floor(x + 0.5)) - origin[1], int(np.floor(y + 0.5)) - origin[0]
        if not abs(flat[near_y * stride + near_x]) < _INFINITY:
            continue
        left, row_x, t_x = _phase_of(x, phases)
        top, row_y, t_y = _phase_of(y, phases)
        x0, y0 = left - 2 - origin[1], top - 2 - origin[0]
        value, at = np.float32(np.nan), y0 * stride + x0
        # A part holds all taps that the whole has, so that this is the same for both.
        if x0 >= 0 and y0 >= 0 and x0 + TAPS <= stride and y0 + TAPS <= source.shape[0]:
            if at + (TAPS - 1) * stride + TABLE_WIDTH <= flat.size:
                value = lanczos_mono(flat, at, stride, table, row_x, t_x, row_y, t_y, _UNDERSHOOT, _OVERSHOOT)
            else:  # it would read beyond the end of the array
                for j in range(TAPS):
                    for i in range(TAPS):
                        corner[j * TABLE_WIDTH + i] = flat[at + j * stride + i]
                value = lanczos_mono(corner, 0, TABLE_WIDTH, table, row_x, t_x, row_y, t_y, _UNDERSHOOT, _OVERSHOOT)
        if not abs(value) < _INFINITY:
            value = _over_valid(source, y0, x0, 0, table, (row_y, t_y), (row_x, t_x))
        if calibration.shape[0]:
            u, v = (x - middle_x) * per_half, (y - middle_y) * per_half
            value = calibrated(np.float64(value), u, v, calibration[0])
        target[q] = value


@jit
def resample_mono(
    source: Any,
    origin: Any,
    shape: Any,
    nodes: Any,
    step: int,
    first_row: int,
    first_column: int,
    table: Any,
    calibration: Any,
    out: Any,
) -> None:
    """Fill a box of the canvas from a part of an image of one channel.

    Parameters
    ----------
    source : float32 (h, w, 1), C-contiguous
    calibration : float64 (1, 11)
        ``SubCalibration.coefficients``; (0, 11) leaves the values as they are.
    out : float32 (h, w, 1), C-contiguous
        Written whole; NaN where there is nothing.
    origin, shape, nodes, step, first_row, first_column, table
        As for `resample_part`.
    """
    sensor = sensor_frame(shape[0], shape[1])
    along, corner = np.empty((2, out.shape[1])), np.zeros(TAPS * TABLE_WIDTH, np.float32)
    for r in range(out.shape[0]):
        _places_of_row(nodes, step, first_row + r, first_column, along)
        _resample_mono_row(source, origin, shape, along, table, sensor, calibration, corner, out[r])
