"""Interpolation with any resampling kernel: the fast twin of `reference.resample`.

The code is serial and releases the interpreter's lock. Callers spread rows, boxes or subs over Python threads;
Numba's own parallel layer must not be entered from several threads at once. No loop over pixels allocates memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import calibrated, sensor_frame
from .compiled import jit as _jit
from .compiled import jit_borrowing as _jit_borrowing
from .compiled import jit_inline as _jit_inline
from .fused import fma
from .lanczos import resample_mono
from .reference import interpolating as reference
from .simd import TABLE_WIDTH, TAPS

# Typed, so that arithmetic on pixels stays in 32 bits.
_UNDERSHOOT, _OVERSHOOT = np.float32(reference.UNDERSHOOT), np.float32(reference.OVERSHOOT)
_HALF_WEIGHT = np.float32(reference.HALF_WEIGHT)

# Finite is written ``abs(x) < _INFINITY``, which vectorises; NaN fails it.
_INFINITY = np.float32(np.inf)


# ---------------------------------------------------------------------------- resampling


@_jit_inline
def _phase_weights(table: Any, fraction: float, taps: int, weights: Any) -> None:
    """Weights of the taps at `fraction` of a pixel, between two rows of the table."""
    phases = table.shape[0] - 1
    position = fraction * phases
    row = min(int(position), phases - 1)
    t = np.float32(position - row)
    for k in range(taps):
        weights[k] = fma(t, table[row + 1, k] - table[row, k], table[row, k])


@_jit_inline
def _column_sums(window: Any, wy: Any, taps: int, entries: int, sums: Any) -> None:
    """Sum the rows of taps with their weights, for each column of taps and each channel."""
    for e in range(entries):
        total = np.float32(0.0)
        for j in range(taps):
            total = fma(wy[j], window[j, e], total)
        sums[e] = total


@_jit_inline
def _column_ranges(window: Any, y0: int, begin: int, rows: int, entries: int, low: Any, high: Any) -> None:
    """Find the smallest and the largest value of each column of taps and each channel over `rows` rows."""
    for e in range(entries):
        value = window[y0, begin + e]
        least = value
        most = value
        for j in range(1, rows):
            value = window[y0 + j, begin + e]
            least = value if value < least else least
            most = value if value > most else most
        low[e] = least
        high[e] = most


@_jit_inline
def _within(value: float, least: float, most: float, ends: float) -> Any:
    """`value`, limited to the range of the inner taps and margins."""
    return min(max(value, fma(-_UNDERSHOOT, ends - least, least)), fma(_OVERSHOOT, most - least, most))


@_jit_inline
def _ends_of_trough(source: Any, y0: int, x0: int, c: int, inner_taps: int) -> Any:
    """Height to which the inner taps from (y0, x0) on rise at both ends of their middle rows or columns."""
    y, x, last = y0 + inner_taps // 2 - 1, x0 + inner_taps // 2 - 1, inner_taps - 1
    left, right = max(source[y, x0, c], source[y + 1, x0, c]), max(source[y, x0 + last, c], source[y + 1, x0 + last, c])
    top, bottom = max(source[y0, x, c], source[y0, x + 1, c]), max(source[y0 + last, x, c], source[y0 + last, x + 1, c])
    return max(min(left, right), min(top, bottom))


@_jit_borrowing
def _sum_valid_taps(source: Any, y0: int, x0: int, c: int, wy: Any, wx: Any, skip: int) -> Any:
    """Sum of the taps that are inside and finite, renormalised and limited to their range."""
    taps = wy.shape[0]
    total, weight, valid = np.float32(0.0), np.float32(0.0), 0
    low, high = np.float32(np.inf), np.float32(-np.inf)
    inner_low, inner_high = np.float32(np.inf), np.float32(-np.inf)
    for j in range(max(0, -y0), min(taps, source.shape[0] - y0)):
        for i in range(max(0, -x0), min(taps, source.shape[1] - x0)):
            value = source[y0 + j, x0 + i, c]
            if not abs(value) < _INFINITY:
                continue
            valid += 1
            weight += wy[j] * wx[i]
            total += wy[j] * wx[i] * value
            low, high = min(low, value), max(high, value)
            if skip <= j < taps - skip and skip <= i < taps - skip:
                inner_low, inner_high = min(inner_low, value), max(inner_high, value)
    if valid == taps * taps:
        ends = _ends_of_trough(source, y0 + skip, x0 + skip, c, taps - 2 * skip)
        return _within(total, inner_low, inner_high, ends)
    # At half a pixel beyond the border half of the weight remains, but for rounding.
    if weight < _HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / weight, low), high)


@_jit_borrowing
def _places_of_row(nodes: Any, step: int, row: int, first_column: int, along: Any) -> None:
    """Fill in the places on the source, (x, y), of the pixels of a row, by bilinear interpolation between the nodes."""
    j, columns, q = row // step, along.shape[1], 0
    v = (row - j * step) / step
    while q < columns:
        i = (first_column + q) // step
        end = min(columns, (i + 1) * step - first_column)
        for k in range(2):
            above_left, above_right = nodes[j, i, k], nodes[j, i + 1, k]
            below_left, below_right = nodes[j + 1, i, k], nodes[j + 1, i + 1, k]
            for p in range(q, end):
                u = (first_column + p - i * step) / step
                above = (1.0 - u) * above_left + u * above_right
                below = (1.0 - u) * below_left + u * below_right
                along[k, p] = (1.0 - v) * above + v * below
        q = end


@_jit_inline
def _calibrate(flat: Any, where: int, x: float, y: float, sensor: Any, calibration: Any) -> None:
    """Calibrate the channels of one resampled pixel that lies at (x, y) on the sub."""
    middle_x, middle_y, per_half = sensor
    u, v = (x - middle_x) * per_half, (y - middle_y) * per_half
    for c in range(calibration.shape[0]):
        flat[where + c] = calibrated(np.float64(flat[where + c]), u, v, calibration[c])


@_jit_inline
def _resample_row(
    source: Any,
    along: Any,
    table: Any,
    out: Any,
    calibration: Any,
    origin: Any,
    shape: Any,
    sensor: Any,
    buffers: Any,
    taps: int,
    channels: int,
    inner_taps: int,
) -> None:
    """Fill a row of pixels; constants for taps and channels make its loops straight vector code."""
    height, width = shape
    flat, target = source.reshape(source.shape[0], source.shape[1] * channels), out.reshape(out.size)
    # Vector registers hold 8 floats: whole ones are read, what is beyond the taps is not used.
    entries = (taps * channels + 7) // 8 * 8
    bounds = (inner_taps * channels + 7) // 8 * 8
    skip = taps // 2 - inner_taps // 2
    wx, wy, sums, low, high = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    for q in range(out.shape[0]):
        x, y, where = along[0, q], along[1, q], q * channels
        # NaN fails these comparisons too.
        if not (x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5):
            for c in range(channels):
                target[where + c] = np.nan
            continue
        left, top = int(np.floor(x)), int(np.floor(y))
        _phase_weights(table, x - left, taps, wx)
        _phase_weights(table, y - top, taps, wy)
        x0, y0 = left - taps // 2 + 1, top - taps // 2 + 1
        # Decided on the whole source, so that any part of it gives the same result.
        whole = x0 >= 0 and y0 >= 0 and x0 * channels + entries + 8 <= width * channels and y0 + taps <= height
        x0, y0 = x0 - origin[1], y0 - origin[0]
        begin = x0 * channels
        if whole:
            window = flat[y0 : y0 + taps, begin : begin + entries + 8]
            _column_sums(window, wy, taps, entries, sums)
            _column_ranges(window, skip, skip * channels, inner_taps, bounds, low, high)
        near_x, near_y = int(np.floor(x + 0.5)) - origin[1], int(np.floor(y + 0.5)) - origin[0]
        for c in range(channels):
            if not abs(source[near_y, near_x, c]) < _INFINITY:
                target[where + c] = np.nan
                continue
            value = np.float32(np.nan)
            if whole:
                value = np.float32(0.0)
                for k in range(taps):
                    value = fma(wx[k], sums[k * channels + c], value)
            # A NaN among the taps makes the sum NaN; only then are the taps tested one by one.
            if not abs(value) < _INFINITY:
                target[where + c] = _sum_valid_taps(source, y0, x0, c, wy[:taps], wx[:taps], skip)
                continue
            least, most = low[c], high[c]
            for k in range(1, inner_taps):
                least = min(least, low[k * channels + c])
                most = max(most, high[k * channels + c])
            ends = _ends_of_trough(source, y0 + skip, x0 + skip, c, inner_taps)
            target[where + c] = _within(value, least, most, ends)
        _calibrate(target, where, x, y, sensor, calibration)


def _make_resampler(fixed_taps: int, fixed_channels: int) -> Any:
    """Compile the resampler for a number of taps and channels; 0 leaves them to the call.

    With known numbers the loops over the taps become straight vector code, three times as fast.
    """

    @_jit
    def resample(
        source: Any,
        nodes: Any,
        step: int,
        first_row: int,
        first_column: int,
        table: Any,
        inner: int,
        out: Any,
        calibration: Any,
        origin: Any,
        shape: Any,
    ) -> None:
        along, buffers = (
            np.empty((2, out.shape[1])),
            np.empty((5, (table.shape[1] * source.shape[2] + 15) // 8 * 8), np.float32),
        )
        sensor = sensor_frame(shape[0], shape[1])
        channels = fixed_channels if fixed_channels else source.shape[2]
        taps = fixed_taps if fixed_taps else table.shape[1]
        inner_taps = 4 if fixed_taps else 2 * inner
        for r in range(out.shape[0]):
            _places_of_row(nodes, step, first_row + r, first_column, along)
            _resample_row(
                source, along, table, out[r], calibration, origin, shape, sensor, buffers, taps, channels, inner_taps
            )

    return resample


_resamplers = {taps_and_channels: _make_resampler(*taps_and_channels) for taps_and_channels in ((4, 1), (4, 3), (6, 3))}
_resample_any = _make_resampler(0, 0)


@_jit
def _copy_nearest(
    source: Any,
    nodes: Any,
    step: int,
    first_row: int,
    first_column: int,
    out: Any,
    calibration: Any,
    origin: Any,
    shape: Any,
) -> None:
    along, sensor = np.empty((2, out.shape[1])), sensor_frame(shape[0], shape[1])
    for r in range(out.shape[0]):
        _places_of_row(nodes, step, first_row + r, first_column, along)
        _copy_row(source, along, out[r], calibration, origin, shape, sensor)


@_jit_borrowing
def _copy_row(source: Any, along: Any, out: Any, calibration: Any, origin: Any, shape: Any, sensor: Any) -> None:
    height, width = shape
    channels, target = source.shape[2], out.reshape(out.size)
    for q in range(out.shape[0]):
        x, y, where = along[0, q], along[1, q], q * channels
        if x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5:
            near_x, near_y = int(np.floor(x + 0.5)) - origin[1], int(np.floor(y + 0.5)) - origin[0]
            for c in range(channels):
                target[where + c] = source[near_y, near_x, c]
            _calibrate(target, where, x, y, sensor, calibration)
        else:
            for c in range(channels):
                target[where + c] = np.nan


def resample_box(
    source: Any,
    nodes: Any,
    step: int,
    first_row: int,
    first_column: int,
    table: Any,
    nearest: bool,
    inner: int,
    out: Any,
    calibration: Any,
    *,
    origin: tuple[int, int] = (0, 0),
    shape: tuple[int, int] | None = None,
) -> None:
    """Fill `out` with the values of `source` at the places to which the pixel map sends its pixels.

    Parameters
    ----------
    source : float32 (H, W, C), C-contiguous
        NaN = invalid.
    nodes : float64 (rows, columns, 2)
        Source (x, y) at the nodes of the map.
    step, first_row, first_column : int
        Distance of the nodes, and row and column of ``out[0, 0]`` counted from the first node.
    table : float32 (phases + 1, taps)
        Weights of the taps, from `warp.kernel_table`.
    nearest : bool
        Copy the nearest pixel instead.
    inner : int
        Taps a side whose range bounds the value.
    out : float32 (h, w, C), C-contiguous
        Written whole; NaN outside of the source. See `warp.resample` for the rules.
    calibration : float64 (C, 11)
        ``SubCalibration.coefficients``, applied to every value; (0, 11) leaves them as they are.
    origin, shape : tuple of int, optional
        Row and column of ``source[0, 0]``, and height and width, of the whole of which `source` is a part; it holds
        what `warp.kernel_reach` asks for.
    """
    shape = source.shape[:2] if shape is None else shape
    whole = (int(origin[0]), int(origin[1])), (int(shape[0]), int(shape[1]))
    if nearest:
        _copy_nearest(source, nodes, step, first_row, first_column, out, calibration, *whole)
        return
    if (table.shape[1], source.shape[2], inner) == (TAPS, 1, 2):
        padded = np.pad(table, ((0, 0), (0, TABLE_WIDTH - TAPS)))
        resample_mono(source, whole[0], whole[1], nodes, step, first_row, first_column, padded, calibration, out)
        return
    kernel = _resamplers.get((table.shape[1], source.shape[2]), _resample_any)
    if inner != 2:
        kernel = _resample_any
    kernel(source, nodes, step, first_row, first_column, table, inner, out, calibration, *whole)
