"""Compiled twins of `reference`: serial, free of the interpreter's lock, cached on disk.

Callers spread rows, boxes or subs over Python threads; Numba's own parallel layer is not safe to
enter from several threads at once. No loop over pixels allocates memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit as _jit
from .compiled import jit_inline as _jit_inline
from .compiled import jit_sums as _jit_sums

# Constants of `reference`, repeated and not imported: Numba's cache on disk looks at the date of this
# file alone, and would go on using old values of another. Typed, so that pixels stay in 32 bits.
FEW_SAMPLES = 8
SIGNAL_SHARE = 0.3
LEAST_SIGMA = 0.8
LEAST_TAPER = 1e-3
UNDERSHOOT, OVERSHOOT = np.float32(0.05), np.float32(0.25)
HALF_WEIGHT = np.float32(0.4999)

# Finite is written ``abs(x) < _INFINITY``: Numba's isfinite subtracts, which rearranging may spoil.
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
        weights[k] = table[row, k] + t * (table[row + 1, k] - table[row, k])


@_jit_inline
def _column_sums(flat: Any, y0: int, begin: int, wy: Any, taps: int, entries: int, sums: Any) -> None:
    """Weighted sums of the tap rows, one for each tap column and channel as they lie in memory."""
    for e in range(entries):
        total = np.float32(0.0)
        for j in range(taps):
            total += wy[j] * flat[y0 + j, begin + e]
        sums[e] = total


@_jit_inline
def _column_ranges(flat: Any, y0: int, begin: int, rows: int, entries: int, low: Any, high: Any) -> None:
    """Smallest and largest value of each tap column and channel over `rows` rows."""
    for e in range(entries):
        value = flat[y0, begin + e]
        least = value
        most = value
        for j in range(1, rows):
            value = flat[y0 + j, begin + e]
            least = value if value < least else least
            most = value if value > most else most
        low[e] = least
        high[e] = most


@_jit_inline
def _within(value: float, least: float, most: float) -> Any:
    """`value`, kept within the range of the inner taps but for a margin."""
    spread = most - least
    return min(max(value, least - UNDERSHOOT * spread), most + OVERSHOOT * spread)


@_jit
def _sum_valid_taps(source: Any, y0: int, x0: int, c: int, wy: Any, wx: Any, skip: int) -> Any:
    """Sum over the taps that are inside and finite, renormalised and kept in their range."""
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
        return _within(total, inner_low, inner_high)
    # At half a pixel beyond the border half of the weight remains, but for rounding.
    if weight < HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / weight, low), high)


@_jit_inline
def _at_nodes(nodes: Any, k: int, j: int, i: int, v: float, u: float) -> Any:
    """Coordinate `k` between four nodes."""
    above = (1.0 - u) * nodes[j, i, k] + u * nodes[j, i + 1, k]
    below = (1.0 - u) * nodes[j + 1, i, k] + u * nodes[j + 1, i + 1, k]
    return (1.0 - v) * above + v * below


@_jit_inline
def _calibrate(pixel: Any, x: float, y: float, width: int, height: int, calibration: Any) -> None:
    """Bring the channels of one resampled pixel, seen at (x, y) of the source, to the scale of the run."""
    half = 0.5 * np.sqrt(float(width * width + height * height))
    u, v = (x - 0.5 * (width - 1)) / half, (y - 0.5 * (height - 1)) / half
    uu, uv, vv = u * u, u * v, v * v
    r4 = (uu + vv) * (uu + vv)
    for c in range(calibration.shape[0]):
        k = calibration[c]
        light = 1.0 + k[5] * u + k[6] * v + k[7] * uu + k[8] * uv + k[9] * vv + k[10] * r4
        pixel[c] = np.float32((pixel[c] - k[1]) * (k[0] / light) + (k[2] + k[3] * u + k[4] * v))


def _make_resampler(fixed_taps: int, fixed_channels: int) -> Any:
    """Compile the resampler for a number of taps and channels; 0 leaves them to the call.

    Known numbers make the loops over the taps straight vector code: three times as fast.
    """

    @_jit_sums
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
    ) -> None:
        channels = fixed_channels if fixed_channels else source.shape[2]
        taps = fixed_taps if fixed_taps else table.shape[1]
        inner_taps = 4 if fixed_taps else 2 * inner
        height, width = source.shape[0], source.shape[1]
        flat = source.reshape(height, width * channels)
        # Vector registers hold 8 floats: whole ones are read, what is beyond the taps is not used.
        entries = (taps * channels + 7) // 8 * 8
        bounds = (inner_taps * channels + 7) // 8 * 8
        skip = taps // 2 - inner_taps // 2
        wx, wy = np.empty(taps, np.float32), np.empty(taps, np.float32)
        sums, low, high = np.empty(entries, np.float32), np.empty(bounds, np.float32), np.empty(bounds, np.float32)
        for r in range(out.shape[0]):
            j = (first_row + r) // step
            v = (first_row + r - j * step) / step
            for q in range(out.shape[1]):
                i = (first_column + q) // step
                u = (first_column + q - i * step) / step
                x, y = _at_nodes(nodes, 0, j, i, v, u), _at_nodes(nodes, 1, j, i, v, u)
                # NaN fails these comparisons too.
                if not (x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5):
                    out[r, q, :] = np.nan
                    continue
                left, top = int(np.floor(x)), int(np.floor(y))
                _phase_weights(table, x - left, taps, wx)
                _phase_weights(table, y - top, taps, wy)
                x0, y0 = left - taps // 2 + 1, top - taps // 2 + 1
                begin = x0 * channels
                whole = x0 >= 0 and y0 >= 0 and begin + entries + 8 <= flat.shape[1] and y0 + taps <= height
                if whole:
                    _column_sums(flat, y0, begin, wy, taps, entries, sums)
                    _column_ranges(flat, y0 + skip, begin + skip * channels, inner_taps, bounds, low, high)
                near_x, near_y = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
                for c in range(channels):
                    if not abs(source[near_y, near_x, c]) < _INFINITY:
                        out[r, q, c] = np.nan
                        continue
                    value = np.float32(np.nan)
                    if whole:
                        value = np.float32(0.0)
                        for k in range(taps):
                            value += wx[k] * sums[k * channels + c]
                    # A NaN among the taps makes the sum NaN, and only then is it looked for.
                    if not abs(value) < _INFINITY:
                        out[r, q, c] = _sum_valid_taps(source, y0, x0, c, wy, wx, skip)
                        continue
                    least, most = low[c], high[c]
                    for k in range(1, inner_taps):
                        least = min(least, low[k * channels + c])
                        most = max(most, high[k * channels + c])
                    out[r, q, c] = _within(value, least, most)
                _calibrate(out[r, q], x, y, width, height, calibration)

    return resample


_resamplers = {(6, 3): _make_resampler(6, 3), (6, 1): _make_resampler(6, 1)}
_resample_any = _make_resampler(0, 0)


@_jit
def _copy_nearest(
    source: Any, nodes: Any, step: int, first_row: int, first_column: int, out: Any, calibration: Any
) -> None:
    height, width = source.shape[0], source.shape[1]
    for r in range(out.shape[0]):
        j = (first_row + r) // step
        v = (first_row + r - j * step) / step
        for q in range(out.shape[1]):
            i = (first_column + q) // step
            u = (first_column + q - i * step) / step
            x, y = _at_nodes(nodes, 0, j, i, v, u), _at_nodes(nodes, 1, j, i, v, u)
            if x >= -0.5 and x < width - 0.5 and y >= -0.5 and y < height - 0.5:
                out[r, q, :] = source[int(np.floor(y + 0.5)), int(np.floor(x + 0.5)), :]
                _calibrate(out[r, q], x, y, width, height, calibration)
            else:
                out[r, q, :] = np.nan


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
) -> None:
    """Fill `out` with the values of `source` where the pixel map sends its pixels.

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
    """
    if nearest:
        _copy_nearest(source, nodes, step, first_row, first_column, out, calibration)
        return
    kernel = _resamplers.get((table.shape[1], source.shape[2]), _resample_any)
    if inner != 2:
        kernel = _resample_any
    kernel(source, nodes, step, first_row, first_column, table, inner, out, calibration)


# ---------------------------------------------------------------------------- demosaicing


@_jit
def _interpolate_valid(plane: Any, at: int, offset: Any, weight: Any) -> Any:
    """Sum over the finite taps, renormalised and kept in their range; NaN with less than half of the weight."""
    total, remaining = np.float32(0.0), np.float32(0.0)
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for k in range(weight.shape[0]):
        value = plane[at + offset[k]]
        if abs(value) < _INFINITY:
            total += weight[k] * value
            remaining += weight[k]
            low, high = min(low, value), max(high, value)
    if remaining < HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / remaining, low), high)


@_jit_inline
def _interpolate(plane: Any, at: int, offset: Any, weight: Any, taps: int) -> Any:
    """Sum over the taps; only if one of them is not finite are they looked at one by one."""
    total = np.float32(0.0)
    for k in range(taps):
        total += weight[k] * plane[at + offset[k]]
    if abs(total) < _INFINITY:
        return total
    return _interpolate_valid(plane, at, offset, weight)


@_jit
def demosaic_padded(
    padded: Any, channels: Any, offsets: Any, weights: Any, share: float, padding: int, out: Any
) -> None:
    """Interpolate a Bayer mosaic; see `demosaic.demosaic` for the method and its rules.

    Parameters
    ----------
    padded : float32 (H + 2 * padding, W + 2 * padding), C-contiguous
        Mosaic with mirrored borders of an even number of pixels.
    channels : int64 (2, 2)
        Channel of the pixels of the first two rows and columns.
    offsets : tuple of four int64 arrays
        Distance in memory of the taps for green (36), and for a colour beside (6), above (6) and
        diagonal to (36) its pixels.
    weights : tuple of four float32 arrays
        Weights of these taps.
    share : float32
        Share of the green detail that red and blue borrow.
    padding : int
        At least twice the reach of the taps.
    out : float32 (H, W, 3)
        Written whole.
    """
    height, width = padded.shape
    mosaic = padded.reshape(height * width)
    green = np.empty(height * width, np.float32)
    difference = np.empty(height * width, np.float32)
    reach = padding // 2
    for y in range(reach, height - reach):
        for x in range(reach, width - reach):
            at = y * width + x
            green[at] = mosaic[at]
            if channels[y % 2, x % 2] != 1:
                green[at] = _interpolate(mosaic, at, offsets[0], weights[0], 36)
                difference[at] = mosaic[at] - share * green[at]
    for r in range(out.shape[0]):
        for q in range(out.shape[1]):
            y, x = r + padding, q + padding
            at = y * width + x
            if not abs(mosaic[at]) < _INFINITY:
                out[r, q, :] = np.nan
                continue
            here = channels[y % 2, x % 2]
            lent = share * green[at]
            out[r, q, 1] = green[at]
            if here == 1:
                # The colour of this row lies beside, the other one above.
                in_row = channels[y % 2, (x + 1) % 2]
                out[r, q, in_row] = lent + _interpolate(difference, at, offsets[1], weights[1], 6)
                out[r, q, 2 - in_row] = lent + _interpolate(difference, at, offsets[2], weights[2], 6)
            else:
                out[r, q, here] = mosaic[at]
                out[r, q, 2 - here] = lent + _interpolate(difference, at, offsets[3], weights[3], 36)


# ---------------------------------------------------------------------------- combining

#: Pixels of a row whose samples are gathered together, so that each sub is read in runs.
_RUN = 32


@_jit_inline
def _sort_key(bits: Any, place: int) -> Any:
    """One integer that sorts as (float of these bits, place)."""
    flip = np.uint64(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint64(0x80000000)
    return ((np.uint64(bits) ^ flip) << np.uint64(32)) | np.uint64(place)


#: Exchanges that sort 8 values (Batcher 1968, odd-even merges).
_NETWORK = (
    *((0, 1), (2, 3), (4, 5), (6, 7)),
    *((0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6)),
    *((0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)),
)


@_jit
def _sort(keys: Any, spare: Any, n: int) -> None:
    """Sort ``keys[:n]`` without branches that depend on the values: runs of 8, then merges.

    Both arrays have room for the next multiple of 8.
    """
    if n < 2:
        return
    for i in range(n, (n + 7) // 8 * 8):
        keys[i] = np.uint64(0xFFFFFFFFFFFFFFFF)
    for first in range(0, n, 8):
        for low, high in _NETWORK:
            a, b = keys[first + low], keys[first + high]
            keys[first + low] = min(a, b)
            keys[first + high] = max(a, b)
    length = 8
    while length < n:
        for first in range(0, n, 2 * length):
            middle, last = min(first + length, n), min(first + 2 * length, n)
            i, j, at = first, middle, first
            while i < middle and j < last:
                left, right = keys[i], keys[j]
                from_right = right < left
                spare[at] = right if from_right else left
                i += not from_right
                j += from_right
                at += 1
            spare[at : at + middle - i] = keys[i:middle]
            at += middle - i
            spare[at:last] = keys[j:last]
        keys[:n] = spare[:n]
        length *= 2


@_jit_inline
def _median(v: Any, n: int) -> float:
    """Median of the sorted ``v[:n]``."""
    return 0.5 * (v[(n - 1) // 2] + v[n // 2])


@_jit
def _deviation_of_rank(v: Any, n: int, centre: float, k: int) -> float:
    """The k-th smallest (from 0) distance to the median `centre` of the sorted ``v[:n]``, by bisection.

    Distances rise to the left and to the right of the middle; of the k + 1 smallest, some number
    comes from the left.
    """
    middle = (n + 1) // 2
    low, high = max(0, k + 1 - (n - middle)), min(k + 1, middle)
    while low < high:
        taken = (low + high) // 2
        # The next one on the left is nearer than the last one taken on the right: take more from the left.
        if centre - v[middle - 1 - taken] < v[middle + k - taken] - centre:
            low = taken + 1
        else:
            high = taken
    left = centre - v[middle - low] if low > 0 else -1.0
    right = v[middle + k - low] - centre if low < k + 1 else -1.0
    return max(left, right)


@_jit
def _model_variance(centre: float, sky: float) -> float:
    """Variance that differences in seeing and scale add above the sky."""
    signal = SIGNAL_SHARE * max(centre - sky, 0.0)
    return signal * signal


@_jit
def _drop(
    v: Any, w: Any, s: Any, n: int, centre: float, spread: float, share: float, model: float, low: float, high: float
) -> int:
    """Remove the samples too far from the centre, keep the others sorted, and tell how many they are.

    A sample's sigma is the larger of `spread` and `share` of its predicted sigma. The nearest to
    the centre (of several the lowest, of these the first) stays in any case.
    """
    kept = 0
    for i in range(n):
        away = v[i] - centre
        limit = high if away > 0.0 else low
        away = abs(away)
        # The root is only taken where the cheaper test does not decide.
        if away <= limit * spread or away <= limit * (share * np.sqrt(s[i] * s[i] + model)):
            v[kept], w[kept], s[kept] = v[i], w[i], s[i]
            kept += 1
    if kept > 0:
        return kept
    best = 0
    for i in range(1, n):
        if abs(v[i] - centre) < abs(v[best] - centre):
            best = i
    v[0], w[0], s[0] = v[best], w[best], s[best]
    return 1


@_jit
def _reject_few(v: Any, w: Any, s: Any, n: int, sky: float, low: float, high: float) -> int:
    """Rejection among 2 to 7 samples, by the predicted sigma; two passes."""
    for _ in range(2):
        if n < 2:
            return n
        before = n
        if n == 2:
            # Trails, cosmic rays and hot pixels only add light: the lower one is believed.
            sigma = np.sqrt(s[0] * s[0] + s[1] * s[1] + _model_variance(v[0], sky))
            if v[1] - v[0] > high * sigma:
                n = 1
        else:
            centre = _median(v, n)
            n = _drop(v, w, s, n, centre, 0.0, 1.0, _model_variance(centre, sky), low, high)
        if n == before:
            return n
    return n


@_jit
def _reject_kappa_sigma(v: Any, w: Any, s: Any, n: int, sky: float, low: float, high: float) -> int:
    """Clip around the median with sigma from the median absolute deviation; at most 10 passes."""
    for _ in range(10):
        centre = _median(v, n)
        lower, upper = _deviation_of_rank(v, n, centre, (n - 1) // 2), _deviation_of_rank(v, n, centre, n // 2)
        spread = 1.4826 * (0.5 * (lower + upper))
        before = n
        n = _drop(v, w, s, n, centre, spread, LEAST_SIGMA, _model_variance(centre, sky), low, high)
        if n == before:
            return n
    return n


@_jit_sums
def _clipped_deviation(v: Any, n: int, low: float, high: float) -> float:
    """Standard deviation (n - 1) of ``v[:n]`` pulled in to low..high."""
    total = 0.0
    for i in range(n):
        total += min(max(v[i], low), high)
    mean = total / n
    square = 0.0
    for i in range(n):
        away = min(max(v[i], low), high) - mean
        square += away * away
    return np.sqrt(square / max(n - 1, 1))


@_jit
def _winsorised_sigma(v: Any, n: int, centre: float, cut_low: float, cut_high: float) -> float:
    """Sigma of the sorted ``v[:n]`` by Huber's winsorising."""
    below, above = int(np.floor(cut_low * n)), n - 1 - int(np.floor(cut_high * n))
    sigma = _clipped_deviation(v, n, v[below], v[above])
    for _ in range(50):
        new = 1.134 * _clipped_deviation(v, n, centre - 1.5 * sigma, centre + 1.5 * sigma)
        done = abs(new - sigma) <= 0.005 * sigma
        sigma = new
        if done:
            break
    return sigma


@_jit
def _reject_winsorised(
    v: Any, w: Any, s: Any, n: int, sky: float, low: float, high: float, cut_low: float, cut_high: float
) -> int:
    """Clip around the median with the winsorised sigma until nothing is clipped."""
    while True:
        centre = _median(v, n)
        spread = _winsorised_sigma(v, n, centre, cut_low, cut_high)
        before = n
        n = _drop(v, w, s, n, centre, spread, LEAST_SIGMA, _model_variance(centre, sky), low, high)
        if n == before:
            return n


@_jit
def _reject(v: Any, w: Any, s: Any, n: int, sky: float, how: int, limits: Any) -> int:
    """Reject among the sorted samples of one pixel; the survivors come first, and are counted."""
    low, high, cut_low, cut_high = limits
    if n < FEW_SAMPLES:
        return _reject_few(v, w, s, n, sky, low, high)
    if how == 1:
        return _reject_kappa_sigma(v, w, s, n, sky, low, high)
    return _reject_winsorised(v, w, s, n, sky, low, high, cut_low, cut_high)


@_jit
def _edge_share(edges: Any, k: int, x: float, y: float, feather: float, radial: Any) -> float:
    """Share of its weight that sub `k` has at (x, y): falls to its edges and, if wanted, with the radius."""
    share = 1.0
    if feather > 0.0:
        for e in range(4):
            distance = edges[k, e, 0] * x + edges[k, e, 1] * y + edges[k, e, 2]
            share = min(share, distance / feather)
        share = max(share, LEAST_TAPER)
    if radial[k, 4] > 0.0:
        radius = np.hypot(x - radial[k, 0], y - radial[k, 1])
        t = (radius - radial[k, 2]) / max(radial[k, 3] - radial[k, 2], 1e-6)
        if t > 0.0:
            share *= max(np.cos(0.5 * np.pi * min(t, 1.0)) ** radial[k, 4], LEAST_TAPER)
    return share


@_jit
def _gather_run(
    samples: Any,
    start: Any,
    boxes: Any,
    row: int,
    first: int,
    last: int,
    scale: Any,
    edges: Any,
    feather: float,
    radial: Any,
    into: Any,
) -> None:
    """Collect the valid samples of the pixels first..last of a row, sub after sub."""
    gain, offset, weight = scale
    value, share, which, filled = into
    channels = gain.shape[1]
    filled[:] = 0
    for k in range(start.shape[0]):
        y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        if row < y0 or row >= y1:
            continue
        for x in range(max(first, x0), min(last, x1)):
            at = start[k] + ((row - y0) * (x1 - x0) + x - x0) * channels
            taper = -1.0
            for c in range(channels):
                scaled = samples[at + c] * gain[k, c] + offset[k, c]
                if not abs(scaled) < _INFINITY or not weight[k, c] > 0.0:
                    continue
                if taper < 0.0:
                    taper = _edge_share(edges, k, x, row, feather, radial)
                slot = (x - first) * channels + c
                n = filled[slot]
                value[slot, n] = scaled
                share[slot, n] = taper * weight[k, c]
                which[slot, n] = k
                filled[slot] = n + 1


@_jit
def _combine_rows(
    samples: Any,
    start: Any,
    boxes: Any,
    row0: int,
    row1: int,
    scale: Any,
    sigma: Any,
    edges: Any,
    feather: float,
    radial: Any,
    sky: Any,
    reject: int,
    limits: Any,
    median: bool,
    out: Any,
) -> None:
    out_value, out_weight, out_coverage, out_rejected = out
    width, channels, count = out_value.shape[1], out_value.shape[2], start.shape[0]
    value = np.empty((_RUN * channels, count), np.float32)
    bits = value.view(np.uint32)
    share = np.empty((_RUN * channels, count), np.float64)
    which = np.empty((_RUN * channels, count), np.int32)
    filled = np.empty(_RUN * channels, np.int64)
    keys, spare = np.empty(count + 7, np.uint64), np.empty(count + 7, np.uint64)
    v, w, s = np.empty(count), np.empty(count), np.empty(count)
    for row in range(row0, row1):
        for first in range(0, width, _RUN):
            last = min(first + _RUN, width)
            into = (value, share, which, filled)
            _gather_run(samples, start, boxes, row, first, last, scale, edges, feather, radial, into)
            for slot in range((last - first) * channels):
                x, c = first + slot // channels, slot % channels
                found = filled[slot]
                n = found
                for i in range(n):
                    keys[i] = _sort_key(bits[slot, i], i)
                if reject != 0 or median:
                    _sort(keys, spare, n)
                for i in range(n):
                    place = int(keys[i] & np.uint64(0xFFFFFFFF))
                    v[i], w[i], s[i] = value[slot, place], share[slot, place], sigma[which[slot, place], c]
                if reject != 0:
                    n = _reject(v, w, s, n, sky[c], reject, limits)
                combined, certainty = _weigh_survivors(v, w, s, n, median)
                out_value[row - row0, x, c] = combined
                out_weight[row - row0, x, c] = certainty
                out_coverage[row - row0, x, c] = n
                out_rejected[row - row0, x, c] = found - n


@_jit
def _weigh_survivors(v: Any, w: Any, s: Any, n: int, median: bool) -> Any:
    """Mean or median of the samples that remain, and its inverse variance."""
    if n == 0:
        return np.nan, 0.0
    total, weight, variance = 0.0, 0.0, 0.0
    for i in range(n):
        total += w[i] * v[i]
        weight += w[i]
        variance += w[i] * w[i] * s[i] * s[i]
    certainty = weight * weight / variance if variance > 0.0 else weight
    if not median:
        return total / weight, certainty
    return _median(v, n), certainty / (0.5 * np.pi if n > 2 else 1.0)


def combine_rows(
    samples: Any,
    start: Any,
    boxes: Any,
    row0: int,
    row1: int,
    width: int,
    channels: int,
    gain: Any,
    offset: Any,
    weight: Any,
    sigma: Any,
    edges: Any,
    feather_px: float,
    radial: Any,
    sky: Any,
    reject: int,
    kappa_low: float,
    kappa_high: float,
    winsor_low: float,
    winsor_high: float,
    combine: int,
    out_value: Any,
    out_weight: Any,
    out_coverage: Any,
    out_rejected: Any,
) -> None:
    """Combine rows of a tile from the resampled pieces of N subs; the fast twin of `reference.combine`.

    Parameters
    ----------
    samples : float32, flat, C-contiguous; may be a memory map
        Crop i is ``samples[start[i]:start[i] + h * w * C].reshape(h, w, C)``; NaN = invalid.
    start : int64 (N,)
        First sample of each crop.
    boxes : int64 (N, 4)
        Half-open ``(y0, y1, x0, x1)`` of each crop in the tile.
    row0, row1, width, channels : int
        Rows of the tile to compute, its width and number of channels.
    gain, offset, weight, sigma : float32 (N, C)
        A sample becomes ``gain * v + offset``; `sigma` is its sky noise after the gain. A weight of 0 leaves it out.
    edges : float32 (N, 4, 3)
        Inward distance of (x, y) from each edge of the sub: ``edges[i, e] @ (x, y, 1)``.
    feather_px : float
        Distance over which the weight falls to an edge; 0 for not at all.
    radial : float32 (N, 5)
        ``(cx, cy, r_start, r_end, power)`` of the radial weight ``cos(pi/2 t) ** power``; power 0 disables it.
    sky : float32 (C,)
        Sky level of the combined image, where the predicted noise starts to grow with the signal.
    reject, combine : int
        `reference.REJECT` and `reference.COMBINE`.
    kappa_low, kappa_high, winsor_low, winsor_high : float
        See `reference.CombineOptions`.
    out_value, out_weight : float32 (row1 - row0, width, C)
        Combined value (NaN without samples) and its inverse variance (0 without).
    out_coverage, out_rejected : uint16, same shape
        Number of samples used and rejected.
    """
    f32 = np.float32
    scale = tuple(np.ascontiguousarray(a, dtype=f32) for a in (gain, offset, weight))
    if out_value.shape != (row1 - row0, width, channels):
        raise ValueError(f"out_value must have shape {(row1 - row0, width, channels)}, not {out_value.shape}")
    _combine_rows(
        np.asarray(samples),
        np.ascontiguousarray(start, dtype=np.int64),
        np.ascontiguousarray(boxes, dtype=np.int64),
        int(row0),
        int(row1),
        scale,
        np.ascontiguousarray(sigma, dtype=f32),
        np.ascontiguousarray(edges, dtype=f32),
        float(feather_px),
        np.ascontiguousarray(radial, dtype=f32),
        np.ascontiguousarray(sky, dtype=f32),
        int(reject),
        (float(kappa_low), float(kappa_high), float(winsor_low), float(winsor_high)),
        combine == 1,
        (out_value, out_weight, out_coverage, out_rejected),
    )
