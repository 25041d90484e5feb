"""Medians of narrow strips of an image beside lines, each in a buffer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .ranks import ranked


@jit
def strip_medians(image: Any, middle: Any, along: Any, offset: Any, shape: Any, out: Any) -> None:
    """As `reference.strip_medians` of every channel, into `out`.

    Parameters
    ----------
    image : float32 (H, W, C)
    middle, along : float64 (n, 2)
    offset : float64 (n, k)
    shape : int64 (3,)
        Length of the strips, their width, and every how manieth pixel along them is looked at.
    out : float64 (n, k, C)
    """
    height, width, channels = image.shape
    length, across, thin = shape[0], shape[1], shape[2]
    steps = (length + thin - 1) // thin
    held = np.empty((channels, steps * across), dtype=np.float32)
    count = np.empty(channels, dtype=np.int64)
    for s in range(offset.shape[0]):
        ax, ay = along[s, 0], along[s, 1]
        for k in range(offset.shape[1]):
            count[:] = 0
            for w in range(across):
                away = offset[s, k] + (w - 0.5 * (across - 1))
                x0, y0 = middle[s, 0] - away * ay, middle[s, 1] + away * ax
                for t in range(steps):
                    ahead = t * thin - 0.5 * (length - thin)
                    column, row = int(np.floor(x0 + ahead * ax + 0.5)), int(np.floor(y0 + ahead * ay + 0.5))
                    if 0 <= row < height and 0 <= column < width:
                        for c in range(channels):
                            value = image[row, column, c]
                            held[c, count[c]] = value
                            count[c] += np.isfinite(value)
            for c in range(channels):
                n = count[c]
                out[s, k, c] = ranked(held[c], n, (n - 1) // 2) if 2 * n >= held.shape[1] else np.nan
