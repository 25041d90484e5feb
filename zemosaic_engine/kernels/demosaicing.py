"""Interpolation of a Bayer mosaic, colour by colour: the fast twin of `reference.demosaic`.

The mosaic is split into four planes, one for each site of the pattern, in which neighbours of one colour lie side by
side; every tap then is one multiply-add of two rows. Kernels that are products of two are applied one direction after
the other. The code is serial and releases the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing, jit_inline
from .fused import fma
from .reference import demosaicing as reference

_HALF_WEIGHT = np.float32(reference.HALF_WEIGHT)
_INFINITY = np.float32(np.inf)
_BORROWED, _REST = np.float32(reference.BORROWED), np.float32(1.0 - reference.GREEN_NOISE)
_USUAL_RATIO, _LARGEST_RATIO = np.float32(reference.USUAL_RATIO), np.float32(reference.LARGEST_RATIO)
_STEEP, _PEAK = np.float32(reference.STEEP), np.float32(reference.PEAK)
_OUTER, _INNER, _MIDDLE = (np.float32(weight) for weight in reference.SHARE_WINDOW[:3])
_BALANCE_REACH, _NEAR_CELLS = reference.BALANCE_REACH, reference.NEAR_CELLS
#: Cells around the part that is wanted whose interpolated values matter: two steps of `BALANCE_REACH` pixels.
_AROUND = 4


# ---------------------------------------------------------------------------- sums over taps


@jit_borrowing
def _add_six(total: Any, w: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> None:
    """Six weighted rows."""
    for x in range(total.shape[0]):
        three = fma(w[2], c[x], fma(w[1], b[x], w[0] * a[x]))
        total[x] = fma(w[5], f[x], fma(w[4], e[x], fma(w[3], d[x], three)))


@jit_borrowing
def _sum_of_six(planes: Any, taps: Any, weights: Any, row: int, margin: int, out: Any) -> None:
    """Sum over six taps along a row of sites that begins `margin` sites from the border."""
    end = margin + out.shape[0]
    _add_six(
        out,
        weights,
        planes[taps[0, 0], row + taps[0, 1], margin + taps[0, 2] : end + taps[0, 2]],
        planes[taps[1, 0], row + taps[1, 1], margin + taps[1, 2] : end + taps[1, 2]],
        planes[taps[2, 0], row + taps[2, 1], margin + taps[2, 2] : end + taps[2, 2]],
        planes[taps[3, 0], row + taps[3, 1], margin + taps[3, 2] : end + taps[3, 2]],
        planes[taps[4, 0], row + taps[4, 1], margin + taps[4, 2] : end + taps[4, 2]],
        planes[taps[5, 0], row + taps[5, 1], margin + taps[5, 2] : end + taps[5, 2]],
    )


@jit_borrowing
def _is_finite(values: Any) -> bool:
    """True if all values of a row are finite."""
    missing = 0
    for x in range(values.shape[0]):
        missing |= not abs(values[x]) < _INFINITY
    return missing == 0


@jit_borrowing
def _over_valid(
    own: Any, green: Any, is_difference: bool, share: Any, taps: Any, weights: Any, row: int, column: int
) -> Any:
    """Sum of the finite taps, or of their differences to a share of green, renormalised and limited to their range.

    NaN with less than half of the weight.
    """
    total, remaining = np.float32(0.0), np.float32(0.0)
    low, high = _INFINITY, -_INFINITY
    for k in range(weights.shape[0]):
        plane, y, x = taps[k, 0], row + taps[k, 1], column + taps[k, 2]
        value = own[plane, y, x]
        if is_difference:
            value -= share * green[plane, y, x]
        if abs(value) < _INFINITY:
            total += weights[k] * value
            remaining += weights[k]
            low, high = min(low, value), max(high, value)
    if remaining < _HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / remaining, low), high)


# ---------------------------------------------------------------------------- green


@jit_borrowing
def _find_corners(planes: Any, site: int, taps: Any, weights: Any, out: Any) -> None:
    """Green at a corner of each site, along the diagonal of the lattice on which the corner lies between samples."""
    height, width = out.shape
    for row in range(1, height - 2):
        _sum_of_six(planes, taps.to_corner[site], weights.line, row, 2, out[row, 2 : width - 1])


@jit_borrowing
def _interpolate_green(planes: Any, corners: Any, site: int, taps: Any, weights: Any, first: int, out: Any) -> None:
    """Green at the sites of red or blue, along the other diagonal from the corners."""
    height, width = out.shape
    for row in range(first, height - first):
        total = out[row, first : width - first]
        _sum_of_six(corners, taps.from_corners[site], weights.line, row, first, total)
        # A tap that is not finite makes the sum so; only then are the taps tested one by one.
        if _is_finite(total):
            continue
        for x in range(total.shape[0]):
            if not abs(total[x]) < _INFINITY:
                total[x] = _over_valid(
                    planes, planes, False, np.float32(0.0), taps.green[site], weights.green, row, first + x
                )


# ---------------------------------------------------------------------------- saturated cores


@jit
def _weight_of_cores(cores: Any, taps: Any, weights: Any, row: int, column: int) -> Any:
    """Weight of those taps of a site that are cores."""
    total = np.float32(0.0)
    for k in range(weights.shape[0]):
        if cores[taps[k, 0], row + taps[k, 1], column + taps[k, 2]]:
            total += weights[k]
    return total


@jit
def _drop_green(cores: Any, channels: Any, taps: Any, weights: Any, first: int, green: Any) -> None:
    """Make green NaN where cores have more than half of the weight: only a core beside a pixel has so much."""
    for site in range(cores.shape[0]):
        if channels[site] == 1:
            continue
        for row in range(first, cores.shape[1] - first):
            for x in range(first, cores.shape[2] - first):
                if not (
                    cores[site ^ 1, row, x] or cores[site ^ 1, row, x - 1 + 2 * (site % 2)]
                    or cores[site ^ 2, row, x] or cores[site ^ 2, row - 1 + 2 * (site // 2), x]
                ):  # fmt: skip
                    continue
                weight = _weight_of_cores(cores, taps.green[site], weights.green, row, x)
                if np.float32(1.0) - weight < _HALF_WEIGHT:
                    green[site, row, x] = np.nan


@jit
def _cells_near(cores: Any, first: int) -> Any:
    """Which cells that are `first` cells from the border have a core near them."""
    count, height, width = cores.shape
    near = np.zeros((height, width), np.bool_)
    for site in range(count):
        for row in range(first - _NEAR_CELLS, height - first + _NEAR_CELLS):
            for x in range(first - _NEAR_CELLS, width - first + _NEAR_CELLS):
                if cores[site, row, x]:
                    near[
                        max(row - _NEAR_CELLS, first) : min(row + _NEAR_CELLS + 1, height - first),
                        max(x - _NEAR_CELLS, first) : min(x + _NEAR_CELLS + 1, width - first),
                    ] = True
    return near


# ---------------------------------------------------------------------------- the share of green detail


@jit_borrowing
def _products(green: Any, next_green: Any, own: Any, next_own: Any, sums: Any) -> None:
    """Products of differences of two neighbours: of green, of both, and of the colour; 0 where one is not finite."""
    for x in range(green.shape[0]):
        g, c = next_green[x] - green[x], next_own[x] - own[x]
        finite = abs(g) < _INFINITY and abs(c) < _INFINITY
        g, c = g if finite else np.float32(0.0), c if finite else np.float32(0.0)
        sums[0, x] = g * g
        sums[1, x] = g * c
        sums[2, x] = c * c


@jit_borrowing
def _around_sites(along: Any, above: Any, below: Any, out: Any) -> None:
    """Products of a site with its four neighbours, summed over five sites along the row with the window's weights."""
    length = out.shape[0]
    for x in range(length):
        out[x] = (along[x] + along[x + 1]) + (above[x + 1] + below[x + 1])


@jit_borrowing
def _smooth_row(found: Any, out: Any) -> None:
    """Sums over five neighbours along a row with the weights of the window."""
    for x in range(out.shape[0]):
        far, near = found[x] + found[x + 4], found[x + 1] + found[x + 3]
        out[x] = fma(_MIDDLE, found[x + 2], fma(_INNER, near, _OUTER * far))


@jit_inline
def _over_five(rows: Any, which: int, y: int, x: int) -> Any:
    far, near = rows[which, y - 2, x] + rows[which, y + 2, x], rows[which, y - 1, x] + rows[which, y + 1, x]
    return fma(_MIDDLE, rows[which, y, x], fma(_INNER, near, _OUTER * far))


@jit_borrowing
def _shares_of_row(smooth: Any, y: int, share: Any, steep: Any) -> None:
    """Share of green detail of a row of cells, and whether their light is steep."""
    for x in range(share.shape[0]):
        green_2, common, own_2 = _over_five(smooth, 0, y, x), _over_five(smooth, 1, y, x), _over_five(smooth, 2, y, x)
        square = common * common
        explained = square / green_2 if green_2 > np.float32(0.0) else square
        unexplained = own_2 - explained
        unexplained = unexplained if unexplained > np.float32(0.0) else np.float32(0.0)
        total = fma(_REST, unexplained, green_2)
        ratio = fma(_USUAL_RATIO, unexplained, common)
        ratio = ratio / total if total > np.float32(0.0) else _USUAL_RATIO
        ratio = ratio if ratio > np.float32(0.0) else np.float32(0.0)
        share[x] = _BORROWED * (ratio if ratio < _LARGEST_RATIO else _LARGEST_RATIO)
        steep[x] = common > np.float32(0.0) and square > _STEEP * (green_2 * own_2)


@jit
def _local_shares(own: Any, green: Any, first: int, share: Any, steep: Any) -> None:
    """Fill in the share of each cell that is `first` cells from the border, of one colour."""
    height, width = own.shape
    begin, end = first - 3, width - first + 3  # differences to either side, and two sites more for the window
    length = end - begin - 2
    along, found = np.empty((3, length + 1), np.float32), np.empty(length, np.float32)
    across = np.empty((2, 3, length + 2), np.float32)
    smooth = np.empty((3, height, length - 4), np.float32)
    _products(
        green[first - 3, begin:end], green[first - 2, begin:end], own[first - 3, begin:end], own[first - 2, begin:end],
        across[0],
    )  # fmt: skip
    for row in range(first - 2, height - first + 2):
        above, below = across[(row - first) % 2], across[(row - first + 1) % 2]
        g, c = green[row, begin:end], own[row, begin:end]
        _products(g, green[row + 1, begin:end], c, own[row + 1, begin:end], below)
        _products(g[:-1], g[1:], c[:-1], c[1:], along)
        for which in range(3):
            _around_sites(along[which], above[which], below[which], found)
            _smooth_row(found, smooth[which, row])
    for row in range(first, height - first):
        _shares_of_row(smooth, row, share[row, first : width - first], steep[row, first : width - first])


# ---------------------------------------------------------------------------- red and blue


@jit_borrowing
def _add_detail(own: Any, low_green: Any, green: Any, share: Any, out: Any) -> None:
    """The interpolated colour and a share of what green shows beyond its own interpolation."""
    for x in range(out.shape[0]):
        out[x] = fma(share[x], green[x] - low_green[x], own[x])


@jit_borrowing
def _mend_row(
    planes: Any, green: Any, share: Any, here: Any, taps: Any, weights: Any, row: int, first: int, out: Any
) -> None:
    """Interpolate over the valid taps where one of them is not finite."""
    if _is_finite(out):
        return
    for x in range(out.shape[0]):
        if not abs(out[x]) < _INFINITY:
            out[x] = share[x] * here[x] + _over_valid(planes, green, True, share[x], taps, weights, row, first + x)


@jit
def _interpolate_colour(
    planes: Any, green: Any, site: int, taps: Any, weights: Any, first: int, share: Any, colour: Any
) -> None:
    """Red or blue at the three sites of a cell that have no sample of it."""
    beside, above, diagonal = site ^ 1, site ^ 2, site ^ 3
    height, width = share.shape
    length, into = width - 2 * first, slice(first, width - first)
    in_row, green_in_row = np.empty_like(planes), np.empty_like(planes)
    own, low_green = np.empty(length, np.float32), np.empty(length, np.float32)
    for row in range(first - 3, height - first + 3):
        _sum_of_six(planes, taps.along[beside], weights.line, row, first, in_row[beside, row, into])
        _sum_of_six(green, taps.along[beside], weights.line, row, first, green_in_row[beside, row, into])
    for row in range(first, height - first):
        amount = share[row, into]
        here, out = green[beside, row, into], colour[beside, row, into]
        _add_detail(in_row[beside, row, into], green_in_row[beside, row, into], here, amount, out)
        _mend_row(planes, green, amount, here, taps.along[beside], weights.line, row, first, out)
        here, out = green[above, row, into], colour[above, row, into]
        _sum_of_six(planes, taps.down[above], weights.line, row, first, own)
        _sum_of_six(green, taps.down[above], weights.line, row, first, low_green)
        _add_detail(own, low_green, here, amount, out)
        _mend_row(planes, green, amount, here, taps.down[above], weights.line, row, first, out)
        here, out = green[diagonal, row, into], colour[diagonal, row, into]
        _sum_of_six(in_row, taps.down[diagonal], weights.line, row, first, own)
        _sum_of_six(green_in_row, taps.down[diagonal], weights.line, row, first, low_green)
        _add_detail(own, low_green, here, amount, out)
        _mend_row(planes, green, amount, here, taps.diagonal[diagonal], weights.diagonal, row, first, out)


# ---------------------------------------------------------------------------- bounds where light is steep


@jit_borrowing
def _core_range(planes: Any, green: Any, core: Any, row: int, column: int) -> Any:
    """Lowest and highest of the samples around a site, and the highest green at their sites."""
    low, high, green_high = _INFINITY, -_INFINITY, -_INFINITY
    for k in range(core.shape[0]):
        plane, y, x = core[k, 0], row + core[k, 1], column + core[k, 2]
        value = planes[plane, y, x]
        if abs(value) < _INFINITY:
            low, high = min(low, value), max(high, value)
            if abs(green[plane, y, x]) < _INFINITY:
                green_high = max(green_high, green[plane, y, x])
    return low, high, green_high


@jit_borrowing
def _count(flags: Any) -> int:
    """How many flags of a row are set."""
    count = 0
    for x in range(flags.shape[0]):
        count += flags[x]
    return count


@jit
def _steep_cells(steep: Any, first: int) -> Any:
    """Rows and columns of the steep cells that are `first` cells from the border."""
    height, width = steep.shape
    counts = np.zeros(height, np.int64)
    for row in range(first, height - first):
        counts[row] = _count(steep[row, first : width - first])
    total, found = 0, 0
    for row in range(height):
        total += counts[row]
    places = np.empty((total, 2), np.int64)
    for row in range(first, height - first):
        for column in range(first, width - first if counts[row] else first):
            if steep[row, column]:
                places[found, 0], places[found, 1] = row, column
                found += 1
    return places


@jit
def _core_of(taps: Any, sample_site: int, site: int) -> Any:
    """Core of a site for the colour of which `sample_site` has the samples, or for green with -1; empty for samples."""
    if sample_site < 0:
        return taps.core_green[site]
    if site == sample_site:
        return taps.core_green[site][:0]
    if site == sample_site ^ 1:
        return taps.core_beside[site]
    return taps.core_above[site] if site == sample_site ^ 2 else taps.core_diagonal[site]


@jit_borrowing
def _find_bounds(
    planes: Any, values: Any, green: Any, rises: bool, share: Any, core: Any, site: int, cells: Any,
    low: Any, highest: Any,
) -> bool:  # fmt: skip
    """Fill in the bounds of one site of steep cells, NaN where there are none; True if any value lies outside."""
    is_outside = False
    for n in range(cells.shape[0]):
        row, x = cells[n]
        value = values[row, x]
        least, most, green_high = _core_range(planes, green, core, row, x)
        if not (abs(value) < _INFINITY and least < _INFINITY):
            low[row, x] = np.nan
            continue
        top = most + _PEAK * (most - least)
        if rises and abs(green_high) < _INFINITY:
            top += max(share[row, x] * (green[site, row, x] - green_high), np.float32(0.0))
        low[row, x], highest[row, x] = least, top
        is_outside = is_outside or value < least or value > top
    return is_outside


@jit_inline
def _room(colour: Any, steep: Any, low: Any, y: int, x: int, least: Any) -> Any:
    """How far the value of a pixel that has a bound lies above another bound; 0 for others."""
    site, row, column = 2 * (y & 1) + (x & 1), y >> 1, x >> 1
    if not steep[row, column] or low[site, row, column] != low[site, row, column]:
        return np.float32(0.0)
    return max(colour[site, row, column] - least, np.float32(0.0))


@jit_borrowing
def _give(colour: Any, steep: Any, low: Any, y: int, x: int, taken: Any) -> None:
    """Note what the values around a pixel give so that it reaches its bound."""
    site, row, column = 2 * (y & 1) + (x & 1), y >> 1, x >> 1
    least, room = low[site, row, column], np.float32(0.0)
    for v in range(y - _BALANCE_REACH, y + _BALANCE_REACH + 1):
        for u in range(x - _BALANCE_REACH, x + _BALANCE_REACH + 1):
            room += _room(colour, steep, low, v, u, least)
    if not room > np.float32(0.0):
        return
    part = min((least - colour[site, row, column]) / room, np.float32(1.0))
    for v in range(y - _BALANCE_REACH, y + _BALANCE_REACH + 1):
        for u in range(x - _BALANCE_REACH, x + _BALANCE_REACH + 1):
            more = part * _room(colour, steep, low, v, u, least)
            if more > np.float32(0.0):
                taken[2 * (v & 1) + (u & 1), v >> 1, u >> 1] += more


@jit
def _bound(
    planes: Any, colours: Any, channels: Any, number: int, taps: Any, share: Any, steep: Any, padding: int, scratch: Any
) -> None:
    """Keep interpolated values of one colour within their bounds where light is steep; the light is kept.

    `channels` has the number of the colour that each site has samples of; `scratch` is (3, 4, h, w).
    """
    colour, green = colours[number], colours[1]
    low, highest, taken = scratch[0], scratch[1], scratch[2]
    cells = _steep_cells(steep, padding - _AROUND)
    sample_site, sites = -1, 0
    for site in range(4):
        if channels[site] == number:
            sample_site, sites = site, sites + 1
    rises = sites == 1
    if not rises:
        sample_site = -1
    outside = False
    for site in range(4):
        for n in range(cells.shape[0]):
            low[site, cells[n, 0], cells[n, 1]], taken[site, cells[n, 0], cells[n, 1]] = np.nan, np.float32(0.0)
        if channels[site] != number:
            core = _core_of(taps, sample_site, site)
            outside |= _find_bounds(
                planes, colour[site], green, rises, share, core, site, cells, low[site], highest[site]
            )
    if not outside:
        return
    for n in range(cells.shape[0]):
        row, x = cells[n]
        near = padding - _AROUND // 2
        if near <= row < steep.shape[0] - near and near <= x < steep.shape[1] - near:
            for site in range(4):
                if colour[site, row, x] < low[site, row, x]:
                    _give(colour, steep, low, 2 * row + site // 2, 2 * x + site % 2, taken)
    for n in range(cells.shape[0]):
        row, x = cells[n]
        for site in range(4):
            least = low[site, row, x]
            if least == least:
                value = min(max(colour[site, row, x], least), highest[site, row, x])
                colour[site, row, x] = max(value - taken[site, row, x], least)


# ---------------------------------------------------------------------------- the whole


@jit_borrowing
def _weave_sites(own: Any, red: Any, green: Any, blue: Any, out: Any) -> None:
    """Write every second pixel of a row, from its first on, in all its colours, or NaN where it is invalid itself.

    What follows the colours becomes 0. Uninitialised memory may hold numbers so small that arithmetic on them takes a
    hundred times as long.
    """
    rest = out.shape[1] > 3
    for q in range(own.shape[0]):
        valid = abs(own[q]) < _INFINITY
        out[2 * q, 0] = red[q] if valid else np.float32(np.nan)
        out[2 * q, 1] = green[q] if valid else np.float32(np.nan)
        out[2 * q, 2] = blue[q] if valid else np.float32(np.nan)
        if rest:
            out[2 * q, 3] = np.float32(0.0)


@jit_borrowing
def _weave_row(planes: Any, colours: Any, first_site: int, row: int, padding: int, out: Any) -> None:
    """Write one row of pixels from two planes of sites."""
    for odd in range(2):
        site, into = first_site + odd, slice(padding, padding + (out.shape[0] - odd + 1) // 2)
        _weave_sites(
            planes[site, row, into], colours[0, site, row, into], colours[1, site, row, into],
            colours[2, site, row, into], out[odd:],
        )  # fmt: skip


@jit_borrowing
def _copy(plane: Any, into: Any) -> None:
    """Copy a plane; Numba's own copy compiles an error message for planes of two sizes."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            into[y, x] = plane[y, x]


@jit_borrowing
def _join(flags: Any, others: Any) -> None:
    """Set the flags that others have set."""
    for y in range(flags.shape[0]):
        for x in range(flags.shape[1]):
            flags[y, x] |= others[y, x]


@jit
def demosaic_planes(
    planes: Any, filled: Any, cores: Any, channels: Any, taps: Any, weights: Any, padding: int, out: Any
) -> None:
    """Interpolate a Bayer mosaic; see `demosaic.demosaic` for the method and its rules.

    Parameters
    ----------
    planes : float32 (4, h, w)
        Sites of even and odd rows and columns of the mosaic (even-even, even-odd, odd-even, odd-odd),
        with mirrored borders; NaN = invalid.
    filled : float32 (4, h, w)
        The same with the level of saturation at cores.
    cores : bool (4, h, w) or (0, 0, 0)
        Sites that saturate in stars; none of them in the empty array.
    channels : int64 (4,)
        Colour of each plane.
    taps : demosaic.SiteTaps
        Plane, row and column of each tap from a site of each of the four planes.
    weights : demosaic.TapWeights
    padding : int
        Sites of border around the planes.
    out : float32 (H, W, 3 or more)
        Its first three channels are written whole; a fourth becomes 0.
    """
    count, height, width = planes.shape
    first, reach = padding - _AROUND, padding - _AROUND - 3  # of interpolated values, and of green
    colours, corners = np.empty((3, count, height, width), np.float32), np.empty_like(planes)
    share, steep = np.empty((height, width), np.float32), np.zeros((height, width), np.bool_)
    either, scratch = np.zeros((height, width), np.bool_), np.empty((3, count, height, width), np.float32)
    for site in range(count):
        _copy(planes[site], colours[channels[site], site])
        if channels[site] != 1:
            _find_corners(filled, site, taps, weights, corners[site])
    for site in range(count):
        if channels[site] != 1:
            _interpolate_green(filled, corners, site, taps, weights, reach, colours[1, site])
    near = _cells_near(cores, first)
    if near.size:
        _drop_green(cores, channels, taps, weights, reach, colours[1])
    for site in range(count):
        colour = channels[site]
        if colour != 1:
            _local_shares(planes[site], colours[1, site], first, share, steep)
            if near.size:
                _join(steep, near)
            _interpolate_colour(planes, colours[1], site, taps, weights, first, share, colours[colour])
            _bound(planes, colours, channels, colour, taps, share, steep, padding, scratch)
            _join(either, steep)
    _bound(planes, colours, channels, 1, taps, share, either, padding, scratch)
    for r in range(out.shape[0]):
        _weave_row(planes, colours, 2 * (r % 2), padding + r // 2, padding, out[r])
