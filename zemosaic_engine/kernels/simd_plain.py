"""The functions of `simd_llvm` in plain Numba: slower, and the same to the last bit.

They are used where `simd_llvm` cannot be; see `simd_choice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import calibrated
from .compiled import jit, jit_inline
from .fused import fma, fma64
from .simd_layout import INNER_TAPS, LANES, MERGE_EIGHT, MERGE_FOUR, SORT_EIGHT, STRIDE, TAPS

_INFINITY = np.float32(np.inf)
_COLOURS = 3


@jit
def compare_exchange(rows: Any, first: int, second: int) -> None:
    """Put the smaller of two float32 rows into `first` and the larger into `second`, pixel by pixel."""
    for lane in range(LANES):
        one, other = rows[first, lane], rows[second, lane]
        in_order = one < other
        rows[first, lane] = one if in_order else other
        rows[second, lane] = other if in_order else one


@jit
def _network(pairs: Any, count: int, source: Any, first: int, rows: Any, into: int, step: int) -> None:
    for k in range(count):
        for lane in range(LANES):
            rows[into + step * k, lane] = source[first + step * k, lane]
    for pair in pairs:
        compare_exchange(rows, into + step * pair[0], into + step * pair[1])


@jit
def sort_eight(source: Any, first: int, rows: Any, into: int, step: int) -> None:
    """Sort eight rows pixel by pixel: every `step`-th from `first` on, written from `into` on."""
    _network(SORT_EIGHT, 8, source, first, rows, into, step)


@jit
def merge_eight(source: Any, first: int, rows: Any, into: int, step: int) -> None:
    """Sort eight rows that are bitonic: a rotation of a sequence that rises and then falls."""
    _network(MERGE_EIGHT, 8, source, first, rows, into, step)


@jit
def merge_four(source: Any, first: int, rows: Any, into: int, step: int) -> None:
    """Sort four rows that are bitonic."""
    _network(MERGE_FOUR, 4, source, first, rows, into, step)


@jit
def distances(rows: Any, count: int, centre: Any, away: Any) -> None:
    """Write the distances from the centre of `count` rows, as float32; 0 where a value is missing."""
    for row in range(count):
        for lane in range(LANES):
            value = rows[row, lane]
            away[row, lane] = np.float32(np.float64(value) - centre[lane]) if value < _INFINITY else np.float32(0.0)


@jit
def clipped_moments(away: Any, count: int, low: Any, high: Any, sums: Any, squares: Any) -> None:
    """Sums, and sums of squares, of `count` rows; values outside of low..high are moved to the nearer of the two."""
    for lane in range(LANES):
        total, square = 0.0, 0.0
        for row in range(count):
            value = away[row, lane]
            value = value if value > low[lane] else low[lane]
            value = np.float64(value if value < high[lane] else high[lane])
            total += value
            square = fma64(value, value, square)
        sums[lane], squares[lane] = total, square


@jit
def huber_step(
    sums: Any, squares: Any, n: Any, going: int, factor: float, near: float, spread: Any, low: Any, high: Any
) -> int:
    """Replace the spread by that of `n` winsorised samples times `factor`, and the limits by 1.5 times that."""
    moved = 0
    for lane in range(LANES):
        if going >> lane & 1:
            variance = (squares[lane] - sums[lane] * sums[lane] / n[lane]) / max(n[lane] - 1.0, 1.0)
            after = np.sqrt(variance if variance > 0.0 else 0.0) * factor
            if abs(after - spread[lane]) > near * spread[lane]:
                moved |= 1 << lane
            spread[lane] = after
            low[lane], high[lane] = -np.float32(1.5 * after), np.float32(1.5 * after)
    return moved


@jit
def outlier_bits(rows: Any, row: int, centre: Any, below: Any, above: Any) -> int:
    """A bit for each pixel, lowest first: 1 if its finite value in a row is farther from the centre than allowed."""
    bits = 0
    for lane in range(LANES):
        value = rows[row, lane]
        away = np.float64(value) - centre[lane]
        if value < _INFINITY and (away > above[lane] or -away > below[lane]):
            bits |= 1 << lane
    return bits


@jit
def weighted_sums(rows: Any, weights: Any, sigma: Any, count: int, total: Any, weight: Any, variance: Any) -> None:
    """Sums of ``w * v``, of ``w`` and of ``(w * sigma)**2`` over the finite values of `count` rows; one sigma a row."""
    for lane in range(LANES):
        values, shares, noises = 0.0, 0.0, 0.0
        for row in range(count):
            if rows[row, lane] < _INFINITY:
                share = np.float64(weights[row, lane])
                spread = share * np.float64(sigma[row])
                values += share * np.float64(rows[row, lane])  # the product is exact
                shares += share
                noises = fma64(spread, spread, noises)
        total[lane], weight[lane], variance[lane] = values, shares, noises


@jit
def _load_scaled(
    samples: Any, at: int, step: int, gain: Any, offset: Any, weight: Any,
    values: Any, shares: Any, row: int, counts: Any,
) -> None:  # fmt: skip
    for lane in range(LANES):
        value = samples[at + step * lane] * gain + offset
        counted = abs(value) < _INFINITY
        values[row, lane] = value if counted else _INFINITY
        shares[row, lane] = weight if counted else np.float32(0.0)
        counts[lane] += counted


@jit
def load_scaled_mono(
    samples: Any, at: int, gain: Any, offset: Any, weight: Any, values: Any, shares: Any, row: int, counts: Any
) -> None:
    """Write ``gain * sample + offset`` of neighbouring pixels to a row of values, and their weights beside it."""
    _load_scaled(samples, at, 1, gain, offset, weight, values, shares, row, counts)


@jit
def load_scaled_colour(
    samples: Any, at: int, gain: Any, offset: Any, weight: Any, values: Any, shares: Any, row: int, counts: Any
) -> None:
    """The same for one colour of three that are interleaved."""
    _load_scaled(samples, at, _COLOURS, gain, offset, weight, values, shares, row, counts)


@jit_inline
def _smaller(a: Any, b: Any) -> Any:
    return a if a < b else b


@jit_inline
def _larger(a: Any, b: Any) -> Any:
    return a if a > b else b


@jit
def _tap_weight(table: Any, row: int, t: Any, k: int) -> Any:
    return fma(t, table[row + 1, k] - table[row, k], table[row, k])


@jit
def _column(source: Any, at: int, stride: int, wy: Any) -> Any:
    """Weighted sum of a column of taps, and the range of the inner ones."""
    total = fma(source[at], wy[0], source[at + stride] * wy[1])
    low = high = source[at + stride]
    for j in range(2, TAPS):
        value = source[at + j * stride]
        total = fma(value, wy[j], total)
        if j <= INNER_TAPS:
            low, high = _smaller(low, value), _larger(high, value)
    return total, low, high


@jit_inline
def _ends(source: Any, at: int, step: int) -> Any:
    return _larger(source[at], source[at + step])


@jit
def lanczos_pixel(
    source: Any, at: int, stride: int, table: Any, row_x: int, t_x: Any, row_y: int, t_y: Any,
    undershoot: Any, overshoot: Any, calibration: Any, u: float, v: float, target: Any, where: int,
) -> int:  # fmt: skip
    """Resample and calibrate one pixel of three colours; returns a bit for each colour that is not finite."""
    wy, sums = np.empty(TAPS, np.float32), np.empty(TAPS, np.float32)
    low, high = np.empty(INNER_TAPS, np.float32), np.empty(INNER_TAPS, np.float32)
    for j in range(TAPS):
        wy[j] = _tap_weight(table, row_y, t_y, j)
    bad = 0
    for c in range(_COLOURS):
        for i in range(TAPS):
            total, least, most = _column(source, at + STRIDE * i + c, stride, wy)
            sums[i] = total * _tap_weight(table, row_x, t_x, i)
            if 1 <= i <= INNER_TAPS:
                low[i - 1], high[i - 1] = least, most
        value = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (sums[4] + sums[5])
        if not abs(value) < _INFINITY:
            bad |= 1 << c
        least = _smaller(_smaller(low[0], low[1]), _smaller(low[2], low[3]))
        most = _larger(_larger(high[0], high[1]), _larger(high[2], high[3]))
        spread = most - least
        across = _smaller(
            _ends(source, at + 2 * stride + STRIDE + c, stride), _ends(source, at + 2 * stride + 4 * STRIDE + c, stride)
        )
        down = _smaller(
            _ends(source, at + stride + 2 * STRIDE + c, STRIDE), _ends(source, at + 4 * stride + 2 * STRIDE + c, STRIDE)
        )
        value = _larger(value, least - undershoot * (_larger(across, down) - least))
        value = _smaller(value, most + overshoot * spread)
        target[where + c] = calibrated(np.float64(value), u, v, calibration[:, c])
    return bad


@jit
def lanczos_mono(
    source: Any, at: int, stride: int, table: Any, row_x: int, t_x: Any, row_y: int, t_y: Any, undershoot: Any,
    overshoot: Any,
) -> Any:  # fmt: skip
    """Resample one pixel of one channel; NaN or infinite if a tap is."""
    wy, sums = np.empty(TAPS, np.float32), np.empty(TAPS, np.float32)
    low, high = np.empty(INNER_TAPS, np.float32), np.empty(INNER_TAPS, np.float32)
    for j in range(TAPS):
        wy[j] = _tap_weight(table, row_y, t_y, j)
    for i in range(TAPS):
        total, least, most = _column(source, at + i, stride, wy)
        sums[i] = total * _tap_weight(table, row_x, t_x, i)
        if 1 <= i <= INNER_TAPS:
            low[i - 1], high[i - 1] = least, most
    value = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (sums[4] + sums[5])
    least = _smaller(_smaller(low[0], low[1]), _smaller(low[2], low[3]))
    most = _larger(_larger(high[0], high[1]), _larger(high[2], high[3]))
    across = _smaller(_ends(source, at + 2 * stride + 1, stride), _ends(source, at + 2 * stride + 4, stride))
    down = _smaller(_ends(source, at + stride + 2, 1), _ends(source, at + 4 * stride + 2, 1))
    limited = _larger(value, least - undershoot * (_larger(across, down) - least))
    limited = _smaller(limited, most + overshoot * (most - least))
    return limited if abs(value) < _INFINITY else value


@jit
def lanczos_pixel_of_valid(
    source: Any, at: int, stride: int, table: Any, row_x: int, t_x: Any, row_y: int, t_y: Any,
    least_weight: Any, nearest: int, wanted: int, calibration: Any, u: float, v: float, target: Any, where: int,
) -> None:  # fmt: skip
    """Resample colours from those of their taps that are finite, and calibrate them."""
    totals, weights = np.empty(TAPS, np.float32), np.empty(TAPS, np.float32)
    for c in range(_COLOURS):
        if not wanted >> c & 1:
            continue
        least, most = _INFINITY, -_INFINITY
        for i in range(TAPS):
            totals[i], weights[i] = np.float32(0.0), np.float32(0.0)
            for j in range(TAPS):
                value = source[at + j * stride + STRIDE * i + c]
                if abs(value) < _INFINITY:
                    share = _tap_weight(table, row_y, t_y, j) * _tap_weight(table, row_x, t_x, i)
                    weights[i] += share
                    totals[i] = fma(share, value, totals[i])
                    least, most = _smaller(value, least), _larger(value, most)
        weight = ((weights[0] + weights[1]) + (weights[2] + weights[3])) + (weights[4] + weights[5])
        total = ((totals[0] + totals[1]) + (totals[2] + totals[3])) + (totals[4] + totals[5])
        value = np.float32(np.nan)
        if weight >= least_weight and abs(source[nearest + c]) < _INFINITY:
            value = _larger(_smaller(total / weight, most), least)
        target[where + c] = calibrated(np.float64(value), u, v, calibration[:, c])
