"""Three channels from a Bayer mosaic."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from .interpolating import HALF_WEIGHT

#: Part of the green detail, in the ratio of the colours, that red and blue borrow. With all of it stars are as wide in
#: all colours, but their rings differ more: with this part, profiles agree best (`python -m benchmarks.stars`).
BORROWED = 0.8
#: Ratio of red or blue to green where noise hides the colour of the light, and the largest that is believed.
USUAL_RATIO, LARGEST_RATIO = 1.0, 8.0
#: Noise of interpolated green, as a share of what green does not explain of the colour: it would flatten the slope.
GREEN_NOISE = 0.6
#: Weights, along each axis, of the sites of a colour whose contrast tells the share.
SHARE_WINDOW = (1.0, 4.0, 6.0, 4.0, 1.0)
#: Light is steep where a colour shares this part of its local contrast (a squared correlation) with green.
STEEP = 0.6
#: How far an interpolated value may rise above the samples around it, as a share of their range.
PEAK = 0.5
#: Cells of two by two pixels around a saturated core in which light is steep, whatever the colours say.
NEAR_CELLS = 3
#: Reach in pixels within which the light that a lower bound adds to a value is taken from others.
BALANCE_REACH = 3

#: Samples whose range bounds a value, for each kind of `demosaic.BayerTaps`: offsets (rows, columns).
CORES = {
    "green": tuple((a + b, a - b) for a in (-1.5, -0.5, 0.5, 1.5) for b in (-1.5, -0.5, 0.5, 1.5)),
    "beside": tuple((y, x) for y in (-2, 0, 2) for x in (-3, -1, 1, 3)),
    "above": tuple((y, x) for y in (-3, -1, 1, 3) for x in (-2, 0, 2)),
    "diagonal": tuple((y, x) for y in (-3, -1, 1, 3) for x in (-3, -1, 1, 3)),
}


def demosaic(padded: Any, channels: NDArray[np.int64], taps: Any, padding: int, cores: Any = None) -> Any:
    """Three channels from a Bayer mosaic with mirrored borders; see `demosaic.demosaic` for the rules.

    Parameters
    ----------
    padded : array of float32, shape (H + 2 * padding, W + 2 * padding)
        NaN = invalid.
    channels : ndarray of int, shape (2, 2)
        Channel of the pixels of the first two rows and columns.
    taps : demosaic.BayerTaps
    padding : int
        Even, at least `demosaic.PADDING`.
    cores : array of bool, shape of `padded`, optional
        Samples that saturate in stars.

    Returns
    -------
    array of float32, shape (H, W, 3)
    """
    xp = array_namespace(padded)
    grid = _BayerGrid(xp, padded, channels)
    interpolated = _interpolate(xp, padded, taps.green, grid.shifted)
    near = xp.zeros_like(padded, dtype=xp.bool)
    if cores is not None:
        nothing = xp.full_like(padded, math.nan)
        weight = _interpolate(xp, xp.astype(cores, padded.dtype), taps.green, grid.shifted)
        interpolated = xp.where(1.0 - weight < HALF_WEIGHT, nothing, interpolated)
        padded, near = xp.where(cores, nothing, padded), _near(grid, cores)
    green = xp.where(grid.own[1], padded, interpolated)
    planes, steep = [], []
    for channel in (0, 2):
        share, is_steep = _local_share(grid, channel, padded, green)
        is_steep = is_steep | near
        found = xp.full_like(padded, math.nan)
        for kind, where in grid.places(channel):
            found = xp.where(where, _with_green_detail(grid, padded, green, share, getattr(taps, kind)), found)
        rise = _Rise(share, green)
        bounded = _bounded(grid, channel, padded, found, is_steep, rise)
        planes.append(xp.where(grid.own[channel], padded, bounded))
        steep.append(is_steep)
    bounded = _bounded(grid, 1, padded, interpolated, steep[0] | steep[1], None)
    planes.insert(1, xp.where(grid.own[1], padded, bounded))
    valid = xp.expand_dims(xp.isfinite(padded), axis=2)
    stacked = xp.stack(planes, axis=-1)
    out = xp.where(valid, stacked, xp.full_like(stacked, math.nan))
    return xp.astype(out[padding:-padding, padding:-padding, :], xp.float32)


class _BayerGrid:
    """Which colour the pixels of a padded mosaic have, and operations on them."""

    def __init__(self, xp: Any, padded: Any, channels: NDArray[np.int64]) -> None:
        self.xp, self._channels = xp, channels
        shape, device = padded.shape, padded.device
        self._rows, self._columns = (xp.arange(length, device=device) for length in shape)
        odd_rows, odd_columns = xp.reshape(self._rows, (-1, 1)) % 2, xp.reshape(self._columns, (1, -1)) % 2

        def sites(channel: int) -> Any:
            found = xp.zeros(shape, dtype=xp.bool, device=device)
            for row, column in np.argwhere(channels == channel):
                found = found | ((odd_rows == int(row)) & (odd_columns == int(column)))
            return found

        self.own = [sites(channel) for channel in range(3)]
        self._odd_rows = odd_rows

    def site(self, channel: int) -> tuple[int, int]:
        """Row and column of red or blue in each cell of two by two pixels."""
        row, column = np.argwhere(self._channels == channel)[0]
        return int(row), int(column)

    def places(self, channel: int) -> Any:
        """The kinds of pixels without a sample of a channel, each with its mask."""
        if channel == 1:
            return [("green", ~self.own[1])]
        in_row = self._odd_rows == self.site(channel)[0]
        other = self.own[2 - channel]
        return [("beside", self.own[1] & in_row), ("above", self.own[1] & ~in_row), ("diagonal", other)]

    def shifted(self, plane: Any, dy: float, dx: float) -> Any:
        """The plane whose value at a pixel is that of another pixel of the mosaic."""
        return self.xp.roll(plane, (-int(dy), -int(dx)), axis=(0, 1))

    def of_cell(self, channel: int, plane: Any) -> Any:
        """The value that each cell has where it has a colour, at all of its pixels."""
        return self._of_site(*self.site(channel), plane)

    def any_of_cell(self, mask: Any) -> Any:
        """True at all pixels of a cell if it is at one of them."""
        sites = itertools.product((0, 1), repeat=2)
        return reduce(operator.or_, (self._of_site(row, column, mask) for row, column in sites))

    def _of_site(self, row: int, column: int, plane: Any) -> Any:
        down = self.xp.take(plane, self._rows // 2 * 2 + row, axis=0)
        return self.xp.take(down, self._columns // 2 * 2 + column, axis=1)


def _near(grid: _BayerGrid, cores: Any) -> Any:
    """Pixels of cells that have a core within `NEAR_CELLS`."""
    near = grid.any_of_cell(cores)
    for down, along in ((2, 0), (0, 2)):
        steps = range(-NEAR_CELLS, NEAR_CELLS + 1)
        near = reduce(operator.or_, (grid.shifted(near, down * step, along * step) for step in steps))
    return near


def _local_share(grid: _BayerGrid, channel: int, padded: Any, green: Any) -> tuple[Any, Any]:
    """How much of the green detail a colour borrows, and whether the light is steep; cell by cell.

    The ratio of the colours is the slope of a regression of differences between neighbouring sites of the colour on
    those of green. What it does not explain speaks for `USUAL_RATIO`.
    """
    xp = grid.xp
    green_2, common, own_2 = (xp.zeros_like(padded) for _ in range(3))
    for dy, dx in ((0, 2), (2, 0)):
        g, c = (grid.shifted(plane, dy, dx) - plane for plane in (green, padded))
        there = grid.own[channel] & xp.isfinite(g) & xp.isfinite(c)
        g, c = (xp.where(there, plane, xp.zeros_like(plane)) for plane in (g, c))
        sums = [product + grid.shifted(product, -dy, -dx) for product in (g * g, g * c, c * c)]
        green_2, common, own_2 = green_2 + sums[0], common + sums[1], own_2 + sums[2]
    green_2, common, own_2 = (_windowed(grid, plane) for plane in (green_2, common, own_2))
    zero, one = xp.zeros_like(green_2), xp.ones_like(green_2)
    unexplained = xp.maximum(own_2 - common * common / xp.where(green_2 > 0.0, green_2, one), zero)
    total = green_2 + (1.0 - GREEN_NOISE) * unexplained
    ratio = (common + USUAL_RATIO * unexplained) / xp.where(total > 0.0, total, one)
    share = BORROWED * xp.where(total > 0.0, xp.clip(ratio, 0.0, LARGEST_RATIO), USUAL_RATIO * one)
    steep = (common > 0.0) & (common * common > STEEP * (green_2 * own_2))
    return grid.of_cell(channel, share), grid.of_cell(channel, steep)


def _windowed(grid: _BayerGrid, plane: Any) -> Any:
    """Sums over the window of the share, one axis after the other."""
    half = len(SHARE_WINDOW) // 2
    for down, along in ((0, 2), (2, 0)):
        steps = enumerate(SHARE_WINDOW, start=-half)
        plane = sum(weight * grid.shifted(plane, down * step, along * step) for step, weight in steps)
    return plane


def _with_green_detail(grid: _BayerGrid, padded: Any, green: Any, share: Any, taps: Any) -> Any:
    """A colour interpolated as its difference to a share of green, the share of the pixel that is asked for."""

    def difference(plane: Any, dy: int, dx: int) -> Any:
        return grid.shifted(plane, dy, dx) - share * grid.shifted(green, dy, dx)

    return share * green + _interpolate(grid.xp, padded, taps, difference)


class _Rise(NamedTuple):
    """How far a colour may rise above its samples: as far as a share of green does."""

    share: Any
    green: Any


def _bounded(grid: _BayerGrid, channel: int, padded: Any, found: Any, steep: Any, rise: _Rise | None) -> Any:
    """Interpolated values kept within reason where light is steep; the light is kept.

    No value stays below the lowest of the samples around it. What this adds is taken from the values within
    `BALANCE_REACH`, in proportion to how far they lie above that sample.
    """
    xp = grid.xp
    infinite = xp.full_like(padded, math.inf)
    low, high, green_high = infinite, -infinite, -infinite
    for kind, where in grid.places(channel):
        for dy, dx in CORES[kind]:
            tap = grid.shifted(padded, dy, dx)
            there = where & xp.isfinite(tap)
            low = xp.minimum(low, xp.where(there, tap, infinite))
            high = xp.maximum(high, xp.where(there, tap, -infinite))
            if rise is not None:
                tap = grid.shifted(rise.green, dy, dx)
                green_high = xp.maximum(green_high, xp.where(there & xp.isfinite(tap), tap, -infinite))
    free = steep & xp.isfinite(found) & ~grid.own[channel] & xp.isfinite(low)
    low, high = (xp.where(free, plane, xp.zeros_like(plane)) for plane in (low, high))
    highest = high + PEAK * (high - low)
    if rise is not None:
        green_high = xp.where(free & xp.isfinite(green_high), green_high, rise.green)
        above = xp.where(free, rise.share * (rise.green - green_high), xp.zeros_like(low))
        highest = highest + xp.maximum(above, xp.zeros_like(above))
    missing = xp.where(free, xp.maximum(low - found, xp.zeros_like(low)), xp.zeros_like(low))
    taken = _balance(grid, xp.where(free, found, -infinite), low, missing)
    value = xp.minimum(xp.maximum(found, low), highest)
    return xp.where(free, xp.maximum(value - taken, low), found)


def _balance(grid: _BayerGrid, found: Any, low: Any, missing: Any) -> Any:
    """What each value gives to those around it that lie below their bound."""
    xp = grid.xp
    reach = range(-BALANCE_REACH, BALANCE_REACH + 1)
    offsets = [(dy, dx) for dy in reach for dx in reach]
    zero = xp.zeros_like(low)
    room = zero
    for dy, dx in offsets:
        room = room + xp.maximum(grid.shifted(found, dy, dx) - low, zero)
    part = xp.where(room > 0.0, xp.minimum(missing / xp.where(room > 0.0, room, xp.ones_like(room)), 1.0), zero)
    taken = zero
    for dy, dx in offsets:
        above = xp.maximum(found - grid.shifted(low, dy, dx), zero)
        taken = taken + grid.shifted(part, dy, dx) * above
    return taken


def _interpolate(xp: Any, plane: Any, taps: Any, tap_at: Callable[[Any, int, int], Any]) -> Any:
    """Sum over the finite taps around every pixel, renormalised and kept in range if some are missing."""
    total = weight = xp.zeros_like(plane)
    low, high = xp.full_like(plane, math.inf), xp.full_like(plane, -math.inf)
    complete = xp.ones(plane.shape, dtype=xp.bool, device=plane.device)
    for dy, dx, w in zip(*taps, strict=True):
        tap = tap_at(plane, int(dy), int(dx))
        there = xp.isfinite(tap)
        total = total + float(w) * xp.where(there, tap, xp.zeros_like(tap))
        weight = weight + float(w) * xp.astype(there, plane.dtype)
        complete = complete & there
        low = xp.minimum(low, xp.where(there, tap, xp.full_like(tap, math.inf)))
        high = xp.maximum(high, xp.where(there, tap, xp.full_like(tap, -math.inf)))
    enough = weight >= HALF_WEIGHT
    partial = xp.minimum(xp.maximum(total / xp.where(enough, weight, xp.ones_like(weight)), low), high)
    return xp.where(complete, total, xp.where(enough, partial, xp.full_like(partial, math.nan)))
