"""Rejection and combination of the samples of a pixel: the fast twin of `reference.combine`.

`LANES` neighbouring pixels go through every step together; `rejecting` finds their outliers. The code is serial and
releases the interpreter's lock: callers spread bands of rows over threads. The result of a pixel does not depend on
where the bands begin.

Where light is steep, samples differ by their PSFs. A first pass combines all pixels without regard to that, and finds
a first estimate of the light on its way; only pixels that lost samples where that estimate is steep go through a
second one, which is all that the definition asks for: what survives a narrow limit survives a wider one too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing
from .pixel_runs import make_gathered, make_rejecting, make_runs
from .reference.combining import REJECT, CombineOptions
from .reference.scatter import RANGE_NOISE, RANGE_REACH
from .reference.tapers import LEAST_TAPER
from .rejecting import count_drizzled, median_of, reject_further, reject_outliers, sort_into, take_drizzled
from .sample_stack import CombinedRows, SampleStack, SkyLevel, Taper, squares_of
from .simd import LANES, load_scaled_colour, load_scaled_mono, weighted_sums

_INFINITY = np.float32(np.inf)
_NO_SPANS = np.zeros((0, 0, 0), np.float32)
_NO_LOOK = (np.zeros((0, 0, 0), np.float32), np.zeros((0, 0, 0), np.uint16))
_NOTHING_DRIZZLED = (np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))


@jit_borrowing
def _edge_share(edges: Any, k: int, x: float, y: float, feather: float, radial: Any) -> float:
    """Share of its weight that sub `k` has at (x, y); it falls towards its edges and, if wanted, with the radius."""
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


@jit_borrowing
def _find_edge_shares(edges: Any, k: int, x: int, y: int, feather: float, radial: Any, part: Any) -> None:
    """Fill in `_edge_share` of sub `k` at `LANES` pixels from (x, y) on."""
    if radial[k, 4] > 0.0:
        for lane in range(LANES):
            part[lane] = _edge_share(edges, k, x + lane, y, feather, radial)
        return
    part[:] = 1.0
    if feather > 0.0:
        for e in range(4):
            across, down, rest = edges[k, e, 0], edges[k, e, 1] * y, edges[k, e, 2]
            for lane in range(LANES):
                part[lane] = min(part[lane], (across * (x + lane) + down + rest) / feather)
        for lane in range(LANES):
            part[lane] = max(part[lane], LEAST_TAPER)


@jit_borrowing
def _find_whole_columns(taper: Any, y: int, left: int, width: int, whole: Any) -> None:
    """Fill in the first and the last column of a row between which each sub has its whole weight.

    They are a pixel inside of where its edges begin to count; (0, -1) stands for none, and for a sub whose
    weight falls with the radius.
    """
    edges, feather, radial = taper
    for k in range(edges.shape[0]):
        low, high = 0.0, width - 1.0
        if feather > 0.0:
            for e in range(4):
                slope, rest = edges[k, e, 0], edges[k, e, 1] * y + edges[k, e, 2] - feather
                if slope > 0.0:
                    low = max(low, min(1.0 - rest / slope - left, float(width)))
                elif slope < 0.0:
                    high = min(high, max(-1.0 - rest / slope - left, -1.0))
        first, last = int(np.ceil(low)), int(np.floor(high))
        known = first <= last and not radial[k, 4] > 0.0
        for x in (first, last):
            known = known and _edge_share(edges, k, left + x, y, feather, radial) == 1.0
        whole[k, 0], whole[k, 1] = (first, last) if known else (0, -1)


@jit_borrowing
def _sky_of_run(level: Any, step: int, row: int, first: int, c: int, into: Any) -> None:
    """Fill in the sky level at the pixels of a row: linear between the middles of cells, constant beyond them."""
    rows, columns = level.shape[0], level.shape[1]
    if rows == 1 and columns == 1:
        into[:] = level[0, 0, c]
        return
    y = min(max((row + 0.5) / step - 0.5, 0.0), rows - 1.0)
    j = min(int(y), max(rows - 2, 0))
    below = min(j + 1, rows - 1)
    for lane in range(LANES):
        x = min(max((first + lane + 0.5) / step - 0.5, 0.0), columns - 1.0)
        i = min(int(x), max(columns - 2, 0))
        right = min(i + 1, columns - 1)
        upper = level[j, i, c] + (x - i) * (level[j, right, c] - level[j, i, c])
        lower = level[below, i, c] + (x - i) * (level[below, right, c] - level[below, i, c])
        into[lane] = upper + (y - j) * (lower - upper)


@jit_borrowing
def _collect(
    samples: Any, start: Any, boxes: Any, row: int, first: int, last: int, scale: Any, taper: Any, tapers: Any,
    origin: Any, drizzled: Any, psfs: Any, runs: Any, run: int,
) -> None:  # fmt: skip
    """Collect the samples of the pixels first..last of a row in a run: one row of lanes for each sub."""
    gain, offset, weight, sigma = scale
    edges, feather, radial = taper
    part, whole_columns = tapers
    value, share, n, psf = runs.value[run], runs.share[run], runs.n[run], runs.psf[run]
    noise, drizzled_value, drizzle_noise = runs.noise[run], runs.drizzled[run], runs.drizzle_noise[run]
    channels, count = gain.shape[1], 0
    n[:] = 0
    for k in range(start.shape[0]):
        y0, y1, x0, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        if row < y0 or row >= y1 or x1 <= first or x0 >= last:
            continue
        whole = whole_columns[k, 0] <= first and last - 1 <= whole_columns[k, 1]
        if not whole:
            _find_edge_shares(edges, k, origin[1] + first, origin[0] + row, feather, radial, part)
        runs.subs[run, count] = k
        psf[0, count], psf[1, count] = psfs[k, 0], psfs[k, 1]
        for c in range(channels):
            noise[c, count] = sigma[k, c]
            if drizzled[0].shape[0] > 0:
                drizzle_noise[c, count] = drizzled[2][k, c]
        if x0 <= first and first + LANES <= x1 and drizzled[0].shape[0] == 0 and channels in (1, 3):
            at = start[k] + ((row - y0) * (x1 - x0) + first - x0) * channels
            for c in range(channels):
                if weight[k, c] > 0.0:
                    scaled = gain[k, c], offset[k, c], weight[k, c]
                    if channels == 3:
                        load_scaled_colour(samples, at + c, *scaled, value[c], share[c], count, n[c])
                    else:
                        load_scaled_mono(samples, at + c, *scaled, value[c], share[c], count, n[c])
                    if not whole:
                        for lane in range(LANES):
                            share[c, count, lane] *= part[lane]
                else:
                    value[c, count, :] = _INFINITY
                    share[c, count, :] = np.float32(0.0)
            count += 1
            continue
        for c in range(channels):
            value[c, count, :] = _INFINITY
            share[c, count, :] = np.float32(0.0)
        begin, end = max(first, x0), min(last, x1)
        at = start[k] + ((row - y0) * (x1 - x0) + begin - x0) * channels
        for lane in range(begin - first, end - first):
            for c in range(channels):
                scaled = samples[at] * gain[k, c] + offset[k, c]
                if abs(scaled) < _INFINITY and weight[k, c] > 0.0:
                    value[c, count, lane] = scaled
                    share[c, count, lane] = weight[k, c] if whole else part[lane] * weight[k, c]
                    if drizzled[0].shape[0] > 0:
                        drizzled_value[c, count, lane] = drizzled[0][at] * gain[k, c] + offset[k, c]
                        share[c, count, lane] *= drizzled[1][at]
                    n[c, lane] += 1
                at += 1
        count += 1
    runs.first[run], runs.counts[run] = first, count


@jit_borrowing
def _count_low(low_ones: Any, share: Any, count: int, drizzles: bool, low: Any) -> None:
    """Count the samples below the centre that each pixel lost, of those that could have been used."""
    low[:] = 0
    for j in range(count):
        bits = low_ones[j]
        for lane in range(LANES):
            if bits == 0:
                break
            if bits >> lane & 1:
                low[lane] += not drizzles or share[j, lane] > 0.0
                bits &= ~(1 << lane)


@jit_borrowing
def _measure_steep(value: Any, sigma: Any, count: int, span: Any, psf: Any, reach: Any, usual: Any) -> None:
    """Range of the light at pixels where it is looked at, less what is noise, and their mean square of the FWHM."""
    for lane in range(LANES):
        reach[lane], usual[lane] = 0.0, 1.0
        if span[lane] > 0.0:
            n, squares, variance = 0, 0.0, 0.0
            for j in range(count):
                if value[j, lane] < _INFINITY:
                    n += 1
                    squares += psf[0, j]
                    variance += float(sigma[j]) * float(sigma[j])
            if n > 0:
                usual[lane] = squares / n
                reach[lane] = max(span[lane] - RANGE_NOISE * (np.sqrt(variance) / n), 0.0)


@jit_borrowing
def _plain_means(value: Any, drizzled_value: Any, share: Any, count: int, drizzles: bool, span: Any, mean: Any) -> None:
    """Weighted means of all samples, or of all drops, of the pixels that are looked at."""
    for lane in range(LANES):
        mean[lane] = 0.0
        if span[lane] > 0.0:
            total, weights = 0.0, 0.0
            for j in range(count):
                if value[j, lane] < _INFINITY and share[j, lane] > 0.0:
                    one = drizzled_value[j, lane] if drizzles else value[j, lane]
                    total += float(share[j, lane]) * float(one)
                    weights += float(share[j, lane])
            mean[lane] = total / weights if weights > 0.0 else np.nan


@jit_borrowing
def _write_pixels(
    row: int, first: int, last: int, c: int, again: bool, span: Any, median: bool, rows: Any, sums: Any, counts: Any,
    reach: Any, plain: Any, out: Any,
) -> None:  # fmt: skip
    """Write the pixels first..last of a row of the output; if again, only those that are looked at."""
    out_value, out_weight, out_coverage, out_rejected, out_low, out_taken = out
    total, weight, variance = sums
    kept, found, low = counts
    for lane in range(last - first):
        x, k = first + lane, kept[lane]
        if again and not span[lane] > 0.0:
            continue
        combined, certainty = np.nan, 0.0
        if k > 0:
            certainty = weight[lane] * weight[lane] / variance[lane] if variance[lane] > 0.0 else weight[lane]
            combined = total[lane] / weight[lane]
            if median:
                combined = median_of(rows, 0, k, lane)
                certainty /= 0.5 * np.pi if k > 2 else 1.0
        out_value[row, x, c] = combined
        out_weight[row, x, c] = certainty
        out_coverage[row, x, c] = k
        out_rejected[row, x, c] = found[lane] - k
        out_low[row, x, c] = low[lane]
        # A median differs from the mean without any rejection.
        lost_light = reach[lane] > 0.0 and k < found[lane] and not median
        out_taken[row, x, c] = plain[lane] - combined if lost_light else 0.0


@jit_borrowing
def _is_looked_at(span: Any, first: int, last: int) -> bool:
    """True if any of the pixels first..last of a row is looked at again."""
    for x in range(first, last):
        for c in range(span.shape[1]):
            if span[x, c] > 0.0:
                return True
    return False


@jit_borrowing
def _are_of_same_subs(runs: Any, one: int, other: int) -> bool:
    """True if two runs have samples of the same subs."""
    same = runs.counts[one] == runs.counts[other]
    for j in range(runs.counts[one] if same else 0):
        same = same and runs.subs[one, j] == runs.subs[other, j]
    return same


@jit_borrowing
def _reject_in_runs(
    runs: Any, c: int, number: int, reject: int, limits: Any, work: Any, gathered: Any
) -> None:  # fmt: skip
    """Reject outliers among the samples of one channel of neighbouring runs."""
    begin = 0
    while begin < number:
        end = begin + 1
        while end < number and _are_of_same_subs(runs, begin, end):
            end += 1
        once = end - begin > 1
        for run in range(begin, end):
            runs.going[run, :] = False
            if not runs.skipped[run]:
                reject_outliers(runs, run, c, reject, limits, work, once)
                for lane in range(LANES):
                    runs.going[run, lane] = work.active[lane]
        if once:
            reject_further(runs, c, begin, end, reject, limits, work, gathered)
        begin = end


@jit_borrowing
def _look_at_run(runs: Any, run: int, c: int, drizzles: bool, spans: Any) -> bool:
    """Measure how steep the light is at the pixels of a run that are looked at again; True if there are any.

    `spans` are those of the pixels of the run.
    """
    wanted = False
    for lane in range(LANES):
        runs.span[run, lane] = spans[lane, c] if lane < spans.shape[0] else 0.0
        wanted = wanted or runs.span[run, lane] > 0.0
    if wanted:
        value, count, span = runs.value[run, c], runs.counts[run], runs.span[run]
        _measure_steep(value, runs.noise[run, c], count, span, runs.psf[run], runs.reach[run], runs.usual[run])
        of_drops = runs.drizzled[run, c] if drizzles else value
        _plain_means(value, of_drops, runs.share[run, c], count, drizzles, span, runs.plain[run])
    return wanted


@jit_borrowing
def _finish_run(
    runs: Any, run: int, c: int, drizzles: bool, bounds: Any, median: bool, again: bool, row: int, rows: Any,
    sums: Any, low: Any, out: Any,
) -> None:  # fmt: skip
    """Add up the samples that are left of the pixels of a run, and write what they are combined to."""
    value, share, n, count = runs.value[run, c], runs.share[run, c], runs.n[run, c], runs.counts[run]
    sigma, reach = runs.noise[run, c], runs.reach[run]
    if drizzles:
        sigma = runs.drizzle_noise[run, c]
        take_drizzled(
            value, runs.drizzled[run, c], share, sigma, count, n, runs.level[run], bounds, rows,
            (reach, runs.usual[run], runs.psf[run]), runs.low_ones[run],
        )  # fmt: skip
    _count_low(runs.low_ones[run], share, count, drizzles, low)
    weighted_sums(value, share, sigma, count, sums[0], sums[1], sums[2])
    if median:
        sort_into(rows, value, count)
    first, width = runs.first[run], out[0].shape[1]
    _write_pixels(
        row, first, min(first + LANES, width), c, again, runs.span[run], median, rows, sums,
        (n, runs.found[run], low), reach, runs.plain[run], out,
    )  # fmt: skip


@jit_borrowing
def _collect_runs(
    samples: Any, start: Any, boxes: Any, row: int, columns: Any, scale: Any, taper: Any, tapers: Any, origin: Any,
    drizzled: Any, psfs: Any, spans: Any, runs: Any,
) -> int:  # fmt: skip
    """Collect the samples of the runs between two columns of a row, with `spans` of those that are looked at again."""
    number, (left, right) = 0, columns
    for first in range(left, right, LANES):
        last = min(first + LANES, right)
        if spans.shape[0] == 0 or _is_looked_at(spans, first, last):
            _collect(
                samples, start, boxes, row, first, last, scale, taper, tapers, origin, drizzled, psfs, runs, number
            )
            number += 1
    return number


@jit_borrowing
def _prepare_run(runs: Any, run: int, c: int, drizzles: bool, sky: Any, row: int, column: int) -> None:
    """Count the samples of a channel of a run that may be used, and find the level of the sky at its pixels."""
    for lane in range(LANES):
        runs.found[run, lane] = runs.n[run, c, lane]
    if drizzles:
        count_drizzled(runs.value[run, c], runs.share[run, c], runs.counts[run], runs.found[run])
    _sky_of_run(sky[0], sky[1], row, column + runs.first[run], c, runs.level[run])
    runs.low_ones[run, : runs.counts[run]] = 0


@jit_borrowing
def _write_look(first_look: Any, number: int, row: int, c: int, runs: Any, is_estimate: bool) -> None:
    """Write the number of samples of the pixels of some runs, or the first estimate of their light."""
    for run in range(number):
        first = runs.first[run]
        for lane in range(min(LANES, first_look[0].shape[1] - first)):
            if is_estimate:
                first_look[0][row, first + lane, c] = runs.estimate[run, lane]
            else:
                first_look[1][row, first + lane, c] = runs.n[run, c, lane]


@jit_borrowing
def _combine_runs(
    samples: Any, start: Any, boxes: Any, rows_of: Any, scale: Any, taper: Any, sky: Any, origin: Any, reject: int,
    limits: Any, median: bool, drizzled: Any, psfs: Any, spans: Any, first_look: Any, out: Any, runs: Any, work: Any,
    gathered: Any, tapers: Any, sums: Any, low: Any,
) -> None:  # fmt: skip
    """Do what `_combine_rows` says, some runs of `LANES` pixels at a time, in the memory that it has made."""
    width, channels = out[0].shape[1], out[0].shape[2]
    again, looks, drizzles = spans.shape[0] > 0, first_look[0].shape[0] > 0, drizzled[0].shape[0] > 0
    row0, row1, top, bottom = rows_of
    bounds = (limits[0], limits[1]) if reject != 0 else (np.inf, np.inf)
    wide = LANES * runs.counts.size
    for row in range(top, bottom):
        y = origin[0] + row
        _find_whole_columns(taper, y, origin[1], width, tapers[1])
        spans_of_row = spans[row - row0] if again else spans[:, 0]
        for left in range(0, width, wide):
            columns = left, min(left + wide, width)
            number = _collect_runs(
                samples, start, boxes, row, columns, scale, taper, tapers, origin, drizzled, psfs, spans_of_row, runs
            )
            for c in range(channels):
                if looks:
                    _write_look(first_look, number, row - top, c, runs, False)
                for run in range(number):
                    pixels = slice(runs.first[run], runs.first[run] + LANES)
                    runs.skipped[run] = again and not _look_at_run(runs, run, c, drizzles, spans_of_row[pixels])
                    _prepare_run(runs, run, c, drizzles, sky, y, origin[1])
                if reject != 0:
                    _reject_in_runs(runs, c, number, reject, limits, work, gathered)
                if looks:
                    _write_look(first_look, number, row - top, c, runs, True)
                for run in range(number if row0 <= row < row1 else 0):
                    if not runs.skipped[run]:
                        _finish_run(
                            runs, run, c, drizzles, bounds, median, again, row - row0, work.rows, sums, low, out
                        )


@jit
def _combine_rows(
    samples: Any, start: Any, boxes: Any, rows_of: Any, scale: Any, taper: Any, sky: Any, origin: Any, reject: int,
    limits: Any, median: bool, drizzled: Any, psfs: Any, spans: Any, first_look: Any, out: Any,
) -> None:  # fmt: skip
    """Combine rows of pixels: all of them, or with `spans` those above 0 in it, again.

    With `first_look` the first estimate and the number of samples of every pixel are written to it; it has rows above
    and below those of `out`, in which nothing else is done.
    """
    most = start.shape[0]
    runs = make_runs(out[0].shape[2], most, drizzled[0].shape[0] > 0)
    tapers = np.empty(LANES), np.empty((most, 2), np.int64)
    sums, low = (np.empty(LANES), np.empty(LANES), np.empty(LANES)), np.empty(LANES, np.int64)
    _combine_runs(
        samples, start, boxes, rows_of, scale, taper, sky, origin, reject, limits, median, drizzled, psfs, spans,
        first_look, out, runs, make_rejecting(most), make_gathered(most), tapers, sums, low,
    )  # fmt: skip


@jit
def _steep_spans(estimate: Any, count: Any, rejected: Any, least_sigma: Any, lead: int, spans: Any) -> None:
    """Range of the light around the pixels that lost samples, 0 where noise alone explains it or none was lost.

    `estimate` and `count` have `lead` rows more at their top than `rejected` and `spans`.
    """
    rows, width, channels = estimate.shape
    height, reach = rejected.shape[0], RANGE_REACH - 1
    line = width * channels
    flat = estimate.reshape(rows, line)
    mean = np.empty((rows, line), np.float32)
    total, there = np.empty(line, np.float32), np.empty(line, np.float32)
    for row in range(rows):
        total[:], there[:] = np.float32(0.0), np.float32(0.0)
        for other in range(max(row - 1, 0), min(row + 2, rows)):
            for i in range(line):
                known = flat[other, i] == flat[other, i]
                total[i] += flat[other, i] if known else np.float32(0.0)
                there[i] += np.float32(1.0) if known else np.float32(0.0)
        for i in range(line):
            left, right = max(i - channels, i % channels), min(i + channels, line - channels + i % channels)
            value, weight = total[i], there[i]
            if left != i:
                value, weight = value + total[left], weight + there[left]
            if right != i:
                value, weight = value + total[right], weight + there[right]
            mean[row, i] = value / weight if flat[row, i] == flat[row, i] else np.float32(np.nan)
    highest, lowest = np.empty(line, np.float32), np.empty(line, np.float32)
    for row in range(height):
        highest[:], lowest[:] = -_INFINITY, _INFINITY
        at = row + lead
        for other in range(max(at - reach, 0), min(at + reach + 1, rows)):
            for i in range(line):
                highest[i] = mean[other, i] if mean[other, i] > highest[i] else highest[i]
                lowest[i] = mean[other, i] if mean[other, i] < lowest[i] else lowest[i]
        for x in range(width):
            for c in range(channels):
                spans[row, x, c] = np.float32(0.0)
                if rejected[row, x, c] == 0:
                    continue
                most, least = -_INFINITY, _INFINITY
                for other in range(max(x - reach, 0), min(x + reach + 1, width)):
                    most = max(most, highest[other * channels + c])
                    least = min(least, lowest[other * channels + c])
                # No pixel has less noise than one whose samples have all the least.
                noise = RANGE_NOISE * least_sigma[c] / np.sqrt(max(1.0, float(count[at, x, c])))
                if most - least > noise:
                    spans[row, x, c] = most - least


def combine_rows(
    stack: SampleStack,
    taper: Taper,
    sky: SkyLevel,
    options: CombineOptions,
    out: CombinedRows,
    *,
    first_row: int = 0,
    origin: tuple[int, int] = (0, 0),
) -> None:
    """Combine rows of a tile from the resampled pieces of N subs; the fast twin of `reference.combine`.

    Parameters
    ----------
    stack : SampleStack
    taper : Taper
    sky : SkyLevel
    options : CombineOptions
    out : CombinedRows
        Rows of the tile from `first_row` on, over its whole width; written.
    first_row : int
    origin : tuple of int
        Row and column of the tile's first pixel where `taper` and `sky` are counted.

    Raises
    ------
    ValueError
        If the arrays of `out` do not have one shape, with the channels of the stack.
    """
    out.check(stack)
    scale = stack.gain, stack.offset, stack.weight, stack.sigma
    begin, end = int(first_row), int(first_row) + out.value.shape[0]
    common = (
        tuple(np.ascontiguousarray(array, dtype=np.float32) for array in scale),
        (
            np.ascontiguousarray(taper.edges, dtype=np.float64),
            float(taper.feather_px),
            np.ascontiguousarray(taper.radial, dtype=np.float64),
        ),
        (sky.at_cells(), int(sky.cell_px)),
        (int(origin[0]), int(origin[1])),
        REJECT[options.reject],
        (float(options.kappa_low), float(options.kappa_high), float(options.winsor_low), float(options.winsor_high)),
        options.combine == "median",
        _NOTHING_DRIZZLED if stack.drizzled is None else tuple(np.asarray(array) for array in stack.drizzled),
        squares_of(stack),
    )
    subs = (
        np.asarray(stack.samples),
        np.ascontiguousarray(stack.start, dtype=np.int64),
        np.ascontiguousarray(stack.boxes, dtype=np.int64),
    )
    if stack.psfs is None or options.reject == "none":
        _combine_rows(*subs, (begin, end, begin, end), *common, _NO_SPANS, _NO_LOOK, tuple(out))
        return
    top, bottom = max(0, begin - RANGE_REACH), end + RANGE_REACH
    shape = bottom - top, *out.value.shape[1:]
    look = np.empty(shape, np.float32), np.empty(shape, np.uint16)
    _combine_rows(*subs, (begin, end, top, bottom), *common, _NO_SPANS, look, tuple(out))
    spans = np.empty(out.value.shape, np.float32)
    _steep_spans(*look, out.rejected, stack.least_sigma(), begin - top, spans)
    _combine_rows(*subs, (begin, end, begin, end), *common, spans, _NO_LOOK, tuple(out))
