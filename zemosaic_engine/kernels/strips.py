"""Medians of narrow strips of an image beside lines, each in a buffer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing
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
    channels = image.shape[2]
    length, width, thin = shape[0], shape[1], shape[2]
    steps = (length + thin - 1) // thin
    ahead = np.arange(steps) * thin - 0.5 * (length - thin)
    rows, columns = np.empty(steps * width, dtype=np.int32), np.empty(steps * width, dtype=np.int32)
    held = np.empty(steps * width, dtype=np.float32)
    for s in range(offset.shape[0]):
        ax, ay = along[s, 0], along[s, 1]
        for k in range(offset.shape[1]):
            for w in range(width):
                away = offset[s, k] + (w - 0.5 * (width - 1))
                x0, y0 = middle[s, 0] - away * ay, middle[s, 1] + away * ax
                for t in range(steps):  # nothing else in here, so that it is done in vectors
                    columns[w * steps + t] = np.int32(np.floor(x0 + ahead[t] * ax + 0.5))
                    rows[w * steps + t] = np.int32(np.floor(y0 + ahead[t] * ay + 0.5))
            inside = _inside(rows, columns, image.shape[0], image.shape[1])
            for c in range(channels):
                count = 0
                for i in range(inside):
                    value = image[np.uint32(rows[i]), np.uint32(columns[i]), c]
                    held[count] = value
                    count += np.isfinite(value)
                out[s, k, c] = ranked(held, count, (count - 1) // 2) if 2 * count >= held.size else np.nan


@jit_borrowing
def _inside(rows: Any, columns: Any, height: int, width: int) -> int:
    """Bring the places that lie on an image to the front, and return their number."""
    count = 0
    for i in range(rows.size):
        row, column = rows[i], columns[i]
        rows[count], columns[count] = row, column
        count += (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return count
