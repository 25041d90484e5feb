"""Sources of an image: the plane in which they are detected, connected pixels, light in apertures.

Detection follows the lines of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393): connected pixels of a smoothed
image above a threshold. Pixels are added from the brightest to the faintest, so that every saddle between two peaks is
met exactly once, where SExtractor tries thirty-two levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .fused import fma
from .ranks import median

#: Pixels a source has at least, and in a mask of sources.
STAR_PIXELS, MASK_PIXELS = 4, 5
#: How far a second peak must rise above the saddle, in units of the noise a pixel, to be one.
PEAK_RISE = 1.5
#: Subpixels a side where a circle cuts a pixel.
SUBPIXELS = 5
#: Bins a pixel of the growth of light with radius.
RADIUS_BINS = 10

_INFINITY = np.float32(np.inf)


@jit
def _light_row(row: Any, weights: Any, background: Any, light: Any, valid: Any) -> None:
    channels = row.shape[1]
    for x in range(row.shape[0]):
        value = -background[x]
        for c in range(channels):
            value = fma(weights[c], row[x, c], value)
        good = abs(value) < _INFINITY
        valid[x] = good
        light[x] = value if good else np.float32(0.0)


@jit
def _light_row_of_colours(row: Any, weights: Any, background: Any, light: Any, valid: Any) -> None:
    red, green, blue = weights
    for x in range(light.shape[0]):
        value = fma(blue, row[3 * x + 2], fma(green, row[3 * x + 1], fma(red, row[3 * x], -background[x])))
        good = abs(value) < _INFINITY
        valid[x] = good
        light[x] = value if good else np.float32(0.0)


@jit
def _background_row(mesh: Any, side: int, y: int, out: Any) -> None:
    """Fill in a row of the background, by bilinear interpolation between the middles of the meshes."""
    place = (y + 0.5) / side + 0.5
    j = int(place)
    v = np.float32(place - j)
    left = mesh[j, 0] + v * (mesh[j + 1, 0] - mesh[j, 0])
    for i in range(mesh.shape[1] - 1):
        right = mesh[j, i + 1] + v * (mesh[j + 1, i + 1] - mesh[j, i + 1])
        step, begin = (right - left) / np.float32(side), i * side - side // 2
        for x in range(max(begin, 0), min(begin + side, out.shape[0])):
            out[x] = left + step * np.float32(x - begin + 0.5)
        left = right


@jit
def light_above(image: Any, weights: Any, mesh: Any, side: int, light: Any, valid: Any) -> None:
    """Compute the weighted sum of the channels of an image, less its background.

    Parameters
    ----------
    image : float32 (H, W, C), C-contiguous
    weights : float32 (C,)
    mesh : float32 (rows, columns)
        The background of that sum in meshes of `side` pixels and a ring of them around the image; `side` is even.
    light : float32 (H, W)
        Written; 0 where a channel is not finite.
    valid : bool (H, W)
        Written; False there.
    """
    height, width, channels = image.shape
    background = np.empty(width, np.float32)
    for y in range(height):
        _background_row(mesh, side, y, background)
        if channels == 3:
            colours = weights[0], weights[1], weights[2]
            _light_row_of_colours(image[y].reshape(width * 3), colours, background, light[y], valid[y])
        else:
            _light_row(image[y], weights, background, light[y], valid[y])


@jit
def _smooth_columns(light: Any, y: int, out: Any) -> None:
    above, below = max(y - 1, 0), min(y + 1, light.shape[0] - 1)
    for x in range(light.shape[1]):
        out[x] = np.float32(0.25) * (light[above, x] + light[below, x]) + np.float32(0.5) * light[y, x]


@jit
def _smooth_row(column: Any, out: Any) -> Any:
    """Smooth a row; return its largest value."""
    width = out.shape[0]
    most = np.float32(0.0)
    for x in range(1, width - 1):
        out[x] = np.float32(0.25) * (column[x - 1] + column[x + 1]) + np.float32(0.5) * column[x]
    out[0] = np.float32(0.75) * column[0] + np.float32(0.25) * column[1]
    out[width - 1] = np.float32(0.75) * column[width - 1] + np.float32(0.25) * column[width - 2]
    for x in range(width):
        most = max(most, out[x])
    return most


@jit
def bright_pixels(light: Any, threshold: float, index: Any, value: Any) -> int:
    """Find the pixels above a threshold after smoothing with (1 2 1) along either axis, in order of place.

    Parameters
    ----------
    light : float32 (H, W)
        Mirrored at its borders.
    index : int32 (n,)
        Written as far as there are pixels: ``y * W + x``; large enough for all that there can be.
    value : float32 (n,)
        Written likewise: the smoothed values.

    Returns
    -------
    int
        How many there are.
    """
    height, width = light.shape
    column, smooth = np.empty(width, np.float32), np.empty(width, np.float32)
    n = 0
    for y in range(height):
        _smooth_columns(light, y, column)
        if _smooth_row(column, smooth) < threshold:
            continue
        for x in range(width):
            if smooth[x] >= threshold:
                index[n], value[n] = y * width + x, smooth[x]
                n += 1
    return n


@jit
def _root(parent: Any, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@jit
def flood(
    index: Any, value: Any, order: Any, first: int, last: int, owner: Any, parent: Any, size: Any, sums: Any
) -> None:
    """Add the pixels ``order[first:last]`` to the sources, each to those of its eight neighbours that are in one.

    Parameters
    ----------
    index, value : int32 (n,), float32 (n,)
        From `bright_pixels`.
    order : int64 (n,)
        Places in these, by falling value.
    owner : int32 (H, W)
        Which pixel of the list lies there, once it was added; -1 elsewhere.
    parent : int32 (n,)
        A pixel of the same source; the parent of its root is the root itself.
    size : int32 (n,)
        Pixels of the source of each root.
    sums : float64 (n, 3)
        Of each root: the sum of the values; the highest peak; the light of the largest second peak above its saddle,
        0 if there is none.
    """
    height, width = owner.shape
    for k in range(first, last):
        node = order[k]
        level = float(value[node])
        y, x = index[node] // width, index[node] % width
        parent[node], size[node] = node, 1
        sums[node, 0], sums[node, 1], sums[node, 2] = level, level, 0.0
        owner[y, x] = node
        root = node
        for b in range(max(y - 1, 0), min(y + 2, height)):
            for a in range(max(x - 1, 0), min(x + 2, width)):
                if owner[b, a] < 0:
                    continue
                other = _root(parent, owner[b, a])
                if other == root:
                    continue
                if sums[other, 1] < sums[root, 1]:
                    root, other = other, root
                # The lower of two peaks counts if it is neither a bump of the noise nor a pixel or two.
                light = sums[other, 0] - size[other] * level
                rival = 0.0
                if size[other] >= STAR_PIXELS and sums[other, 1] - level >= PEAK_RISE:
                    rival = min(light, sums[root, 0] - size[root] * level)
                sums[root, 2] = max(sums[root, 2], sums[other, 2], rival)
                sums[root, 0] += sums[other, 0]
                size[root] += size[other]
                parent[other] = root


@jit
def source_moments(index: Any, value: Any, order: Any, last: int, parent: Any, size: Any, width: int, out: Any) -> int:
    """Compute the moments of the sources that `flood` made of ``order[:last]``.

    Parameters
    ----------
    out : float64 (n, 7)
        Written as far as there are sources: mean x and y, variance of x and y and their covariance, weighted with the
        values; the sum of the values; the root.

    Returns
    -------
    int
        How many sources there are, of `STAR_PIXELS` pixels or more.
    """
    place = np.full(parent.shape[0], -1, np.int32)
    n = 0
    for k in range(last):
        node = order[k]
        if parent[node] == node and size[node] >= STAR_PIXELS:
            place[node] = n
            out[n, :] = 0.0
            out[n, 6] = node
            n += 1
    for k in range(last):
        node = order[k]
        root = _root(parent, node)
        at = place[root]
        if at < 0:
            continue
        # From the root's place, so that no digits are lost.
        y = float(index[node] // width - index[root] // width)
        x = float(index[node] % width - index[root] % width)
        w = float(value[node])
        out[at, 0] += w * x
        out[at, 1] += w * y
        out[at, 2] += w * x * x
        out[at, 3] += w * y * y
        out[at, 4] += w * x * y
        out[at, 5] += w
    for at in range(n):
        root = int(out[at, 6])
        for column in range(5):
            out[at, column] /= out[at, 5]
        out[at, 2] -= out[at, 0] * out[at, 0]
        out[at, 3] -= out[at, 1] * out[at, 1]
        out[at, 4] -= out[at, 0] * out[at, 1]
        out[at, 0] += index[root] % width
        out[at, 1] += index[root] // width
    return n


@jit
def mask_sources(index: Any, parent: Any, size: Any, n: int, reach: int, starless: Any) -> None:
    """Set to False what lies within `reach` steps of a source of `MASK_PIXELS` pixels or more."""
    height, width = starless.shape
    for node in range(n):
        if size[_root(parent, node)] < MASK_PIXELS:
            continue
        y, x = index[node] // width, index[node] % width
        for b in range(max(y - reach, 0), min(y + reach + 1, height)):
            side = reach - abs(b - y)
            for a in range(max(x - side, 0), min(x + side + 1, width)):
                starless[b, a] = False


@jit
def _share_in_circle(dx: float, dy: float, radius: float) -> float:
    """Share of a pixel that lies in a circle; (dx, dy) is its place from the centre of the circle."""
    distance = np.hypot(dx, dy)
    if distance <= radius - 0.7072:
        return 1.0
    if distance >= radius + 0.7072:
        return 0.0
    inside = 0
    for j in range(SUBPIXELS):
        b = dy + (j + 0.5) / SUBPIXELS - 0.5
        for i in range(SUBPIXELS):
            a = dx + (i + 0.5) / SUBPIXELS - 0.5
            inside += a * a + b * b < radius * radius
    return inside / (SUBPIXELS * SUBPIXELS)


@jit
def circle_sums(image: Any, x: Any, y: Any, radius: float, sums: Any, area: Any, whole: Any) -> None:
    """Sum all channels in circular apertures of one radius.

    Parameters
    ----------
    image : float32 (H, W, C)
    x, y : float64 (n,)
        Centres in pixels.
    sums : float64 (n, C)
        Written; finite where `whole`.
    area : float64 (n,)
        Written: pixels in each circle.
    whole : bool (n,)
        Written: the circle lies in the image, and all its pixels are finite in every channel.
    """
    height, width, channels = image.shape
    for k in range(x.shape[0]):
        x0, x1 = int(np.floor(x[k] - radius + 0.5)), int(np.floor(x[k] + radius + 0.5))
        y0, y1 = int(np.floor(y[k] - radius + 0.5)), int(np.floor(y[k] + radius + 0.5))
        whole[k] = x0 >= 0 and y0 >= 0 and x1 < width and y1 < height
        sums[k, :] = 0.0
        area[k] = 0.0
        for b in range(max(y0, 0), min(y1 + 1, height)):
            for a in range(max(x0, 0), min(x1 + 1, width)):
                share = _share_in_circle(a - x[k], b - y[k], radius)
                if share > 0.0:
                    area[k] += share
                    for c in range(channels):
                        value = float(image[b, a, c])
                        whole[k] = whole[k] and abs(value) < np.inf
                        sums[k, c] += share * value


@jit
def ring_medians(image: Any, usable: Any, x: Any, y: Any, inner: float, outer: float, medians: Any, count: Any) -> None:
    """Take medians of all channels in rings, over usable pixels.

    Parameters
    ----------
    image : float32 (H, W, C)
        Finite where `usable`.
    usable : bool (H, W)
    x, y : float64 (n,)
        Centres in pixels.
    inner, outer : float
        Radii, of which the inner one is part of the ring.
    medians : float64 (n, C)
        Written; NaN where there is no pixel.
    count : int64 (n,)
        Written: usable pixels of each ring.
    """
    height, width, channels = image.shape
    side = int(2.0 * outer) + 3
    held = np.empty((channels, side * side), np.float32)
    for k in range(x.shape[0]):
        n = 0
        for b in range(max(int(y[k] - outer), 0), min(int(y[k] + outer) + 2, height)):
            for a in range(max(int(x[k] - outer), 0), min(int(x[k] + outer) + 2, width)):
                apart = (a - x[k]) * (a - x[k]) + (b - y[k]) * (b - y[k])
                if apart < inner * inner or apart >= outer * outer:
                    continue
                if usable[b, a]:
                    for c in range(channels):
                        held[c, n] = image[b, a, c]
                    n += 1
        count[k] = n
        for c in range(channels):
            medians[k, c] = median(held[c], n) if n > 0 else np.nan


@jit
def half_light_radii(light: Any, x: Any, y: Any, reach: float, radii: Any) -> None:
    """Find the radius that holds half of the light within `reach`, from its growth in steps of a tenth of a pixel.

    Parameters
    ----------
    light : float32 (H, W)
    x, y : float64 (n,)
    radii : float64 (n,)
        Written; NaN where there is no light.
    """
    height, width = light.shape
    growth = np.empty(int(reach * RADIUS_BINS) + 1)
    for k in range(x.shape[0]):
        growth[:] = 0.0
        for b in range(max(int(y[k] - reach), 0), min(int(y[k] + reach) + 2, height)):
            for a in range(max(int(x[k] - reach), 0), min(int(x[k] + reach) + 2, width)):
                _spread_pixel(light[b, a], a - x[k], b - y[k], reach, growth)
        total = 0.0
        for i in range(growth.shape[0] - 1):
            total += growth[i]
        radii[k] = np.nan
        below = 0.0
        for i in range(growth.shape[0] - 1):
            if total > 0.0 and below + growth[i] >= 0.5 * total:
                radii[k] = (i + (0.5 * total - below) / growth[i]) / RADIUS_BINS
                break
            below += growth[i]


@jit
def _spread_pixel(value: float, dx: float, dy: float, reach: float, growth: Any) -> None:
    """Add the light of a pixel to the bins of its radii, in fewer subpixels where they matter less."""
    distance = np.hypot(dx, dy)
    if distance >= reach + 0.7072:
        return
    n = SUBPIXELS if distance < 2.5 else 2 if distance < 5.0 else 1
    part = value / (n * n)
    for j in range(n):
        v = dy + (j + 0.5) / n - 0.5
        for i in range(n):
            u = dx + (i + 0.5) / n - 0.5
            growth[min(int(np.sqrt(u * u + v * v) * RADIUS_BINS), growth.shape[0] - 1)] += part
