"""Sky level and sky noise of an image that also holds stars and nebulae."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box

_LAG_PX = 5  # beyond the reach of demosaicing and of a Lanczos-3 kernel, so that the two pixels are independent
_MAX_SAMPLES = 50_000  # the noise is then known to better than half a percent
_MAX_VALUES = 100_000  # a median of more is known better than any sky is even
CELL_PX = 32


def sky_noise(image: NDArray[np.float32], lag: int = _LAG_PX) -> NDArray[np.float64]:
    """Standard deviation of the sky noise a pixel, per channel.

    From the differences of pixels `lag` apart: smooth sky and nebulae cancel, stars are
    outliers and clipped, and interpolation, which makes neighbours alike, is left behind.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is ignored.

    Returns
    -------
    ndarray of float64, shape (C,)
        In ADU; NaN where fewer than 32 differences are left.
    """
    height, width, channels = image.shape
    step = max(1, int(np.sqrt(height * width / _MAX_SAMPLES)))
    noise = np.full(channels, np.nan)
    for channel in range(channels):
        plane = image[..., channel]
        differences = []
        if width > lag:
            differences.append((plane[::step, lag::step] - plane[::step, :-lag:step]).ravel())
        if height > lag:
            differences.append((plane[lag::step, ::step] - plane[:-lag:step, ::step]).ravel())
        if not differences:
            continue
        both = np.concatenate(differences)
        both = both[np.isfinite(both)]
        if both.size >= 32:
            noise[channel] = _clipped_spread(both) / np.sqrt(2.0)
    return noise


def _clipped_spread(differences: NDArray) -> float:
    """Standard deviation of the core of a distribution, what stars add to its wings clipped off."""
    centred = np.abs(differences - np.median(differences))
    spread = 1.4826 * float(np.median(centred))
    for _ in range(5):
        core = centred[centred <= 2.5 * spread]
        # 0.9546 is the standard deviation of a unit Gaussian cut at 2.5.
        narrower = float(np.sqrt(np.mean(np.square(core, dtype=np.float64)))) / 0.9546 if core.size else 0.0
        if abs(narrower - spread) <= 1e-3 * spread:
            break
        spread = narrower
    return spread


def clipped_median(values: NDArray, clip: float = 3.0) -> tuple[float, float, int]:
    """Median of the background among `values`, its standard error, and the number of values kept.

    The upper side is clipped harder with each sweep, since stars only add light; the spread
    is taken from the values below the median. NaN is ignored; no value gives ``(nan, nan, 0)``.
    """
    kept = values[np.isfinite(values)]
    kept = kept[:: max(1, kept.size // _MAX_VALUES)].astype(np.float64)
    if kept.size == 0:
        return float("nan"), float("nan"), 0
    for _ in range(8):
        centre = np.median(kept)
        below = centre - kept[kept <= centre]
        spread = 1.4826 * np.median(below)
        inside = np.abs(kept - centre) <= clip * spread if spread > 0 else np.ones(kept.size, dtype=bool)
        if inside.all():
            break
        kept = kept[inside]
    centre = float(np.median(kept))
    return centre, float(1.2533 * kept.std() / np.sqrt(kept.size)), int(kept.size)


def cell_medians(image: NDArray[np.float32], origin: Box, cell: int = CELL_PX) -> tuple[NDArray, NDArray, NDArray]:
    """Star-clipped medians of an image over cells that are fixed on a larger grid.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w, C)
        The pixels of `origin`; NaN is ignored.
    origin : Box
        Where the image sits on the grid on which the cells are fixed.
    cell : int
        Side of a cell in pixels; even.

    Returns
    -------
    index : ndarray of int64, shape (n, 2)
        Row and column of each cell that is at least half filled in every channel.
    median : ndarray of float64, shape (n, C)
    error : ndarray of float64, shape (n, C)
        Standard errors, from the spread below the median.
    """
    if cell < 2 or cell % 2:
        raise ValueError(f"cells have an even side of 2 pixels or more, not {cell}")
    first_row, first_column = origin.y0 // cell, origin.x0 // cell
    last_row, last_column = -(-origin.y1 // cell), -(-origin.x1 // cell)
    rows, columns, channels = last_row - first_row, last_column - first_column, image.shape[2]
    canvas = np.full((rows * cell, columns * cell, channels), np.nan, dtype=np.float32)
    canvas[origin.relative_to(Box(first_row * cell, 0, first_column * cell, 0)).slices] = image
    # Every second pixel of every second row: neighbours share noise, and four times fewer are sorted.
    thinned = canvas[::2, ::2]
    half = cell // 2
    samples = thinned.reshape(rows, half, columns, half, channels).transpose(0, 2, 4, 1, 3)
    ordered = np.sort(samples.reshape(rows * columns, channels, half * half), axis=-1)  # NaN goes to the end
    median, error, count = clipped_medians_sorted(ordered)
    filled = (count >= half * half // 2).all(axis=1)
    where = np.flatnonzero(filled)
    index = np.stack([first_row + where // columns, first_column + where % columns], axis=1)
    return index, median[filled], error[filled]


def clipped_medians_sorted(ordered: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    """Clipped medians along the last axis of sorted samples (NaN last), their errors and finite counts."""
    from ..kernels import cells

    rows = np.ascontiguousarray(ordered).reshape(-1, ordered.shape[-1])
    median, error = np.empty(len(rows)), np.empty(len(rows))
    count = np.empty(len(rows), dtype=np.int64)
    cells.clipped_medians(rows, median, error, count)
    shape = ordered.shape[:-1]
    return median.reshape(shape), error.reshape(shape), count.reshape(shape)
