"""Clipped medians of parts of an image: the background among pixels some of which hold stars."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing
from .ranks import below, not_above, sort_floats

_INFINITY = np.float32(np.inf)
_SWEEPS = 8
_MAD_TO_SD = 1.4826
_MEDIAN_ERROR = 1.2533  # of a median, over that of a mean


@jit_borrowing
def _middle(ordered: Any, low: int, high: int) -> float:
    """Median of the sorted values ``low:high``."""
    last = high - low - 1
    return 0.5 * (np.float64(ordered[low + last // 2]) + np.float64(ordered[low + (last + 1) // 2]))


@jit_borrowing
def _clip(ordered: Any, count: int, clip: float, found: Any) -> int:
    """Write median and error of the first `count` sorted values, of which there is one; return how many are kept."""
    low, high = 0, count
    for _ in range(_SWEEPS):
        centre = _middle(ordered, low, high)
        spread = _MAD_TO_SD * (centre - _middle(ordered, low, not_above(ordered, high, centre)))
        if not spread > 0.0:
            break
        first = max(low, below(ordered, high, centre - clip * spread))
        last = not_above(ordered, high, centre + clip * spread)
        if last - first == high - low:
            break
        low, high = first, last
    total = 0.0
    for i in range(low, high):
        total += np.float64(ordered[i])
    mean, squares = total / (high - low), 0.0
    for i in range(low, high):
        away = np.float64(ordered[i]) - mean
        squares += away * away
    found[0] = _middle(ordered, low, high)
    found[1] = _MEDIAN_ERROR * np.sqrt(squares / (high - low)) / np.sqrt(float(high - low))
    return high - low


@jit_borrowing
def _collect(image: Any, part: Any, channel: int, most: int, values: Any) -> int:
    """Collect the finite values of a part, fewer than twice `most` of them; return how many."""
    y0, y1, x0, x1 = part[0], part[1], part[2], part[3]
    finite = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            finite += abs(image[y, x, channel]) < _INFINITY
    step = max(1, finite // most)
    number = count = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            value = image[y, x, channel]
            if abs(value) < _INFINITY:
                if number % step == 0:
                    values[count] = value
                    count += 1
                number += 1
    return count


@jit
def clipped_median_of_sorted(ordered: Any, clip: float, found: Any) -> int:
    """Find the clipped median of sorted finite values, of which there is at least one; see `clipped_medians_of_parts`.

    Parameters
    ----------
    ordered : float (n,)
    clip : float
    found : float64 (2,)
        Written: the median and its error.

    Returns
    -------
    int
        How many values are kept.
    """
    return _clip(ordered, ordered.size, clip, found)


@jit
def clipped_medians_of_parts(image: Any, parts: Any, clip: float, most: int, found: Any, kept: Any) -> None:
    """Find the clipped median of each channel in parts of an image.

    Values are left out that lie further than `clip` standard deviations from the median, and so on. The spread is
    that of the values below the median: stars only add light.

    Parameters
    ----------
    image : float32 (H, W, C), C-contiguous
        What is not finite is left out.
    parts : int64 (n, 4)
        Rows ``y0:y1`` and columns ``x0:x1`` of each.
    clip : float
    most : int
        More finite values than twice this are thinned.
    found : float64 (n, C, 2)
        Written: medians and their standard errors; NaN without a value.
    kept : int64 (n, C)
        Written: how many values are kept.
    """
    largest = 1
    for p in range(parts.shape[0]):
        largest = max(largest, (parts[p, 1] - parts[p, 0]) * (parts[p, 3] - parts[p, 2]))
    largest = min(largest, 2 * most)
    values, spare = np.empty(largest, np.float32), np.empty((2, largest), np.uint32)
    for p in range(parts.shape[0]):
        for c in range(image.shape[2]):
            count = _collect(image, parts[p], c, most, values)
            found[p, c] = np.nan
            kept[p, c] = 0
            if count:
                sort_floats(values[:count].view(np.uint32), spare[:, :count])
                kept[p, c] = _clip(values, count, clip, found[p, c])
