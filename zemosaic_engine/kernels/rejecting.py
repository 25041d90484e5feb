"""Rejection of outliers among the samples of a pixel: the fast twin of the rejection in `reference.combine`.

`LANES` neighbouring pixels go through every step together. Medians come from a sorting network over the samples,
which needs no branches. A rejected sample becomes +inf, which counts as missing; it stands before or behind the sorted
samples of its pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing, jit_inline
from .reference.combining import DROP_SHARE, FEW_SAMPLES, LEAST_SIGMA, SIGNAL_SHARE
from .reference.scatter import BLUR_SHARE, MISPLACED_SHARE, STEEP_SHARE
from .simd import (
    LANES,
    clipped_moments,
    compare_exchange,
    distances,
    huber_step,
    merge_eight,
    merge_four,
    outlier_bits,
    sort_eight,
)  # fmt: skip

_KAPPA_PASSES = 10
_HUBER_PASSES = 50

_ROUNDED = 1.0 - 1e-9  # so that no square root of a square is below

_INFINITY = np.float32(np.inf)


@jit_borrowing
def _merge(rows: Any, begin: int, run: int, end: int) -> None:
    """Merge two sorted runs of rows, the second of which may be shorter, by a bitonic network (Batcher 1968)."""
    last = begin + 2 * run - 1
    for i in range(max(0, last + 1 - end), run):  # those whose partner is there
        compare_exchange(rows, begin + i, last - i)
    step = run // 2
    while step >= 16:
        _halve_twice(rows, begin, step, end)
        step //= 4
    if step == 8:
        for block in range(begin, end, 16):
            for i in range(block, min(block + 8, end - 8)):
                compare_exchange(rows, i, i + 8)
    for at in range(begin, end, 8):
        merge_eight(rows, at, rows, at, 1)


@jit_borrowing
def _halve_twice(rows: Any, begin: int, step: int, end: int) -> None:
    """Put rows in order that are `step` apart, then those that are half of that apart."""
    half = step // 2
    for block in range(begin, end, 2 * step):
        whole = min(half, max(end - block - 3 * half, 0))
        for i in range(block, block + whole):
            merge_four(rows, i, rows, i, half)
        for i in range(block + whole, block + half):
            for one, other in ((i, i + step), (i + half, i + half + step), (i, i + half), (i + step, i + step + half)):
                if other < end:
                    compare_exchange(rows, one, other)


@jit_borrowing
def sort_into(rows: Any, value: Any, count: int) -> None:
    """Sort the samples of every pixel into `rows`, which has room for a multiple of eight; +inf fills it up."""
    whole = count - count % 8
    for at in range(0, whole, 8):
        sort_eight(value, at, rows, at, 1)
    end = whole
    if whole < count:
        end += 8
        for j in range(whole, end):
            for lane in range(LANES):
                rows[j, lane] = value[j, lane] if j < count else _INFINITY
        sort_eight(rows, whole, rows, whole, 1)
    run = 8
    while run < end:
        for begin in range(0, end - run, 2 * run):
            _merge(rows, begin, run, min(begin + 2 * run, end))
        run *= 2


@jit_inline
def median_of(rows: Any, first: int, n: int, lane: int) -> float:
    """Median of the `n` sorted samples of a pixel that begin at `first`."""
    return 0.5 * (float(rows[first + (n - 1) // 2, lane]) + float(rows[first + n // 2, lane]))


@jit_borrowing
def _take_out(rows: Any, first: Any, n: Any, lane: int, gone: float) -> None:
    """Remove a sample from the sorted ones of a pixel; those towards the nearer end move up by one."""
    begin, last = first[lane], first[lane] + n[lane] - 1
    low, high = begin, last
    while low < high:
        middle = (low + high) // 2
        if rows[middle, lane] < gone:
            low = middle + 1
        else:
            high = middle
    if low - begin < last - low:
        for i in range(low, begin, -1):
            rows[i, lane] = rows[i - 1, lane]
        rows[begin, lane] = _INFINITY
        first[lane] += 1
    else:
        for i in range(low, last):
            rows[i, lane] = rows[i + 1, lane]
        rows[last, lane] = _INFINITY
    n[lane] -= 1


@jit_borrowing
def _deviation_of_rank(rows: Any, lane: int, first: int, n: int, centre: float, k: int) -> float:
    """The k-th smallest (from 0) distance to the median `centre` of `n` sorted samples, by bisection.

    Distances rise to the left and to the right of the middle; of the k + 1 smallest, some number
    comes from the left.
    """
    half = (n + 1) // 2
    middle = first + half
    low, high = max(0, k + 1 - (n - half)), min(k + 1, half)
    while low < high:
        taken = (low + high) // 2
        # The next one on the left is nearer than the last one taken on the right: take more from the left.
        if centre - rows[middle - 1 - taken, lane] < rows[middle + k - taken, lane] - centre:
            low = taken + 1
        else:
            high = taken
    left = centre - rows[middle - low, lane] if low > 0 else -1.0
    right = rows[middle + k - low, lane] - centre if low < k + 1 else -1.0
    return max(left, right)


@jit_inline
def _model_variance(centre: float, sky: float) -> float:
    """Variance that differences in seeing and scale add where there is light above the sky."""
    signal = SIGNAL_SHARE * max(centre - sky, 0.0)
    return signal * signal


@jit_inline
def _psf_variance(reach: float, square: float, misplaced: float, usual: float) -> float:
    """Variance that its PSF adds to a sample where light is steep; see `reference.psf_scatter`."""
    blur = BLUR_SHARE * abs(square - usual) / min(square, usual)
    away = MISPLACED_SHARE * misplaced
    return reach * reach * (STEEP_SHARE * STEEP_SHARE + blur * blur + away * away / usual)


@jit_borrowing
def _median_deviations(work: Any, n: Any) -> None:
    """Compute sigma of the active pixels from their median absolute deviation."""
    for lane in range(LANES):
        if work.active[lane]:
            k, first, middle = n[lane], work.first[lane], work.centre[lane]
            lower = _deviation_of_rank(work.rows, lane, first, k, middle, (k - 1) // 2)
            upper = _deviation_of_rank(work.rows, lane, first, k, middle, k // 2)
            work.spread[lane] = 1.4826 * (0.5 * (lower + upper))


@jit_borrowing
def _winsorised_sigmas(work: Any, count: int, n: Any, cut_low: float, cut_high: float) -> None:
    """Compute sigma of the active pixels by winsorising (Huber 1981)."""
    going = 0
    for lane in range(LANES):
        work.least[lane], work.greatest[lane] = 0.0, 0.0
        if work.active[lane]:
            going |= 1 << lane
            work.spread[lane] = 0.0
            first, middle = work.first[lane], work.centre[lane]
            last = first + n[lane] - 1
            work.least[lane] = work.rows[first + int(np.floor(cut_low * n[lane])), lane] - middle
            work.greatest[lane] = work.rows[last - int(np.floor(cut_high * n[lane])), lane] - middle
    distances(work.rows, count, work.centre, work.away)
    factor, near = 1.0, 0.0
    for _ in range(_HUBER_PASSES + 1):
        clipped_moments(work.away, count, work.least, work.greatest, work.sums, work.squares)
        going = huber_step(
            work.sums, work.squares, n, going, factor, near, work.spread, work.least, work.greatest
        )  # fmt: skip
        if going == 0:
            break
        factor, near = 1.134, 0.005


@jit_borrowing
def _keep_nearest(
    rows: Any, value: Any, outlying: Any, count: int, first: int, n: int, lane: int, centre: float
) -> None:
    """Keep one of the samples that would all be rejected: the nearest to the centre, then the lowest or first."""
    best = first
    for i in range(first + 1, first + n):
        if abs(rows[i, lane] - centre) < abs(rows[best, lane] - centre):
            best = i
    for j in range(count):
        if value[j, lane] == rows[best, lane]:
            outlying[j] &= ~(1 << lane)
            return


@jit_borrowing
def _reject_once(
    value: Any, sigma: Any, count: int, n: Any, limits: Any, sky: Any, steep: Any, work: Any, low_ones: Any, last: bool
) -> None:
    """Reject samples in one pass. Pixels that lost none become inactive.

    The samples in `rows` stay sorted unless this is the last pass that looks at them. A sample's sigma is the larger
    of the pixel's spread and `LEAST_SIGMA` of its predicted sigma.
    """
    low, high = limits
    reach, usual, psf = steep
    rows, first, active, outlying = work.rows, work.first, work.active, work.outlying
    centre, spread, below, above, lost = work.centre, work.spread, work.below, work.above, work.lost
    for lane in range(LANES):
        # Infinite limits reject nothing from a pixel that is done.
        below[lane] = low * spread[lane] if active[lane] else np.inf
        above[lane] = high * spread[lane] if active[lane] else np.inf
        lost[lane] = 0
    for j in range(count):
        far: Any = outlier_bits(value, j, centre, below, above)
        if far != 0:
            for lane in range(LANES):
                if far >> lane & 1:
                    away = value[j, lane] - centre[lane]
                    limit = high if away > 0.0 else low
                    variance = sigma[j] * sigma[j] + _model_variance(centre[lane], sky[lane])
                    if reach[lane] > 0.0:
                        variance += _psf_variance(reach[lane], psf[0, j], psf[1, j], usual[lane])
                    predicted = np.sqrt(variance)
                    if abs(away) <= limit * (LEAST_SIGMA * predicted):
                        far &= ~(1 << lane)
                    else:
                        lost[lane] += 1
        outlying[j] = far
    total = 0
    for lane in range(LANES):
        if lost[lane] > 0 and lost[lane] == n[lane]:
            _keep_nearest(rows, value, outlying, count, first[lane], n[lane], lane, centre[lane])
            lost[lane] -= 1
        active[lane] = active[lane] and lost[lane] > 0
        total += lost[lane]
    few = not last and total <= count // 4  # then removing them one by one is faster than sorting again
    for j in range(count):
        far = outlying[j]
        for lane in range(LANES):
            if far == 0:
                break
            if far >> lane & 1:
                if value[j, lane] < centre[lane]:
                    low_ones[j] |= 1 << lane
                if few:
                    _take_out(rows, first, n, lane, value[j, lane])
                value[j, lane] = _INFINITY
                far &= ~(1 << lane)
    if few:
        return
    for lane in range(LANES):
        n[lane] -= lost[lane]
    if not last:
        sort_into(rows, value, count)
        first[:] = 0


@jit
def _reject_few(
    value: Any, sigma: Any, count: int, n: int, lane: int, sky: float, steep: Any, limits: Any, low_ones: Any
) -> int:  # fmt: skip
    """Reject among 1 to 7 samples of a pixel by their predicted sigma, in two passes; return how many remain."""
    low, high = limits
    reach, usual, psf = steep
    v, s, at = np.empty(FEW_SAMPLES), np.empty(FEW_SAMPLES), np.empty(FEW_SAMPLES, np.int64)
    for _ in range(2):
        k = 0
        for j in range(count):  # in order of value, then of place
            if value[j, lane] < _INFINITY:
                variance = float(sigma[j]) * float(sigma[j])
                if reach[lane] > 0.0:
                    variance += _psf_variance(reach[lane], psf[0, j], psf[1, j], usual[lane])
                i = k
                while i > 0 and v[i - 1] > value[j, lane]:
                    v[i], s[i], at[i] = v[i - 1], s[i - 1], at[i - 1]
                    i -= 1
                v[i], s[i], at[i] = value[j, lane], variance, j
                k += 1
        if n < 2:
            return n
        lost = 0
        if n == 2:
            # Trails, cosmic rays and hot pixels only add light: the lower one is believed.
            if v[1] - v[0] > high * np.sqrt(s[0] + s[1] + _model_variance(v[0], sky)):
                value[at[1], lane] = _INFINITY
                lost = 1
        else:
            centre, best = 0.5 * (v[(n - 1) // 2] + v[n // 2]), 0
            model = _model_variance(centre, sky)
            for i in range(n):
                away = v[i] - centre
                if abs(away) < abs(v[best] - centre):
                    best = i
                if abs(away) > (high if away > 0.0 else low) * np.sqrt(s[i] + model):
                    value[at[i], lane] = _INFINITY
                    if away < 0.0:
                        low_ones[at[i]] |= 1 << lane
                    lost += 1
            if lost == n:
                value[at[best], lane] = v[best]
                low_ones[at[best]] &= ~(1 << lane)
                lost -= 1
        if lost == 0:
            return n
        n -= lost
    return n


@jit_inline
def _least(sigma: Any, count: int) -> float:
    """The least predicted sigma of the samples."""
    least = np.inf
    for j in range(count):
        least = min(least, float(sigma[j]))
    return least * _ROUNDED


@jit_borrowing
def _first_estimate(rows: Any, count: int, lane: int, sky: float) -> float:
    """The light of a pixel whose samples are sorted in `rows`; see `reference.scatter.first_estimate`."""
    if count < 2:
        return np.nan
    found = float(rows[(count - 1) // 4, lane])
    return max(found, min(float(rows[1, lane]), sky)) if 3 <= count <= 4 else found


@jit_borrowing
def _reject_in_passes(
    value: Any, sigma: Any, count: int, n: Any, sky: Any, how: int, limits: Any, work: Any, steep: Any, low_ones: Any,
    done: int, once: bool,
) -> None:  # fmt: skip
    """Reject among the active pixels, whose samples are sorted in `work.rows`: once, or until none is rejected.

    `done` passes were made before. The pixels that lost samples in the last pass remain active.
    """
    low, high, cut_low, cut_high = limits
    going = True
    while going and not (how == 1 and done == _KAPPA_PASSES):
        done += 1
        for lane in range(LANES):
            middle = median_of(work.rows, work.first[lane], n[lane], lane) if work.active[lane] else 0.0
            work.centre[lane] = middle
        if how == 1:
            _median_deviations(work, n)
        else:
            _winsorised_sigmas(work, count, n, cut_low, cut_high)
        _reject_once(value, sigma, count, n, (low, high), sky, steep, work, low_ones, once)
        going = False
        for lane in range(LANES):
            going = going or (work.active[lane] and not once)


@jit_borrowing
def reject_outliers(runs: Any, run: int, c: int, how: int, limits: Any, work: Any, once: bool) -> None:
    """Set the rejected samples of a channel of a run to +inf, and count those that remain.

    With `once` a single pass is made, and the pixels that lost samples in it are left active, for `reject_further`.
    """
    value, sigma, count, n = runs.value[run, c], runs.noise[run, c], runs.counts[run], runs.n[run, c]
    sky, steep, low_ones = runs.level[run], (runs.reach[run], runs.usual[run], runs.psf[run]), runs.low_ones[run]
    low, high, _, _ = limits
    going = False
    low_ones[:count] = 0
    sort_into(work.rows, value, count)
    work.first[:] = 0
    near = min(low, high) * _least(sigma, count)
    for lane in range(LANES):
        k = n[lane]
        work.active[lane] = k >= FEW_SAMPLES
        going = going or work.active[lane]
        runs.estimate[run, lane] = _first_estimate(work.rows, k, lane, sky[lane])
        # No sample is further from the middle than the samples are apart: most pixels lose none.
        apart = float(work.rows[k - 1, lane]) - float(work.rows[0, lane]) if k > 1 else 0.0
        if not work.active[lane] and k > 1 and not apart < near:
            n[lane] = _reject_few(value, sigma, count, k, lane, sky[lane], steep, (low, high), low_ones)
    if going:
        _reject_in_passes(value, sigma, count, n, sky, how, limits, work, steep, low_ones, 0, once)


@jit_borrowing
def reject_further(
    runs: Any, c: int, begin: int, end: int, how: int, limits: Any, work: Any, gathered: Any
) -> None:  # fmt: skip
    """Make all further passes for those pixels of the runs begin..end-1 that lost samples in the first one.

    They are few: gathered from many runs, `LANES` of them go through every step together. The runs are of the same
    subs.
    """
    filled = 0
    for run in range(begin, end):
        for lane in range(LANES):
            if runs.going[run, lane]:
                gathered.place[filled, 0], gathered.place[filled, 1] = run, lane
                filled += 1
                if filled == LANES:
                    _reject_gathered(runs, c, filled, how, limits, work, gathered)
                    filled = 0
    if filled > 0:
        _reject_gathered(runs, c, filled, how, limits, work, gathered)


@jit_borrowing
def _reject_gathered(runs: Any, c: int, filled: int, how: int, limits: Any, work: Any, gathered: Any) -> None:
    """Gather pixels of runs, reject among their samples, and put what is left of them back."""
    place, n, low_ones = gathered.place, gathered.n, gathered.low_ones
    some = place[0, 0]
    count = runs.counts[some]
    for slot in range(LANES):
        work.active[slot] = slot < filled
        run, lane = place[min(slot, filled - 1), 0], place[min(slot, filled - 1), 1]
        for j in range(count):
            gathered.value[j, slot] = runs.value[run, c, j, lane]
        n[slot], gathered.level[slot] = runs.n[run, c, lane], runs.level[run, lane]
        gathered.reach[slot], gathered.usual[slot] = runs.reach[run, lane], runs.usual[run, lane]
    low_ones[:count] = 0
    sort_into(work.rows, gathered.value, count)
    work.first[:] = 0
    _reject_in_passes(
        gathered.value, runs.noise[some, c], count, n, gathered.level, how, limits, work,
        (gathered.reach, gathered.usual, runs.psf[some]), low_ones, 1, False,
    )  # fmt: skip
    for slot in range(filled):
        run, lane = place[slot, 0], place[slot, 1]
        if n[slot] == runs.n[run, c, lane]:
            continue
        runs.n[run, c, lane] = n[slot]
        for j in range(count):
            runs.value[run, c, j, lane] = gathered.value[j, slot]
            runs.low_ones[run, j] |= (low_ones[j] >> slot & 1) << lane


@jit_borrowing
def count_drizzled(value: Any, share: Any, count: int, found: Any) -> None:
    """Count the samples of each pixel that have a drizzled value beside them."""
    found[:] = 0
    for j in range(count):
        for lane in range(LANES):
            found[lane] += value[j, lane] < _INFINITY and share[j, lane] > 0.0


@jit_borrowing
def _is_near(away: float, variance: float, bounds: Any) -> bool:
    limit = bounds[1] if away > 0.0 else bounds[0]
    return abs(away) <= limit * np.sqrt(variance)


@jit
def take_drizzled(
    value: Any, drizzled_value: Any, share: Any, noise: Any, count: int, n: Any, sky: Any, bounds: Any, rows: Any,
    steep: Any, low_ones: Any,
) -> None:  # fmt: skip
    """Replace the surviving samples by the drizzled values beside them, and count these.

    Values without weight are left out, and those too far from the median of the survivors unless all are.
    """
    reach, usual, psf = steep
    sort_into(rows, value, count)
    variance = np.empty(count)
    for lane in range(LANES):
        centre = median_of(rows, 0, n[lane], lane) if n[lane] > 0 else 0.0
        signal = DROP_SHARE * max(centre - sky[lane], 0.0)
        near = 0
        for j in range(count):
            if value[j, lane] < _INFINITY and share[j, lane] > 0.0:
                variance[j] = float(noise[j]) * float(noise[j]) + signal * signal
                if reach[lane] > 0.0:
                    variance[j] += _psf_variance(reach[lane], psf[0, j], psf[1, j], usual[lane])
                near += _is_near(drizzled_value[j, lane] - centre, variance[j], bounds)
        n[lane] = 0
        for j in range(count):
            if value[j, lane] < _INFINITY:
                there = share[j, lane] > 0.0
                away = drizzled_value[j, lane] - centre if there else 0.0
                taken = there and (near == 0 or _is_near(away, variance[j], bounds))
                if there and not taken and away < 0.0:
                    low_ones[j] |= 1 << lane
                value[j, lane] = drizzled_value[j, lane] if taken else _INFINITY
                n[lane] += taken
