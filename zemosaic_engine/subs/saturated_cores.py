"""Samples of a Bayer mosaic that saturate in the light of a star.

Nobody knows their light, so that they are invalid. But if green is interpolated around them as if they were not there,
the brightest samples of all count as nothing, and what Lanczos weights subtract for them is missing: rings are left. So
green is interpolated with the level at which they saturate, the least that they can be.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

#: Pixels around a sample that show whether it saturates in a star; a part of a sub needs so many beyond its own.
AROUND_PX = 2
#: Share of the height of the level above the darkest of them to which two others must rise.
_LEAST_LIGHT = 1.0 / 32.0


def saturated_cores(mosaic: NDArray[np.float32], level_adu: float) -> NDArray[np.bool_] | None:
    """Find the samples that saturate in the light of a star.

    Parameters
    ----------
    mosaic : ndarray of float32, shape (H, W)
        Stored samples; NaN where invalid.
    level_adu : float
        Samples at or above are saturated; inf if nothing is known.

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        None if there are none. A saturated sample without light around it, a hot pixel, is none of them.
    """
    if not np.isfinite(level_adu):
        return None
    places = np.flatnonzero(mosaic >= np.float32(level_adu))
    if not places.size:
        return None
    y, x = np.divmod(places, mosaic.shape[1])
    around = _around(mosaic, y, x)
    light = np.fmin(np.where(np.isnan(around), -np.inf, around), level_adu)
    darkest = np.fmin.reduce(around, axis=0, initial=level_adu)
    second = np.partition(light, -2, axis=0)[-2]
    is_core = second - darkest >= _LEAST_LIGHT * (level_adu - darkest)
    if not is_core.any():
        return None
    cores = np.zeros(mosaic.shape, dtype=bool)
    cores[y[is_core], x[is_core]] = True
    return cores


def _around(mosaic: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.float32]:
    """The 24 samples around each of n places, (24, n); NaN beyond the border."""
    height, width = mosaic.shape
    steps, found = range(-AROUND_PX, AROUND_PX + 1), []
    for dy, dx in itertools.product(steps, steps):
        if (dy, dx) != (0, 0):
            row, column = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
            is_inside = (row == y + dy) & (column == x + dx)
            found.append(np.where(is_inside, mosaic[row, column], np.float32(np.nan)))
    return np.stack(found)
