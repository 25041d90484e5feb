"""Two images of the same sky: the line through their pixels, and their difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .ranks import median

_SWEEPS = 3  # a few pixels may be clipped in one of the images
_MAD_TO_SD = 1.4826
_CLIP = 5.0


@jit
def line_through(x: Any, y: Any, common: Any, least: int, found: Any) -> int:
    """Find the slope of one image on another; pixels that are far off the line are left out.

    Parameters
    ----------
    x, y : float32 (h, w)
    common : bool (h, w)
        True where both show something.
    least : int
        Fewer pixels tell nothing.
    found : float64 (3,)
        Written: the slope, the standard deviation of the pixels from the line, and the sum of squares of `x` behind it.

    Returns
    -------
    int
        How many pixels are left; fewer than `least` where `found` tells nothing.
    """
    height, width = common.shape
    size = 0
    for row in range(height):
        for column in range(width):
            size += common[row, column]
    values, off, kept, spare = np.empty((size, 2)), np.empty(size), np.ones(size, np.bool_), np.empty(size)
    count = 0
    for row in range(height):
        for column in range(width):
            if common[row, column]:
                values[count, 0], values[count, 1] = x[row, column], y[row, column]
                count += 1
    for _ in range(_SWEEPS):
        if count < least:
            return count
        mean = 0.0
        for i in range(size):
            mean += values[i, 0] if kept[i] else 0.0
        mean /= count
        power = cross = 0.0
        for i in range(size):
            if kept[i]:
                away = values[i, 0] - mean
                power += away * away
                cross += away * values[i, 1]
        slope = cross / power if power > 0.0 else 0.0
        number = 0
        for i in range(size):
            off[i] = values[i, 1] - slope * values[i, 0]
            if kept[i]:
                spare[number] = off[i]
                number += 1
        level = median(spare, number)
        number = 0
        for i in range(size):
            off[i] = abs(off[i] - level)
            if kept[i]:
                spare[number] = off[i]
                number += 1
        spread = _MAD_TO_SD * median(spare, number)
        count = 0
        for i in range(size):
            kept[i] = off[i] <= _CLIP * spread
            count += kept[i]
        found[0], found[1], found[2] = slope, spread, power
    return count


@jit
def difference_on_one_scale(images: Any, gains: Any, offsets: Any, nodes: Any, every: int, out: Any) -> None:
    """Compute the first image less the second, each times a gain and with an offset that changes over it.

    Parameters
    ----------
    images : two float32 (h, w, C), C-contiguous
        NaN = missing.
    gains : float32 (2, C)
    offsets : two float64 (rows, columns, C)
        At nodes, linear along both axes in between.
    nodes : int64 (2, 3)
        Distance of the nodes in pixels, and row and column of the first pixel counted from the first node.
    every : int
        Distance of the rows and columns of the images in these pixels.
    out : float32 (h, w, C)
        Written; NaN where either is missing.
    """
    height, width, channels = out.shape
    one, other = images[0], images[1]
    column, beyond, row = np.empty((2, width), np.int64), np.empty((2, width)), np.empty((2, width, channels))
    for k in range(2):
        for x in range(width):
            place = nodes[k, 2] + x * every
            column[k, x] = place // nodes[k, 0]
            beyond[k, x] = (place % nodes[k, 0]) / nodes[k, 0]
    for y in range(height):
        for k in range(2):
            place = nodes[k, 1] + y * every
            j, v = place // nodes[k, 0], (place % nodes[k, 0]) / nodes[k, 0]
            upper, lower = offsets[k][j], offsets[k][j + 1]
            for x in range(width):
                i, u = column[k, x], beyond[k, x]
                for c in range(channels):
                    row[k, x, c] = (1.0 - v) * ((1.0 - u) * upper[i, c] + u * upper[i + 1, c]) + v * (
                        (1.0 - u) * lower[i, c] + u * lower[i + 1, c]
                    )
        for x in range(width):
            for c in range(channels):
                first = np.float64(gains[0, c]) * np.float64(one[y, x, c]) + row[0, x, c]
                second = np.float64(gains[1, c]) * np.float64(other[y, x, c]) + row[1, x, c]
                out[y, x, c] = first - second
