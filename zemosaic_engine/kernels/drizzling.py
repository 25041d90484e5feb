"""Drizzle: pixels dropped onto a grid, weighted with their exact overlap; the fast twin of `reference.drizzle`.

The drops of a row are laid out one a lane, and all of them go through the same arithmetic without a branch, so that the
compiler makes vector instructions of it. What a drop gives to a pixel depends neither on its neighbours in the vector
nor on the part of the source or of the target that a call works on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import calibrated, sensor_frame
from .compiled import jit as _jit
from .compiled import jit_borrowing as _jit_borrowing
from .compiled import jit_inline as _jit_inline
from .reference import LEAST_SHARE

_LANES = 32  # drops that are worked on together
_SIDE = 3  # of the square of pixels that a drop may lie on; larger drops are cut into pieces
_LEAST_PART = 1e-9  # of a drop; a smaller one is an error of rounding
_INFINITY, _NAN, _NOTHING = np.float32(np.inf), np.float32(np.nan), np.float32(0.0)


@_jit_inline
def _clamped(t: float) -> float:
    """Return the nearest value in 0..1; 0 for NaN."""
    t = t if t > 0.0 else 0.0
    return t if t < 1.0 else 1.0


@_jit_inline
def _reach_below(rise: float, per_rise: float) -> Any:
    """Begin and end of what lies below a line, as shares of a side that begins `rise` below it."""
    crossing = _clamped(rise * per_rise)
    return (0.0, crossing) if per_rise > 0.0 else (crossing, 1.0)


@_jit_inline
def _side(xa: float, ya: float, xb: float, yb: float) -> Any:
    """Prepare a side of a drop for `_below`: its extent, the reaches below y = 1 and y = 2, and its cuts by columns.

    The cuts are the shares of the side at which it passes x = 0, 1, 2 and 3, between its ends.
    """
    width, height = xb - xa, yb - ya
    per_width, per_height = 1.0 / width, 1.0 / height  # infinite for an upright side, which has no area, or a level one
    begin = 0.0 if per_width > 0.0 else 1.0
    cuts = (begin, _clamped((1.0 - xa) * per_width), _clamped((2.0 - xa) * per_width), 1.0 - begin)
    reaches = _reach_below(1.0 - ya, per_height), _reach_below(2.0 - ya, per_height)
    return (width, 0.5 * height, ya), reaches, cuts


@_jit_inline
def _area_between(extent: Any, y: float, begin: float, end: float) -> float:
    """Signed area between a line and the part of a side from one share of it to another; 0 if there is none."""
    width, half_height, ya = extent
    long = end - begin
    long = long if long > 0.0 else 0.0
    return width * long * ((y - ya) - half_height * (begin + end))


@_jit_inline
def _below(side: Any, column: int) -> Any:
    """Signed areas between a side and the lines y = 1, 2 and 3, where it is below them and in a column."""
    extent, reaches, cuts = side
    begin, end = min(cuts[column], cuts[column + 1]), max(cuts[column], cuts[column + 1])
    one = _area_between(extent, 1.0, max(begin, reaches[0][0]), min(end, reaches[0][1]))
    two = _area_between(extent, 2.0, max(begin, reaches[1][0]), min(end, reaches[1][1]))
    return one, two, _area_between(extent, 3.0, begin, end)


@_jit_inline
def _kept(part: float) -> Any:
    return np.float32(part if part > _LEAST_PART else 0.0)


@_jit_inline
def _fill_column(sides: Any, column: int, scale: float, parts: Any, p: int) -> None:
    """Fill in the parts of a drop on the three pixels of a column."""
    a, b, c, d = sides
    a, b, c, d = _below(a, column), _below(b, column), _below(c, column), _below(d, column)
    one, two, three = (a[0] + b[0]) + (c[0] + d[0]), (a[1] + b[1]) + (c[1] + d[1]), (a[2] + b[2]) + (c[2] + d[2])
    parts[p + column * _LANES] = _kept(one * scale)
    parts[p + (_SIDE + column) * _LANES] = _kept((two - one) * scale)
    parts[p + (2 * _SIDE + column) * _LANES] = _kept((three - two) * scale)


@_jit_inline
def _line(nodes: Any, j: int, i: int, v: float) -> Any:
    """Both ends (x, y) of a line across a cell; `v` is its place between the upper and the lower nodes."""
    return (
        (1.0 - v) * nodes[j, i, 0] + v * nodes[j + 1, i, 0],
        (1.0 - v) * nodes[j, i, 1] + v * nodes[j + 1, i, 1],
        (1.0 - v) * nodes[j, i + 1, 0] + v * nodes[j + 1, i + 1, 0],
        (1.0 - v) * nodes[j, i + 1, 1] + v * nodes[j + 1, i + 1, 1],
    )


@_jit_inline
def _corner(line: Any, u: float, origin_x: float, origin_y: float) -> Any:
    """Place (x, y) of a corner on a line, from the corner of the first pixel."""
    # In this order a box of the target rounds as the whole does: the second difference is exact.
    x = (((1.0 - u) * line[0] + u * line[2]) + 0.5) - origin_x
    return x, (((1.0 - u) * line[1] + u * line[3]) + 0.5) - origin_y


@_jit_borrowing
def _fill_parts(
    nodes: Any,
    cell: Any,
    v: float,
    columns: Any,
    half: float,
    piece: Any,
    origin: Any,
    shape: Any,
    parts: Any,
    places: Any,
) -> None:
    """Find the parts of some drops of a row on the pixels under them.

    Parameters
    ----------
    nodes, origin
        As for `drizzle_pixels`.
    cell : tuple of int
        Row and column of the cell, and its side.
    v : float
        Place of the row in the cell, from 0 to 1.
    columns : tuple of int
        First column in the cell, and how many.
    half : float
        Half the side of a drop in cells.
    piece : tuple of float
        Begin and end of the piece of the drop, along u and along v, in cells from the middle of the drop.
    shape : tuple of int
        Of the target.
    parts : float32 (9 * _LANES,)
        Written: share of each drop on each pixel of a square, row by row.
    places : float64 (3 * _LANES,)
        Written: index of the first pixel of the square in the flat target, or -1 if the square is not wholly inside;
        then its column and its row.
    """
    j, i, step = cell
    first, count = columns
    middle, upper, lower = _line(nodes, j, i, v), _line(nodes, j, i, v + piece[2]), _line(nodes, j, i, v + piece[3])
    across_x, across_y = middle[2] - middle[0], middle[3] - middle[1]
    left_x, left_y = nodes[j + 1, i, 0] - nodes[j, i, 0], nodes[j + 1, i, 1] - nodes[j, i, 1]
    right_x, right_y = nodes[j + 1, i + 1, 0] - nodes[j, i + 1, 0], nodes[j + 1, i + 1, 1] - nodes[j, i + 1, 1]
    origin_x, origin_y = origin[0], origin[1]
    last_x, last_y, channels = float(shape[1] - _SIDE), float(shape[0] - _SIDE), float(shape[2])
    width = float(shape[1])
    for p in range(count):
        u = (first + p) / step
        # The area of a whole drop: of a bilinear map the determinant in the middle is its mean.
        down_x, down_y = (1.0 - u) * left_x + u * right_x, (1.0 - u) * left_y + u * right_y
        scale = 1.0 / ((across_x * down_y - across_y * down_x) * (4.0 * half * half))
        ax, ay = _corner(upper, u + piece[0], origin_x, origin_y)
        bx, by = _corner(upper, u + piece[1], origin_x, origin_y)
        cx, cy = _corner(lower, u + piece[1], origin_x, origin_y)
        dx, dy = _corner(lower, u + piece[0], origin_x, origin_y)
        x, y = np.floor(min(ax, bx, cx, dx)), np.floor(min(ay, by, cy, dy))
        inside = (x >= 0.0) & (y >= 0.0) & (x <= last_x) & (y <= last_y)
        places[p] = (y * width + x) * channels if inside else -1.0
        places[p + _LANES], places[p + 2 * _LANES] = x, y
        ax, bx, cx, dx, ay, by, cy, dy = ax - x, bx - x, cx - x, dx - x, ay - y, by - y, cy - y, dy - y
        sides = _side(ax, ay, bx, by), _side(bx, by, cx, cy), _side(cx, cy, dx, dy), _side(dx, dy, ax, ay)
        _fill_column(sides, 0, scale, parts, p)
        _fill_column(sides, 1, scale, parts, p)
        _fill_column(sides, 2, scale, parts, p)


@_jit_borrowing
def _fill_values(pixels: Any, c: int, begin: int, place: Any, sensor: Any, calibration: Any, values: Any) -> None:
    """Fill in the values of every second drop from `begin` on; `place` is the row and column of the first of all."""
    if calibration.shape[0] == 0:
        for p in range(begin, pixels.shape[0], 2):
            values[p] = pixels[p, c]
        return
    row, column = place
    middle_x, middle_y, per_half = sensor
    v, k = (row - middle_y) * per_half, calibration[c]
    for p in range(begin, pixels.shape[0], 2):
        values[p] = calibrated(np.float64(pixels[p, c]), (column + p - middle_x) * per_half, v, k)


@_jit_borrowing
def _add_drops(begin: int, count: int, c: int, values: Any, parts: Any, places: Any, value: Any, share: Any) -> None:
    """Add every second drop of a row from `begin` on to the pixels under it; those that are not finite are left out."""
    height, width, channels = value.shape
    all_values, all_shares = value.reshape(value.size), share.reshape(share.size)
    for p in range(begin, count, 2):
        if not abs(values[p]) < _INFINITY:
            continue
        place = int(places[p])
        if place >= 0:
            for k in range(_SIDE):
                for m in range(_SIDE):
                    part, at = parts[p + (_SIDE * k + m) * _LANES], place + (k * width + m) * channels + c
                    all_values[at] += part * values[p]
                    all_shares[at] += part
            continue
        x, y = int(places[p + _LANES]), int(places[p + 2 * _LANES])
        for k in range(max(0, -y), min(_SIDE, height - y)):
            for m in range(max(0, -x), min(_SIDE, width - x)):
                part = parts[p + (_SIDE * k + m) * _LANES]
                value[y + k, x + m, c] += part * values[p]
                share[y + k, x + m, c] += part


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
def _pieces(nodes: Any, j: int, i: int, half: float) -> int:
    """How many pieces along each side the drops of a cell are cut into, so that each lies on a square of pixels."""
    most = 0.0
    for k in range(2):
        above, below = nodes[j, i + 1, k] - nodes[j, i, k], nodes[j + 1, i + 1, k] - nodes[j + 1, i, k]
        left, right = nodes[j + 1, i, k] - nodes[j, i, k], nodes[j + 1, i + 1, k] - nodes[j, i + 1, k]
        most = max(most, max(abs(above), abs(below)) + max(abs(left), abs(right)))
    # Drops of the outermost pixels reach beyond the cell by half a drop. Less than two pixels long lie on three.
    return int(2.0 * half * most * (1.0 + 2.0 * half) / (_SIDE - 1)) + 1


@_jit
def _drop_row(
    source: Any, channels: Any, row: int, columns: Any, sensor: Any, part: Any, calibration: Any, values: Any,
    parts: Any, places: Any, value: Any, share: Any,
) -> None:  # fmt: skip
    """Add some drops of a row, whose parts are known, to the target."""
    top, left = part[0], part[1]
    first, count = columns
    pixels = source[row - top, first - left : first - left + count]
    for odd in range(2):
        begin, own = (odd - first) % 2, channels[row % 2, odd]
        for c in range(value.shape[2]):
            if own < 0 or c == own:
                _fill_values(pixels, c, begin, (row, first), sensor, calibration, values)
                _add_drops(begin, count, c, values, parts, places, value, share)


@_jit
def _drop_cell(
    source: Any, channels: Any, nodes: Any, cell: Any, half: float, origin: Any, calibration: Any, value: Any,
    share: Any, values: Any, parts: Any, places: Any, part: Any,
) -> None:  # fmt: skip
    """Drop the pixels between four nodes of the map; `half` is half the side of a drop in cells."""
    j, i, y0, x0, step = cell
    top, left, height, width = part
    sensor, pieces = sensor_frame(height, width), _pieces(nodes, j, i, half)
    long = 2.0 * half / pieces
    for row in range(max(top, y0), min(top + source.shape[0], y0 + step)):
        for group in range(x0, x0 + step, _LANES):
            first = max(left, group)
            count = min(left + source.shape[1], group + _LANES, x0 + step) - first
            for piece in range(pieces * pieces if count > 0 else 0):
                b, a = divmod(piece, pieces)
                bounds = (a * long - half, (a + 1) * long - half, b * long - half, (b + 1) * long - half)
                _fill_parts(
                    nodes, (j, i, step), (row - y0) / step, (first - x0, count), half, bounds, origin, value.shape,
                    parts, places,
                )  # fmt: skip
                _drop_row(
                    source, channels, row, (first, count), sensor, part, calibration, values, parts, places, value,
                    share,
                )  # fmt: skip


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
    values, parts = np.empty(_LANES, np.float32), np.empty(_SIDE * _SIDE * _LANES, np.float32)
    places = np.empty(3 * _LANES)
    half = 0.5 * pixfrac / step
    for j in range(nodes.shape[0] - 1):
        for i in range(nodes.shape[1] - 1):
            if not _cell_reaches(nodes, j, i, step, origin, value.shape[0], value.shape[1]):
                continue
            cell = (j, i, node_y0 + j * step, node_x0 + i * step, step)
            _drop_cell(
                source, channels, nodes, cell, half, origin, calibration, value, share, values, parts, places, part
            )
    _divide(value, share)


@_jit
def _divide(value: Any, share: Any) -> None:
    """Turn sums into means; NaN where the shares of drops add up to too little."""
    values, shares = value.reshape(value.size), share.reshape(share.size)
    for k in range(values.size):
        mean, enough = values[k] / shares[k], shares[k] >= LEAST_SHARE
        values[k] = mean if enough else _NAN
        shares[k] = shares[k] if enough else _NOTHING
