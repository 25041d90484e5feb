"""Interpolation of a Bayer mosaic, colour by colour: the fast twin of `reference.demosaic`.

The mosaic is split into four planes, one for each site of the pattern, in which neighbours of one colour lie side by
side; every tap then is one multiply-add of two rows. The code is serial and releases the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import reference
from .compiled import jit
from .fused import fma

_HALF_WEIGHT = np.float32(reference.HALF_WEIGHT)
_INFINITY = np.float32(np.inf)


@jit
def _over_valid(planes: Any, taps: Any, weights: Any, row: int, column: int) -> Any:
    """Sum of the finite taps, renormalised and limited to their range; NaN with less than half of the weight."""
    total, remaining = np.float32(0.0), np.float32(0.0)
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for k in range(weights.shape[0]):
        value = planes[taps[k, 0], row + taps[k, 1], column + taps[k, 2]]
        if abs(value) < _INFINITY:
            total += weights[k] * value
            remaining += weights[k]
            low, high = min(low, value), max(high, value)
    if remaining < _HALF_WEIGHT:
        return np.float32(np.nan)
    return min(max(total / remaining, low), high)


@jit
def _add_six(total: Any, w: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> None:
    """Add six weighted rows; all four interpolations have a multiple of six taps."""
    for x in range(total.shape[0]):
        three = fma(w[2], c[x], fma(w[1], b[x], fma(w[0], a[x], total[x])))
        total[x] = fma(w[5], f[x], fma(w[4], e[x], fma(w[3], d[x], three)))


@jit
def _shifted(planes: Any, taps: Any, k: int, row: int, reach: int, length: int) -> Any:
    """The samples that tap `k` uses for a row of sites."""
    begin = reach + taps[k, 2]
    return planes[taps[k, 0], row + taps[k, 1], begin : begin + length]


@jit
def _interpolate(planes: Any, taps: Any, weights: Any, reach: int, out: Any) -> None:
    """Sum over the taps at every site of a plane that is `reach` sites or more from its border."""
    height, width = out.shape
    for row in range(reach, height - reach):
        total = out[row, reach : width - reach]
        total[:] = np.float32(0.0)
        for k in range(0, weights.shape[0], 6):
            _add_six(
                total,
                weights[k : k + 6],
                _shifted(planes, taps, k, row, reach, total.shape[0]),
                _shifted(planes, taps, k + 1, row, reach, total.shape[0]),
                _shifted(planes, taps, k + 2, row, reach, total.shape[0]),
                _shifted(planes, taps, k + 3, row, reach, total.shape[0]),
                _shifted(planes, taps, k + 4, row, reach, total.shape[0]),
                _shifted(planes, taps, k + 5, row, reach, total.shape[0]),
            )
        # A tap that is not finite makes the sum so; only then are the taps tested one by one.
        for x in range(total.shape[0]):
            if not abs(total[x]) < _INFINITY:
                total[x] = _over_valid(planes, taps, weights, row, reach + x)


@jit
def _weave_row(planes: Any, colours: Any, y: int, row: int, padding: int, out: Any) -> None:
    """Write one row of pixels, each in all its colours, or NaN where it is invalid itself.

    What follows the colours becomes 0. Uninitialised memory may hold numbers so small that arithmetic on them takes a
    hundred times as long.
    """
    rest = out.shape[1] > 3
    for q in range(out.shape[0]):
        site, column = 2 * y + q % 2, padding + q // 2
        valid = abs(planes[site, row, column]) < _INFINITY
        for c in range(3):
            out[q, c] = colours[c, site, row, column] if valid else np.float32(np.nan)
        if rest:
            out[q, 3] = np.float32(0.0)


@jit
def _borrow(found: Any, share: float, green: Any) -> None:
    for r in range(found.shape[0]):
        for q in range(found.shape[1]):
            found[r, q] = fma(share, green[r, q], found[r, q])


@jit
def _difference(own: Any, share: float, green: Any, out: Any) -> None:
    for r in range(out.shape[0]):
        for q in range(out.shape[1]):
            out[r, q] = fma(-share, green[r, q], own[r, q])


@jit
def demosaic_planes(planes: Any, channels: Any, taps: Any, weights: Any, share: float, padding: int, out: Any) -> None:
    """Interpolate a Bayer mosaic; see `demosaic.demosaic` for the method and its rules.

    Parameters
    ----------
    planes : float32 (4, h, w)
        Sites of even and odd rows and columns of the mosaic (even-even, even-odd, odd-even, odd-odd),
        with mirrored borders.
    channels : int64 (4,)
        Colour of each plane.
    taps : tuple of four int64 arrays (n, 4, 3)
        Plane, row and column of each tap from a site of each of the four planes: for green, and for a
        colour beside, above and diagonal to its sites.
    weights : tuple of four float32 arrays (n,)
    share : float32
        Share of the green detail that red and blue borrow.
    padding : int
        Sites of border around the planes, twice the reach of the taps.
    out : float32 (H, W, 3 or more)
        Its first three channels are written whole; a fourth becomes 0.
    """
    reach = padding // 2
    count, height, width = planes.shape
    colours = np.empty((3, count, height, width), np.float32)
    difference = np.empty_like(planes)
    for site in range(count):
        colours[channels[site], site] = planes[site]
        if channels[site] != 1:
            _interpolate(planes, taps[0][:, site], weights[0], reach, colours[1, site])
            _difference(planes[site], share, colours[1, site], difference[site])
    for site in range(count):
        for c in (0, 2):
            if channels[site] != c:
                # The neighbour in the row tells which colour lies beside a green site.
                kind = 3 if channels[site] != 1 else (1 if channels[site ^ 1] == c else 2)
                _interpolate(difference, taps[kind][:, site], weights[kind], padding, colours[c, site])
                _borrow(colours[c, site], share, colours[1, site])
    for r in range(out.shape[0]):
        _weave_row(planes, colours, r % 2, padding + r // 2, padding, out[r])
