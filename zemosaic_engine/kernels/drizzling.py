"""Drizzle: pixels dropped onto a grid, weighted with their exact overlap; the fast twin of `reference.drizzle`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import calibrated, sensor_frame
from .compiled import jit as _jit
from .compiled import jit_inline as _jit_inline
from .reference import LEAST_SHARE

_SAME = 1e-9


@_jit_inline
def _filled(y: float) -> float:
    """Integral of min(max(t, 0), 1) over t from 0 to y."""
    if y <= 0.0:
        return 0.0
    return 0.5 * y * y if y < 1.0 else y - 0.5


@_jit_inline
def _area_below(xa: float, ya: float, xb: float, yb: float) -> float:
    """Signed area between the lower side of the unit square and a line from a to b, inside the square."""
    left, right = min(xa, xb), max(xa, xb)
    begin, end = max(left, 0.0), min(right, 1.0)
    if end <= begin:
        return 0.0
    slope = (yb - ya) / (xb - xa)
    y0, y1 = ya + slope * (begin - xa), ya + slope * (end - xa)
    if abs(y1 - y0) < _SAME:
        area = (end - begin) * min(max(0.5 * (y0 + y1), 0.0), 1.0)
    else:
        area = (end - begin) * (_filled(y1) - _filled(y0)) / (y1 - y0)
    return area if xb > xa else -area


@_jit_inline
def _overlap(qx: Any, qy: Any, x: float, y: float) -> float:
    """Area of a convex quadrangle inside the unit square whose lower left corner is (x, y)."""
    area = 0.0
    for k in range(4):
        m = (k + 1) % 4
        area += _area_below(qx[k] - x, qy[k] - y, qx[m] - x, qy[m] - y)
    return abs(area)


@_jit
def _cell_reaches(nodes: Any, j: int, i: int, step: int, origin: Any, height: int, width: int) -> bool:
    """False if no drop of the cell between four nodes can meet the target; with NaN nodes none does."""
    low_x = low_y = np.inf
    high_x = high_y = -np.inf
    for dj in range(2):
        for di in range(2):
            x, y = nodes[j + dj, i + di, 0] - origin[0], nodes[j + dj, i + di, 1] - origin[1]
            if not (abs(x) < np.inf and abs(y) < np.inf):
                return False
            low_x, high_x = min(low_x, x), max(high_x, x)
            low_y, high_y = min(low_y, y), max(high_y, y)
    # Drops of the outermost pixels reach beyond the cell by half a source pixel.
    margin = 1.0 + max(high_x - low_x, high_y - low_y) / step
    return high_x > -margin and low_x < width + margin and high_y > -margin and low_y < height + margin


@_jit
def _corners(nodes: Any, j: int, i: int, v: float, u: float, half: float, origin: Any, qx: Any, qy: Any) -> float:
    """Fill in the corners of the drop at (u, v) of a cell, from the corner of the first pixel; return its area."""
    for k in range(4):
        s = u + (half if k == 1 or k == 2 else -half)
        t = v + (half if k >= 2 else -half)
        x = (1.0 - t) * ((1.0 - s) * nodes[j, i, 0] + s * nodes[j, i + 1, 0])
        x += t * ((1.0 - s) * nodes[j + 1, i, 0] + s * nodes[j + 1, i + 1, 0])
        y = (1.0 - t) * ((1.0 - s) * nodes[j, i, 1] + s * nodes[j, i + 1, 1])
        y += t * ((1.0 - s) * nodes[j + 1, i, 1] + s * nodes[j + 1, i + 1, 1])
        # In this order a box of the target rounds as the whole does: the second difference is exact.
        qx[k], qy[k] = (x + 0.5) - origin[0], (y + 0.5) - origin[1]
    # From the diagonals: the same wherever the target begins.
    return abs(0.5 * ((qx[2] - qx[0]) * (qy[3] - qy[1]) - (qx[3] - qx[1]) * (qy[2] - qy[0])))


@_jit
def _drop(qx: Any, qy: Any, area: float, values: Any, own: int, value: Any, share: Any) -> None:
    """Add one drop to the pixels under it: to channel `own`, or to every channel with a finite value."""
    height, width = value.shape[0], value.shape[1]
    left, right = min(qx[0], qx[1], qx[2], qx[3]), max(qx[0], qx[1], qx[2], qx[3])
    low, high = min(qy[0], qy[1], qy[2], qy[3]), max(qy[0], qy[1], qy[2], qy[3])
    x0, x1 = max(0, int(np.floor(left))), min(width - 1, int(np.floor(right)))
    y0, y1 = max(0, int(np.floor(low))), min(height - 1, int(np.floor(high)))
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            part = _overlap(qx, qy, float(x), float(y)) / area
            if not part > 0.0:
                continue
            for c in range(value.shape[2]):
                if (own < 0 or c == own) and abs(values[c]) < np.inf:
                    value[y, x, c] += part * values[c]
                    share[y, x, c] += part


@_jit
def _drop_cell(
    source: Any,
    channels: Any,
    nodes: Any,
    cell: Any,
    half: float,
    origin: Any,
    calibration: Any,
    value: Any,
    share: Any,
    qx: Any,
    qy: Any,
    values: Any,
    part: Any,
) -> None:
    """Drop the pixels between four nodes of the map; `half` is half the side of a drop in cells."""
    j, i, y0, x0, step = cell
    top, left, height, width = part
    middle_x, middle_y, per_half = sensor_frame(height, width)
    for row in range(max(top, y0), min(top + source.shape[0], y0 + step)):
        for column in range(max(left, x0), min(left + source.shape[1], x0 + step)):
            own = channels[row % 2, column % 2]
            if own >= 0 and not abs(source[row - top, column - left, own]) < np.inf:
                continue
            area = _corners(nodes, j, i, (row - y0) / step, (column - x0) / step, half, origin, qx, qy)
            if not area > 0.0:
                continue
            u, v = (column - middle_x) * per_half, (row - middle_y) * per_half
            for c in range(value.shape[2]):
                values[c] = source[row - top, column - left, c]
                if calibration.shape[0] > 0 and (own < 0 or own == c):
                    values[c] = calibrated(values[c], u, v, calibration[c])
            _drop(qx, qy, area, values, own, value, share)


@_jit
def drizzle_pixels(
    source: Any,
    channels: Any,
    nodes: Any,
    step: int,
    node_y0: int,
    node_x0: int,
    pixfrac: float,
    origin: Any,
    calibration: Any,
    part: Any,
    value: Any,
    share: Any,
) -> None:
    """Drop the pixels of a source onto a target; the fast twin of `reference.drizzle`.

    Parameters
    ----------
    source : float32 (H, W, C or more), C-contiguous
        Channels beyond those of `value` are ignored; NaN = invalid.
    channels : int64 (2, 2)
        The one channel of the pixels of the first two rows and columns that is dropped; -1 for all.
    nodes : float64 (rows, columns, 2)
        Target (x, y) at the nodes of a map of the source's pixels, one pixel wider than the source.
    step, node_y0, node_x0 : int
        Distance of the nodes, and place of the first one on the source.
    pixfrac : float
        Side of a drop in source pixels.
    origin : float64 (2,)
        Target (x, y) of the first pixel of `value`.
    calibration : float64 (C, 11)
        ``SubCalibration.coefficients``; (0, 11) leaves values as they are.
    part : tuple of int
        Row and column of ``source[0, 0]`` on the whole source, and the height and width of that.
    value, share : float32 (h, w, C)
        Written whole.
    """
    value[:] = 0.0
    share[:] = 0.0
    qx, qy, values = np.empty(4), np.empty(4), np.empty(value.shape[2])
    half = 0.5 * pixfrac / step
    for j in range(nodes.shape[0] - 1):
        for i in range(nodes.shape[1] - 1):
            if not _cell_reaches(nodes, j, i, step, origin, value.shape[0], value.shape[1]):
                continue
            cell = (j, i, node_y0 + j * step, node_x0 + i * step, step)
            _drop_cell(source, channels, nodes, cell, half, origin, calibration, value, share, qx, qy, values, part)
    _divide(value, share)


@_jit
def _divide(value: Any, share: Any) -> None:
    """Turn sums into means; NaN where the shares of drops add up to too little."""
    for y in range(value.shape[0]):
        for x in range(value.shape[1]):
            for c in range(value.shape[2]):
                if share[y, x, c] >= LEAST_SHARE:
                    value[y, x, c] /= share[y, x, c]
                else:
                    value[y, x, c] = np.nan
                    share[y, x, c] = 0.0
