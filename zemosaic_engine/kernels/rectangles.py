"""The largest rectangle of a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit


@jit
def largest_rectangle(free: Any) -> tuple[int, int, int, int]:
    """The largest rectangle that holds nothing but true pixels.

    Parameters
    ----------
    free : bool (H, W)

    Returns
    -------
    tuple of int
        ``(y0, y1, x0, x1)``, half-open; of several the one that ends first in reading order. All 0 without one.

    Notes
    -----
    For each row the largest rectangle under the histogram of the columns that end there, by a stack of open
    rectangles: every pixel is looked at once.
    """
    height, width = free.shape
    column = np.zeros(width + 1, np.int64)
    start, tall = np.zeros(width + 1, np.int64), np.zeros(width + 1, np.int64)
    best, y0, y1, x0, x1 = 0, 0, 0, 0, 0
    for y in range(height):
        for x in range(width):
            column[x] = column[x] + 1 if free[y, x] else 0
        open_ones = 0
        for x in range(width + 1):  # the column behind the last is empty and closes all
            left = x
            while open_ones and tall[open_ones - 1] >= column[x]:
                open_ones -= 1
                left = start[open_ones]
                area = tall[open_ones] * (x - left)
                if area > best:
                    best, y0, y1, x0, x1 = area, y + 1 - tall[open_ones], y + 1, left, x
            start[open_ones], tall[open_ones] = left, column[x]
            open_ones += 1
    return y0, y1, x0, x1
