"""Medians of strips of pixels beside segments."""

from __future__ import annotations

from typing import Any

import numpy as np


def strip_medians(plane: Any, middle: Any, along: Any, offset: Any, length: int, width: int, thin: int) -> Any:
    """Medians of strips parallel to segments, (n, k); NaN where less than half of a strip is valid. NumPy only.

    Parameters
    ----------
    plane : ndarray of float32, shape (H, W)
        NaN where nothing is.
    middle, along : ndarray of float64, shape (n, 2)
        Middle (x, y) of each segment and its direction, of length 1.
    offset : ndarray of float64, shape (n, k)
        Distance of the middle of each strip from the segment, to the side of ``(-along_y, along_x)``.
    length, width : int
        Of the strips, in pixels: the nearest ones to as many places are taken.
    thin : int
        Every how manieth pixel along a strip is looked at.
    """
    ahead = np.arange(0, length, thin) - 0.5 * (length - thin)
    across = np.arange(width) - 0.5 * (width - 1)
    medians = np.full(offset.shape, np.nan)
    for s, k in np.ndindex(offset.shape):
        normal = np.array([-along[s, 1], along[s, 0]])
        places = middle[s] + (offset[s, k] + across)[:, None, None] * normal + ahead[:, None] * along[s]
        column, row = np.moveaxis(np.floor(places + 0.5).astype(int), -1, 0)
        inside = (row >= 0) & (row < plane.shape[0]) & (column >= 0) & (column < plane.shape[1])
        values = plane[row[inside], column[inside]]
        values = np.sort(values[np.isfinite(values)])
        if 2 * values.size >= inside.size:
            medians[s, k] = values[(values.size - 1) // 2]
    return medians
