"""Figures of four stars: made of catalogues and of pictures, found again by their shape.

The two stars of a quad that are farthest apart, A and B, are put at -1 and +1 of the complex plane; where the other
two, C and D, then lie does not change when the picture is shifted, turned or scaled (Lang et al. 2010, AJ 139, 1782,
section 2.1, with other axes). A mirrored picture conjugates both. Which star is A and which is C is settled by
``Re C + Re D <= 0`` and ``Re C <= Re D``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit

#: C and D lie in the circle over A and B; a little beyond it, so that noise does not decide.
CIRCLE = 1.02


@jit
def shape_of(x: Any, y: Any, corner: Any, code: Any) -> float:
    """Sort four points into A, B, C, D and return their shape.

    Parameters
    ----------
    x, y : float64 (4,)
    corner : int64 (4,)
        Written: which points are A, B, C and D.
    code : float64 (4,)
        Written: Re C, Im C, Re D, Im D.

    Returns
    -------
    float
        Distance from A to B; negative if the points make no quad.
    """
    longest, a, b = -1.0, 0, 1
    for i in range(3):
        for j in range(i + 1, 4):
            apart = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
            if apart > longest:
                longest, a, b = apart, i, j
    c, d = -1, -1
    for i in range(4):
        if i not in (a, b):
            if c < 0:
                c = i
            else:
                d = i
    if longest <= 0.0:
        return -1.0
    ux, uy, mx, my = 0.5 * (x[b] - x[a]), 0.5 * (y[b] - y[a]), 0.5 * (x[a] + x[b]), 0.5 * (y[a] + y[b])
    size = ux * ux + uy * uy
    cx = ((x[c] - mx) * ux + (y[c] - my) * uy) / size
    cy = ((y[c] - my) * ux - (x[c] - mx) * uy) / size
    dx = ((x[d] - mx) * ux + (y[d] - my) * uy) / size
    dy = ((y[d] - my) * ux - (x[d] - mx) * uy) / size
    if cx * cx + cy * cy > CIRCLE * CIRCLE or dx * dx + dy * dy > CIRCLE * CIRCLE:
        return -1.0
    if cx + dx > 0.0:
        a, b, cx, cy, dx, dy = b, a, -cx, -cy, -dx, -dy
    if cx > dx:
        c, d, cx, cy, dx, dy = d, c, dx, dy, cx, cy
    corner[0], corner[1], corner[2], corner[3] = a, b, c, d
    code[0], code[1], code[2], code[3] = cx, cy, dx, dy
    return float(np.sqrt(longest))


@jit
def stars_near(
    vector: Any, ra: Any, band_start: Any, band_rad: float, x: float, y: float, z: float, reach: float, found: Any
) -> int:
    """Stars within an angle of a place.

    Parameters
    ----------
    vector : float64 (n, 3)
        Unit vectors, in bands of declination, within each by right ascension.
    ra : float64 (n,)
        In radians, from 0 to 2 pi.
    band_start : int64 (bands + 1,)
        First star of each band, counted from the south pole.
    band_rad : float
        Height of a band.
    x, y, z : float
        Unit vector of the place.
    reach : float
        In radians.
    found : int64 (m,)
        Written as far as there are stars and room.

    Returns
    -------
    int
        How many were written.
    """
    turn = 2.0 * np.pi
    dec, ra0 = np.arcsin(min(1.0, max(-1.0, z))), np.arctan2(y, x) % turn
    half = np.pi
    if abs(dec) + reach < 0.5 * np.pi:
        half = min(np.pi, np.arcsin(min(1.0, np.sin(reach) / np.cos(dec))) + 1e-9)
    bands = band_start.shape[0] - 1
    first = max(0, int((dec - reach + 0.5 * np.pi) / band_rad))
    last = min(bands - 1, int((dec + reach + 0.5 * np.pi) / band_rad))
    least = np.cos(reach)
    n = 0
    for band in range(first, last + 1):
        begin, end = band_start[band], band_start[band + 1]
        for wrap in range(-1, 2):
            low, high = ra0 - half + wrap * turn, ra0 + half + wrap * turn
            if half >= np.pi:
                if wrap != 0:
                    continue
                low, high = -1.0, 7.0
            if high < 0.0 or low > turn:
                continue
            k = begin + np.searchsorted(ra[begin:end], low)
            while k < end and ra[k] <= high:
                if vector[k, 0] * x + vector[k, 1] * y + vector[k, 2] * z >= least:
                    if n == found.shape[0]:
                        return n
                    found[n] = k
                    n += 1
                k += 1
    return n


@jit
def _flat(vector: Any, star: Any, x: Any, y: Any) -> None:
    """Gnomonic places of four stars about their middle, x to the east and y to the north."""
    mx = my = mz = 0.0
    for k in range(4):
        mx += vector[star[k], 0]
        my += vector[star[k], 1]
        mz += vector[star[k], 2]
    size = np.sqrt(mx * mx + my * my + mz * mz)
    mx, my, mz = mx / size, my / size, mz / size
    flat = np.sqrt(mx * mx + my * my)
    ex, ey = (-my / flat, mx / flat) if flat > 1e-12 else (0.0, 1.0)
    nx, ny, nz = -mz * ey, mz * ex, mx * ey - my * ex
    for k in range(4):
        vx, vy, vz = vector[star[k], 0], vector[star[k], 1], vector[star[k], 2]
        depth = vx * mx + vy * my + vz * mz
        x[k] = (vx * ex + vy * ey) / depth
        y[k] = (vx * nx + vy * ny + vz * nz) / depth


@jit
def first_of_cells(cell: Any, count: int, taken: Any, chosen: Any) -> int:
    """The first `count` stars of each cell, in their order.

    Parameters
    ----------
    cell : int64 (n,)
        Number of the cell of each star.
    count : int
    taken : int64 (cells,)
        Zeros; how many were chosen of each cell is left in it.
    chosen : int64 (n,)
        Written: numbers of the stars.

    Returns
    -------
    int
        How many were written.
    """
    n = 0
    for star in range(cell.shape[0]):
        if taken[cell[star]] < count:
            taken[cell[star]] += 1
            chosen[n] = star
            n += 1
    return n


@jit
def sky_quads(
    vector: Any, ra: Any, rank: Any, band_start: Any, band_rad: float, low: float, high: float,
    neighbours: int, quads: int, stars: Any, codes: Any, lengths: Any,
) -> int:  # fmt: skip
    """Quads of a catalogue: each star with some of the fainter ones near it, the brightest of them first.

    A quad is made once, by its brightest star.

    Parameters
    ----------
    vector, ra, band_start, band_rad
        As in `stars_near`.
    rank : int64 (n,)
        Order of brightness of each star, the brightest 0.
    low, high : float
        Least and largest distance from A to B, in radians.
    neighbours, quads : int
        Fainter stars a star is combined with, and the most quads that it makes.
    stars : int32 (m, 4)
        Written: A, B, C, D.
    codes : float64 (m, 4), lengths : float64 (m,)
        Written: shapes and distances from A to B in radians.

    Returns
    -------
    int
        How many there are; m at most.
    """
    near, best = np.empty(4096, np.int64), np.empty(neighbours, np.int64)
    four, x, y = np.empty(4, np.int64), np.empty(4), np.empty(4)
    corner, code = np.empty(4, np.int64), np.empty(4)
    n = 0
    for i in range(vector.shape[0]):
        count = stars_near(vector, ra, band_start, band_rad, vector[i, 0], vector[i, 1], vector[i, 2], high, near)
        kept = 0
        for k in range(count):  # an insertion sort of the few brightest of the fainter ones
            star = near[k]
            if rank[star] <= rank[i]:
                continue
            place = min(kept, neighbours - 1)
            if kept == neighbours and rank[star] >= rank[best[place]]:
                continue
            while place > 0 and rank[best[place - 1]] > rank[star]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = star
            kept = min(kept + 1, neighbours)
        made = 0
        four[0] = i
        for c in range(2, kept):
            for b in range(1, c):
                for a in range(b):
                    if made == quads or n == stars.shape[0]:
                        break
                    four[1], four[2], four[3] = best[a], best[b], best[c]
                    _flat(vector, four, x, y)
                    length = shape_of(x, y, corner, code)
                    if length < low or length > high:
                        continue
                    for k in range(4):
                        stars[n, k] = four[corner[k]]
                        codes[n, k] = code[k]
                    lengths[n] = length
                    n += 1
                    made += 1
    return n


@jit
def picture_quads(
    x: Any, y: Any, first: int, last: int, low: float, high: float, stars: Any, codes: Any, lengths: Any
) -> int:
    """All quads of a picture whose faintest star is one of ``first`` to ``last - 1``.

    Parameters
    ----------
    x, y : float64 (n,)
        Places in pixels, the brightest first.
    low, high : float
        Least and largest distance from A to B, in pixels.
    stars, codes, lengths
        Written as in `sky_quads`, lengths in pixels.

    Returns
    -------
    int
        How many there are.
    """
    px, py, four = np.empty(4), np.empty(4), np.empty(4, np.int64)
    corner, code = np.empty(4, np.int64), np.empty(4)
    n = 0
    for d in range(max(3, first), last):
        for c in range(2, d):
            for b in range(1, c):
                for a in range(b):
                    four[0], four[1], four[2], four[3] = a, b, c, d
                    for k in range(4):
                        px[k], py[k] = x[four[k]], y[four[k]]
                    length = shape_of(px, py, corner, code)
                    if length < low or length > high or n == stars.shape[0]:
                        continue
                    for k in range(4):
                        stars[n, k] = four[corner[k]]
                        codes[n, k] = code[k]
                    lengths[n] = length
                    n += 1
    return n


@jit
def cell_keys(codes: Any, cell: float, keys: Any) -> None:
    """Number of the four-dimensional cell of each code; `cell` is the side of a cell."""
    side = int(2.0 * CIRCLE / cell) + 2
    for k in range(codes.shape[0]):
        key = 0
        for axis in range(4):
            key = key * side + int((codes[k, axis] + CIRCLE) / cell)
        keys[k] = key


@jit
def alike(
    keys: Any, codes: Any, lengths: Any, wanted: Any, wanted_lengths: Any, tolerance: float,
    low: float, high: float, mirrored: bool, pairs: Any,
) -> int:  # fmt: skip
    """Pairs of quads that have one shape.

    Parameters
    ----------
    keys : int64 (n,)
        `cell_keys` of the catalogue's codes for cells of twice the tolerance, rising.
    codes : float32 or float64 (n, 4), lengths : float32 or float64 (n,)
        Of the catalogue, in the order of the keys.
    wanted : float64 (m, 4), wanted_lengths : float64 (m,)
        Of the picture.
    tolerance : float
        Largest difference of each of the four numbers.
    low, high : float
        Radians a pixel.
    mirrored : bool
        Whether the picture's codes are conjugated first.
    pairs : int64 (p, 2)
        Written: number in the picture, number in the catalogue.

    Returns
    -------
    int
        How many there are; p at most.
    """
    cell = 2.0 * tolerance
    side = int(2.0 * CIRCLE / cell) + 2
    code, at, step = np.empty(4), np.empty(4, np.int64), np.empty(4, np.int64)
    n = 0
    for k in range(wanted.shape[0]):
        for axis in range(4):
            code[axis] = -wanted[k, axis] if mirrored and axis % 2 == 1 else wanted[k, axis]
            place = (code[axis] + CIRCLE) / cell
            at[axis] = int(place)
            step[axis] = 1 if place - at[axis] >= 0.5 else -1
        for corner in range(16):
            key = 0
            for axis in range(4):
                key = key * side + at[axis] + (step[axis] if corner >> axis & 1 else 0)
            j = np.searchsorted(keys, key)
            while j < keys.shape[0] and keys[j] == key:
                scale = lengths[j] / wanted_lengths[k]
                same = low <= scale <= high
                for axis in range(4):
                    same = same and abs(codes[j, axis] - code[axis]) <= tolerance
                if same:
                    if n == pairs.shape[0]:
                        return n
                    pairs[n, 0], pairs[n, 1] = k, j
                    n += 1
                j += 1
    return n


@jit
def fit_to_sky(x: Any, y: Any, vector: Any, mirrored: bool, place: Any) -> float:
    """Where a picture lies whose stars are these: a similarity on the plane that touches the sky at its origin.

    Parameters
    ----------
    x, y : float64 (n,)
        Pixels from the middle of the picture.
    vector : float64 (n, 3)
        Unit vectors of the same stars.
    mirrored : bool
        Whether the picture is seen in a mirror: x to the east and y to the north is not.
    place : float64 (7,)
        Written: unit vector of the middle of the picture, real and imaginary part of the factor from pixels to
        radians (x east, y north; a mirrored picture is conjugated first), and of the rest at the middle.

    Returns
    -------
    float
        Root of the mean square of what remains, in radians.
    """
    n = x.shape[0]
    sign = -1.0 if mirrored else 1.0
    px = py = pz = 0.0
    for k in range(n):
        px, py, pz = px + vector[k, 0], py + vector[k, 1], pz + vector[k, 2]
    rest = 0.0
    for _ in range(4):
        size = np.sqrt(px * px + py * py + pz * pz)
        px, py, pz = px / size, py / size, pz / size
        flat = np.sqrt(px * px + py * py)
        ex, ey = (-py / flat, px / flat) if flat > 1e-12 else (0.0, 1.0)
        nx, ny, nz = -pz * ey, pz * ex, px * ey - py * ex
        zx = zy = wx = wy = 0.0
        for k in range(n):
            depth = vector[k, 0] * px + vector[k, 1] * py + vector[k, 2] * pz
            if depth <= 0.05:
                return np.inf
            wx += (vector[k, 0] * ex + vector[k, 1] * ey) / depth / n
            wy += (vector[k, 0] * nx + vector[k, 1] * ny + vector[k, 2] * nz) / depth / n
            zx += x[k] / n
            zy += sign * y[k] / n
        re = im = norm = square = 0.0
        for k in range(n):
            depth = vector[k, 0] * px + vector[k, 1] * py + vector[k, 2] * pz
            u = (vector[k, 0] * ex + vector[k, 1] * ey) / depth - wx
            v = (vector[k, 0] * nx + vector[k, 1] * ny + vector[k, 2] * nz) / depth - wy
            a, b = x[k] - zx, sign * y[k] - zy
            re += a * u + b * v
            im += a * v - b * u
            norm += a * a + b * b
            square += u * u + v * v
        if norm <= 0.0:
            return np.inf
        re, im = re / norm, im / norm
        rest = np.sqrt(max(0.0, square - (re * re + im * im) * norm) / n)
        bx, by = wx - (re * zx - im * zy), wy - (re * zy + im * zx)
        place[0], place[1], place[2], place[3], place[4], place[5], place[6] = px, py, pz, re, im, bx, by
        px, py, pz = px + bx * ex + by * nx, py + bx * ey + by * ny, pz + by * nz
    return float(rest)


@jit
def count_others(
    pairs: Any, picture_stars: Any, x: Any, y: Any, sky_stars: Any, vector: Any, ra: Any, band_start: Any,
    band_rad: float, mirrored: bool, share: float, places: Any, others: Any,
) -> None:  # fmt: skip
    """How many of a picture's other stars lie on stars of the catalogue, for each pair of quads.

    Parameters
    ----------
    pairs : int64 (p, 2)
        From `alike`.
    picture_stars : int32 (m, 4), x, y : float64 (n,)
        Quads of the picture; pixels from its middle.
    sky_stars : int32 (q, 4)
        Quads of the catalogue, in the order of the keys.
    vector, ra, band_start, band_rad
        As in `stars_near`.
    mirrored : bool
    share : float
        How near is near: a share of the distance from A to B.
    places : float64 (p, 7)
        Written: as `fit_to_sky` does.
    others : int64 (p,)
        Written; -1 where a pair does not fit.
    """
    sign = -1.0 if mirrored else 1.0
    qx, qy, qv = np.empty(4), np.empty(4), np.empty((4, 3))
    hit = np.empty(1, np.int64)
    for p in range(pairs.shape[0]):
        quad, sky = picture_stars[pairs[p, 0]], sky_stars[pairs[p, 1]]
        for k in range(4):
            qx[k], qy[k] = x[quad[k]], y[quad[k]]
            for axis in range(3):
                qv[k, axis] = vector[sky[k], axis]
        place = places[p]
        rest = fit_to_sky(qx, qy, qv, mirrored, place)
        reach = share * np.hypot(qx[0] - qx[1], qy[0] - qy[1]) * np.hypot(place[3], place[4])
        others[p] = -1
        if not rest <= reach:
            continue
        px, py, pz = place[0], place[1], place[2]
        flat = np.sqrt(px * px + py * py)
        ex, ey = (-py / flat, px / flat) if flat > 1e-12 else (0.0, 1.0)
        nx, ny, nz = -pz * ey, pz * ex, px * ey - py * ex
        count = 0
        for k in range(x.shape[0]):
            if k == quad[0] or k == quad[1] or k == quad[2] or k == quad[3]:
                continue
            a, b = x[k], sign * y[k]
            u, v = place[3] * a - place[4] * b + place[5], place[3] * b + place[4] * a + place[6]
            vx, vy, vz = px + u * ex + v * nx, py + u * ey + v * ny, pz + v * nz
            size = np.sqrt(vx * vx + vy * vy + vz * vz)
            count += stars_near(vector, ra, band_start, band_rad, vx / size, vy / size, vz / size, reach, hit)
        others[p] = count
