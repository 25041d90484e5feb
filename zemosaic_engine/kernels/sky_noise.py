"""The noise of a sky from differences of pixels, free of what stars and nebulae do."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing
from .ranks import median, ranked

_INFINITY = np.float32(np.inf)
LEAST_DIFFERENCES = 32
_CLIP = 2.5
_SD_OF_CORE = 0.9546  # standard deviation of a unit Gaussian that is cut at _CLIP
_MAD_TO_SD = 1.4826
_LANES = 8  # sums beside each other, which vectorise


@jit_borrowing
def _differences(image: Any, part: Any, channel: int, lag: int, step: int, found: Any) -> int:
    """Collect the finite differences of pixels `lag` apart along rows, then along columns; return how many."""
    y0, y1, x0, x1 = part[0], part[1], part[2], part[3]
    count = 0
    for down, along in ((0, lag), (lag, 0)):
        for y in range(y0, y1 - down, step):
            for x in range(x0, x1 - along, step):
                difference = image[y + down, x + along, channel] - image[y, x, channel]
                if abs(difference) < _INFINITY:
                    found[count] = difference
                    count += 1
    return count


@jit_borrowing
def _core_spread(values: Any, count: int, spare: Any, squares: Any, numbers: Any) -> float:
    """Standard deviation of the core of the first `count`, what stars add to the wings clipped off; all are changed."""
    for i in range(count):
        spare[i] = values[i]
    middle = np.float32(median(spare, count))
    for i in range(count):
        away = abs(values[i] - middle)
        values[i] = away
        spare[i] = away
    spread = _MAD_TO_SD * float(ranked(spare, count, count // 2))
    whole = count - count % _LANES
    for _ in range(5):
        limit = np.float32(_CLIP * spread)
        for k in range(_LANES):
            squares[k] = 0.0
            numbers[k] = 0
        for i in range(0, whole, _LANES):
            for k in range(_LANES):
                away = values[i + k]
                numbers[k] += 1 if away <= limit else 0
                squares[k] += np.float64(away) * np.float64(away) if away <= limit else 0.0
        for i in range(whole, count):
            if values[i] <= limit:
                numbers[0] += 1
                squares[0] += np.float64(values[i]) * np.float64(values[i])
        total, number = 0.0, 0
        for k in range(_LANES):
            total += squares[k]
            number += numbers[k]
        narrower = np.sqrt(total / number) / _SD_OF_CORE if number else 0.0
        if abs(narrower - spread) <= 1e-3 * spread:
            break
        spread = narrower
    return spread


@jit
def spread_of(differences: Any, spare: Any) -> float:
    """Standard deviation of the core of some finite differences.

    Parameters
    ----------
    differences : float32 (n,)
        At least one; overwritten.
    spare : float32 (n,)
        Overwritten.
    """
    return _core_spread(differences, differences.size, spare, np.empty(_LANES), np.empty(_LANES, np.int64))


@jit
def noise_of_parts(image: Any, parts: Any, lag: int, most: int, out: Any) -> None:
    """Find the noise a pixel in parts of an image.

    Parameters
    ----------
    image : float32 (H, W, C), C-contiguous
        What is not finite is left out.
    parts : int64 (n, 4)
        Rows ``y0:y1`` and columns ``x0:x1`` of each.
    lag : int
        Distance in pixels of those whose differences are taken.
    most : int
        Pixels of a larger part are thinned to about this many.
    out : float64 (n, C)
        NaN where there are fewer than 32 differences.
    """
    squares, numbers = np.empty(_LANES), np.empty(_LANES, np.int64)
    for p in range(parts.shape[0]):
        height, width = parts[p, 1] - parts[p, 0], parts[p, 3] - parts[p, 2]
        step = max(1, int(np.sqrt(height * width / most)))
        size = 2 * ((height + step - 1) // step) * ((width + step - 1) // step)
        values, spare = np.empty(size, np.float32), np.empty(size, np.float32)
        for c in range(image.shape[2]):
            count = _differences(image, parts[p], c, lag, step, values)
            out[p, c] = np.nan
            if count >= LEAST_DIFFERENCES:
                out[p, c] = _core_spread(values, count, spare, squares, numbers) / np.sqrt(2.0)
