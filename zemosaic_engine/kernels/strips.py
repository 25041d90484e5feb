"""Medians of narrow strips of an image beside lines, each in a buffer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .ranks import ranked


@jit
def strip_medians(plane: Any, middle: Any, along: Any, offset: Any, shape: Any, out: Any) -> None:
    """As `reference.strip_medians`, into `out`.

    Parameters
    ----------
    plane : float32 (H, W)
    middle, along : float64 (n, 2)
    offset : float64 (n, k)
    shape : int64 (3,)
        Length of the strips, their width, and every how manieth pixel along them is looked at.
    out : float64 (n, k)
    """
    length, width, thin = shape[0], shape[1], shape[2]
    steps = (length + thin - 1) // thin
    buffer = np.empty(steps * width, dtype=np.float32)
    for s in range(offset.shape[0]):
        ax, ay = along[s, 0], along[s, 1]
        for k in range(offset.shape[1]):
            count = 0
            for w in range(width):
                away = offset[s, k] + (w - 0.5 * (width - 1))
                x0, y0 = middle[s, 0] - away * ay, middle[s, 1] + away * ax
                for t in range(steps):
                    ahead = t * thin - 0.5 * (length - thin)
                    column, row = int(np.floor(x0 + ahead * ax + 0.5)), int(np.floor(y0 + ahead * ay + 0.5))
                    if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                        value = plane[row, column]
                        if np.isfinite(value):
                            buffer[count] = value
                            count += 1
            out[s, k] = ranked(buffer, count, (count - 1) // 2) if 2 * count >= buffer.size else np.nan
