"""Compiled twin of `reference.combine`: serial, free of the interpreter's lock; callers spread rows over threads.

Samples are gathered in runs of pixels, sub after sub, and sorted as integers, so that no branch
depends on what they hold. No loop over pixels allocates memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit as _jit
from .compiled import jit_inline as _jit_inline
from .compiled import jit_sums as _jit_sums

# Constants of `reference`, repeated and not imported: Numba's cache on disk looks at the date of this
# file alone, and would go on using old values of another.
FEW_SAMPLES = 8
SIGNAL_SHARE = 0.3
DROP_SHARE = 3.0
LEAST_SIGMA = 0.8
LEAST_TAPER = 1e-3

# Finite is written ``abs(x) < _INFINITY``: Numba's isfinite subtracts, which rearranging may spoil.
_INFINITY = np.float32(np.inf)

#: Pixels of a row whose samples are gathered together, so that each sub is read in runs.
_RUN = 32
_NOTHING_DROPPED = (np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))


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
    dropped: Any,
    into: Any,
) -> None:
    """Collect the valid samples of the pixels first..last of a row, sub after sub."""
    gain, offset, weight = scale
    value, share, which, filled, carried = into
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
                if dropped[0].shape[0] > 0:
                    carried[slot, n] = dropped[0][at + c] * gain[k, c] + offset[k, c]
                    share[slot, n] *= dropped[1][at + c]
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
    dropped: Any,
    out: Any,
) -> None:
    out_value, out_weight, out_coverage, out_rejected = out
    width, channels, count = out_value.shape[1], out_value.shape[2], start.shape[0]
    value = np.empty((_RUN * channels, count), np.float32)
    bits = value.view(np.uint32)
    share = np.empty((_RUN * channels, count), np.float64)
    which = np.empty((_RUN * channels, count), np.int32)
    filled = np.empty(_RUN * channels, np.int64)
    carries = dropped[0].shape[0] > 0
    carried = np.empty((_RUN * channels, count if carries else 0), np.float32)
    keys, spare = np.empty(count + 7, np.uint64), np.empty(count + 7, np.uint64)
    v, w, s = np.empty(count), np.empty(count), np.empty(count)
    for row in range(row0, row1):
        for first in range(0, width, _RUN):
            last = min(first + _RUN, width)
            into = (value, share, which, filled, carried)
            _gather_run(samples, start, boxes, row, first, last, scale, edges, feather, radial, dropped, into)
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
                    if carries:  # rejection does not look at the weights: it carries the places along
                        w[i] = place
                if reject != 0:
                    n = _reject(v, w, s, n, sky[c], reject, limits)
                if carries:
                    drops = (carried[slot], share[slot], which[slot], dropped[2][:, c])
                    bounds = (limits[0], limits[1]) if reject != 0 else (_INFINITY, _INFINITY)
                    n = _take_carried(v, w, s, n, drops, sky[c], bounds, median)
                    found = _count_positive(share[slot], found)
                combined, certainty = _weigh_survivors(v, w, s, n, median)
                out_value[row - row0, x, c] = combined
                out_weight[row - row0, x, c] = certainty
                out_coverage[row - row0, x, c] = n
                out_rejected[row - row0, x, c] = found - n


@_jit
def _count_positive(share: Any, n: int) -> int:
    count = 0
    for i in range(n):
        count += share[i] > 0.0
    return count


@_jit
def _take_carried(v: Any, w: Any, s: Any, n: int, drops: Any, sky: float, bounds: Any, sort: bool) -> int:
    """Put the drops that the surviving samples carry in their place; tell how many there are.

    Left out are those of subs that dropped nothing, and those too far from the median of the
    survivors, unless all are.
    """
    carried, share, which, sigma = drops
    if n == 0:
        return 0
    centre = _median(v, n)
    signal = DROP_SHARE * max(centre - sky, 0.0)
    near = 0
    for i in range(n):
        place = int(w[i])
        near += share[place] > 0.0 and _is_near(carried[place] - centre, sigma[which[place]], signal, bounds)
    kept = 0
    for i in range(n):
        place = int(w[i])
        noise = float(sigma[which[place]])
        if share[place] > 0.0 and (near == 0 or _is_near(carried[place] - centre, noise, signal, bounds)):
            v[kept], w[kept], s[kept] = carried[place], share[place], noise
            kept += 1
    if sort:  # only a median asks for it; by insertion, few as they are
        for i in range(1, kept):
            at, value, weight, noise = i, v[i], w[i], s[i]
            while at > 0 and v[at - 1] > value:
                v[at], w[at], s[at] = v[at - 1], w[at - 1], s[at - 1]
                at -= 1
            v[at], w[at], s[at] = value, weight, noise
    return kept


@_jit
def _is_near(away: float, noise: float, signal: float, bounds: Any) -> bool:
    limit = bounds[1] if away > 0.0 else bounds[0]
    return abs(away) <= limit * np.sqrt(noise * noise + signal * signal)


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
    dropped: Any = None,
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
    dropped : tuple, optional
        ``(values, shares, sigma)``, the first two like `samples`, the last float32 (N, C): what is combined in
        the place of the samples that survive, the factor on the weight of each (0 where the sub has
        nothing), and its noise. The samples then only judge.
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
        _NOTHING_DROPPED if dropped is None else tuple(np.asarray(array) for array in dropped),
        (out_value, out_weight, out_coverage, out_rejected),
    )
