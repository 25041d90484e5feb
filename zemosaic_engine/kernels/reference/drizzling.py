"""Pixels of a source dropped onto a target grid, area by area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A target pixel with less than this share of one drop from a sub has no sample of it.
LEAST_SHARE = 1e-4


def drizzle(
    pixels: NDArray[np.float32],
    corners: NDArray[np.float64],
    channels: NDArray[np.int64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop the pixels of a source, shrunken to the given corners, onto a target grid; see `drizzle.drop`.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        NaN = invalid.
    corners : ndarray of float64, shape (H, W, 4, 2)
        Target (x, y) of the corners of each drop, in the order of a walk around it; NaN = nowhere.
    channels : ndarray of int, shape (2, 2)
        The one channel that each pixel of the first two rows and columns has; -1 for all channels.
    shape : tuple of int
        ``(h, w)`` of the target.

    Returns
    -------
    value, share : ndarray of float32, shape (h, w, C)
        Mean of the dropped values, weighted by the share of each drop that falls into the pixel
        (NaN where the shares sum to less than `LEAST_SHARE`), and the sum of these shares.
    """
    total, share = np.zeros((*shape, pixels.shape[2])), np.zeros((*shape, pixels.shape[2]))
    for row, column in np.ndindex(pixels.shape[:2]):
        drop = corners[row, column]
        if not np.isfinite(drop).all():
            continue
        own = int(channels[row % 2, column % 2])
        area = abs(_area(drop))
        x0, y0 = np.maximum(np.floor(drop.min(axis=0) + 0.5).astype(int), 0)
        x1, y1 = np.minimum(np.floor(drop.max(axis=0) + 0.5).astype(int), (shape[1] - 1, shape[0] - 1))
        for y, x in ((y, x) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)):
            part = abs(_area(_cut_to_pixel(drop, x, y))) / area
            for channel in range(pixels.shape[2]):
                value = pixels[row, column, channel]
                if own in (-1, channel) and np.isfinite(value):
                    total[y, x, channel] += part * value
                    share[y, x, channel] += part
    enough = share >= LEAST_SHARE
    value = np.where(enough, total / np.where(enough, share, 1.0), np.nan)
    return value.astype(np.float32), np.where(enough, share, 0.0).astype(np.float32)


def _area(polygon: NDArray[np.float64]) -> float:
    """Signed area of a polygon, (n, 2)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _cut_to_pixel(polygon: NDArray[np.float64], x: int, y: int) -> NDArray[np.float64]:
    """The part of a convex polygon inside one pixel, side by side (Sutherland and Hodgman 1974)."""
    for axis, sign, limit in ((0, 1, x + 0.5), (0, -1, 0.5 - x), (1, 1, y + 0.5), (1, -1, 0.5 - y)):
        kept: list[NDArray[np.float64]] = []
        beyond = sign * polygon[:, axis] - limit  # negative inside
        for number in range(len(polygon)):
            here, before = beyond[number], beyond[number - 1]
            if (here <= 0.0) != (before <= 0.0):
                t = before / (before - here)
                kept.append(polygon[number - 1] + t * (polygon[number] - polygon[number - 1]))
            if here <= 0.0:
                kept.append(polygon[number])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon
