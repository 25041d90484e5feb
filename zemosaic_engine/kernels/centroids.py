"""Places of stars on pixels that are not demosaiced: a plane to find them on, and Gaussians fitted to them.

A Bayer sensor samples each colour at places of its own. A fit that gives every pixel its true place and every
colour a brightness of its own knows nothing of the pattern, where the centroid of a demosaiced star follows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .ranks import ranked

#: Parameters that all colours share: x, y and the logarithm of sigma.
SHARED = 3
#: A pixel this far above the fit, in units of the noise, is not light of the star.
SPIKE_SIGMA = 6.0
#: The same as a share of the star's peak: the true profile differs from a Gaussian by less.
SPIKE_SHARE = 0.25


@jit
def quad_light(pixels: Any, level: Any, light: Any) -> None:
    """Light of 2x2 pixels without the brightest of the four, so that a hot pixel leaves no mark.

    Parameters
    ----------
    pixels : float32 (H, W)
    level : float32 (2, 2)
        Sky level at each place of the pattern.
    light : float32 (H // 2, W // 2)
        Written: the sum of the three lower values above their levels; NaN where a pixel is not finite.
    """
    for y in range(light.shape[0]):
        for x in range(light.shape[1]):
            total, top = np.float32(0.0), np.float32(-np.inf)
            for j in range(2):
                for i in range(2):
                    value = pixels[2 * y + j, 2 * x + i] - level[j, i]
                    total += value
                    top = max(top, value)
            light[y, x] = total - top


@jit
def _solve(matrix: Any, right: Any, size: int) -> bool:
    """Solve in place by elimination without pivots; the matrix is symmetric. False if it is singular."""
    for k in range(size):
        pivot = matrix[k, k]
        if not pivot > 0.0:
            return False
        for i in range(k + 1, size):
            factor = matrix[i, k] / pivot
            if factor != 0.0:
                for j in range(k, size):
                    matrix[i, j] -= factor * matrix[k, j]
                right[i] -= factor * right[k]
    for k in range(size - 1, -1, -1):
        for j in range(k + 1, size):
            right[k] -= matrix[k, j] * right[j]
        right[k] /= matrix[k, k]
    return True


@jit
def _normal_equations(stamp: Any, plane: Any, used: Any, x0: int, y0: int, p: Any, matrix: Any, right: Any) -> float:
    """Fill the normal equations of one Gauss-Newton step, and return the sum of squares."""
    matrix[:] = 0.0
    right[:] = 0.0
    right_x = right_y = right_s = xx = xy = xs = yy = ys = ss = cost = 0.0  # place and width, which all pixels share
    sigma = np.exp(p[2])
    for j in range(stamp.shape[0]):
        for i in range(stamp.shape[1]):
            if not used[j, i]:
                continue
            dx, dy = (x0 + i - p[0]) / sigma, (y0 + j - p[1]) / sigma
            square = dx * dx + dy * dy
            shape = np.exp(-0.5 * square)
            a = SHARED + 2 * plane[j, i]
            star = p[a] * shape
            rest = stamp[j, i] - star - p[a + 1]
            cost += rest * rest
            x, y, s = star * dx / sigma, star * dy / sigma, star * square
            right_x, right_y, right_s = right_x + x * rest, right_y + y * rest, right_s + s * rest
            xx, xy, xs, yy, ys, ss = xx + x * x, xy + x * y, xs + x * s, yy + y * y, ys + y * s, ss + s * s
            matrix[a, 0] += x * shape
            matrix[a, 1] += y * shape
            matrix[a, 2] += s * shape
            matrix[a, a] += shape * shape
            right[a] += shape * rest
            matrix[a + 1, 0] += x
            matrix[a + 1, 1] += y
            matrix[a + 1, 2] += s
            matrix[a + 1, a] += shape
            matrix[a + 1, a + 1] += 1.0
            right[a + 1] += rest
    right[0], right[1], right[2] = right_x, right_y, right_s
    matrix[0, 0], matrix[1, 0], matrix[2, 0], matrix[1, 1], matrix[2, 1], matrix[2, 2] = xx, xy, xs, yy, ys, ss
    for m in range(p.size):
        for n in range(m):
            matrix[n, m] = matrix[m, n]
    return cost


@jit
def _levels(stamp: Any, plane: Any, used: Any, p: Any, colours: int) -> bool:
    """First guess of level (lowest quarter) and brightness (highest value) of each colour; False without pixels."""
    values = np.empty(stamp.size)
    for c in range(colours):
        count = 0
        for j in range(stamp.shape[0]):
            for i in range(stamp.shape[1]):
                if used[j, i] and plane[j, i] == c:
                    values[count] = stamp[j, i]
                    count += 1
        if count < 8:
            return False
        level = ranked(values, count, count // 3)
        p[SHARED + 2 * c + 1] = level
        p[SHARED + 2 * c] = max(ranked(values, count, count - 2) - level, 1e-3)
    return True


@jit
def _copy(matrix: Any, right: Any, into: Any, row: Any) -> None:
    """Copy normal equations."""
    for m in range(right.size):
        row[m] = right[m]
        for n in range(right.size):
            into[m, n] = matrix[m, n]


@jit
def _descend(stamp: Any, plane: Any, used: Any, x0: int, y0: int, p: Any, matrix: Any, steps: int) -> float:
    """Levenberg-Marquardt from `p` in place; leaves the normal matrix in `matrix`. The sum of squares, or -1."""
    size = p.size
    right, trial, next_right = np.zeros(size), np.zeros(size), np.zeros(size)
    damped, other, step = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)
    cost = _normal_equations(stamp, plane, used, x0, y0, p, matrix, right)
    damping = 1e-3
    for _ in range(steps):
        _copy(matrix, right, damped, step)
        for k in range(size):
            damped[k, k] *= 1.0 + damping
        if not _solve(damped, step, size):
            return -1.0
        # A Gaussian far too wide or narrow has no slope to come back by.
        step[2] = min(max(step[2], -0.5), 0.5)
        for k in range(size):
            trial[k] = p[k] + step[k]
        next_cost = _normal_equations(stamp, plane, used, x0, y0, trial, other, next_right)
        if next_cost <= cost:
            gained = cost - next_cost
            for k in range(size):
                p[k] = trial[k]
            _copy(other, next_right, matrix, right)
            cost = next_cost
            damping = max(0.2 * damping, 1e-9)
            if gained <= 1e-9 * cost and abs(step[0]) + abs(step[1]) < 1e-5:
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return cost


@jit
def _count(flags: Any) -> int:
    """How many flags are set."""
    count = 0
    for j in range(flags.shape[0]):
        for i in range(flags.shape[1]):
            count += flags[j, i]
    return count


@jit
def _drop_spikes(stamp: Any, plane: Any, used: Any, x0: int, y0: int, p: Any, noise: float) -> int:
    """Take pixels that stand far above the fit out of `used`; how many."""
    sigma, dropped = np.exp(p[2]), 0
    for j in range(stamp.shape[0]):
        for i in range(stamp.shape[1]):
            if not used[j, i]:
                continue
            dx, dy = (x0 + i - p[0]) / sigma, (y0 + j - p[1]) / sigma
            a = SHARED + 2 * plane[j, i]
            rest = stamp[j, i] - p[a] * np.exp(-0.5 * (dx * dx + dy * dy)) - p[a + 1]
            if rest > max(SPIKE_SIGMA * noise, SPIKE_SHARE * p[a]):
                used[j, i] = False
                dropped += 1
    return dropped


@jit
def fit_stars(pixels: Any, pattern: Any, colours: int, noise: float, half: int, steps: int, table: Any) -> None:
    """Fit a round Gaussian to each star: one place and width, a brightness and a level for every colour.

    Pixels that stand far above a first fit are left out of a second one.

    Parameters
    ----------
    pixels : float32 (H, W)
    pattern : int64 (2, 2)
        Number of the colour of each pixel of the pattern; all 0 of a mono image.
    colours : int
        How many there are.
    noise : float
        Standard deviation of a pixel of the sky.
    half : int
        A stamp has ``2 * half + 1`` pixels a side.
    steps : int
        Most steps of each fit.
    table : float64 (n, 6)
        Columns x, y (first guesses, then the fit), error of x and y each (px), sigma (first guess, then the fit),
        flux (ADU, of all colours), goodness (mean square of the rest over that of the noise). The error is NaN where
        nothing could be fitted: at the edge, beside invalid pixels, or no star at all.
    """
    height, width = pixels.shape
    size = SHARED + 2 * colours
    side = 2 * half + 1
    plane, stamp, used = np.empty((side, side), np.int64), np.empty((side, side)), np.empty((side, side), np.bool_)
    matrix, copy = np.zeros((size, size)), np.zeros((size, size))
    p, right, unit = np.zeros(size), np.zeros(size), np.zeros(size)
    for star in range(table.shape[0]):
        x0, y0 = int(np.floor(table[star, 0] + 0.5)) - half, int(np.floor(table[star, 1] + 0.5)) - half
        table[star, 2] = np.nan
        if x0 < 0 or y0 < 0 or x0 + side > width or y0 + side > height:
            continue
        whole = True
        for j in range(side):
            for i in range(side):
                stamp[j, i] = pixels[y0 + j, x0 + i]
                used[j, i] = np.isfinite(stamp[j, i])
                plane[j, i] = pattern[(y0 + j) & 1, (x0 + i) & 1]
                whole = whole and (used[j, i] or max(abs(j - half), abs(i - half)) > 1)
        if not whole or not _levels(stamp, plane, used, p, colours):
            continue
        p[0], p[1], p[2] = table[star, 0], table[star, 1], np.log(table[star, 3])
        cost = _descend(stamp, plane, used, x0, y0, p, matrix, steps)
        if cost >= 0.0 and _drop_spikes(stamp, plane, used, x0, y0, p, noise) > 0:
            cost = _descend(stamp, plane, used, x0, y0, p, matrix, steps)
        free = _count(used) - size
        moved = max(abs(p[0] - x0 - half), abs(p[1] - y0 - half))
        if not cost >= 0.0 or free < size or moved > 0.5 * half:
            continue
        variance = max(cost / free, noise * noise)
        sigma, error = np.exp(p[2]), 0.0
        for axis in range(2):
            for k in range(size):
                right[k] = 1.0 if k == axis else 0.0
            _copy(matrix, right, copy, unit)
            error += 0.5 * variance * unit[axis] if _solve(copy, unit, size) else np.nan
        light = 0.0
        for c in range(colours):
            light += p[SHARED + 2 * c]
        table[star, 0], table[star, 1], table[star, 3] = p[0], p[1], sigma
        table[star, 2] = np.sqrt(error) if light > 0.0 and error > 0.0 else np.nan
        table[star, 4] = light * 2.0 * np.pi * sigma * sigma
        table[star, 5] = cost / free / max(noise * noise, 1e-12)
