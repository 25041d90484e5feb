"""Sky level and sky noise of an image that also holds stars and nebulae."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..machine.large_arrays import is_mapped, picked

_LAG_PX = 5  # beyond the reach of demosaicing and of a Lanczos-3 kernel, so that the two pixels are independent
_MAX_SAMPLES = 50_000  # the noise is then known to better than half a percent
_MAX_SAMPLES_OF_PART = 2048  # to two percent, where there are many parts
_MAX_VALUES = 100_000  # a median of more is known better than any sky is even
CELL_PX = 32


def sky_noise(image: NDArray[np.float32], lag: int = _LAG_PX, max_samples: int = _MAX_SAMPLES) -> NDArray[np.float64]:
    """Standard deviation of the sky noise a pixel, per channel.

    From the differences of pixels `lag` apart: smooth sky and nebulae cancel, stars are
    outliers and clipped, and interpolation, which makes neighbours alike, is left behind.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; what is not finite is ignored.
    lag : int
        In pixels.
    max_samples : int
        Pixels of larger images are thinned to about this many.

    Returns
    -------
    ndarray of float64, shape (C,)
        In ADU; NaN where fewer than 32 differences are left.
    """
    height, width, _ = image.shape
    return _noise_of_parts(image, np.array([[0, height, 0, width]]), lag, max_samples)[0]


def _noise_of_parts(
    image: NDArray[np.float32], parts: NDArray[np.int64], lag: int, max_samples: int
) -> NDArray[np.float64]:
    """`sky_noise` of parts ``(y0, y1, x0, x1)`` of an image, (n, C)."""
    from ..kernels.sky_noise import noise_of_parts

    noises = np.empty((len(parts), image.shape[2]))
    if is_mapped(image) or not image.flags.c_contiguous or image.dtype != np.float32:
        for out, (y0, y1, x0, x1) in zip(noises, parts, strict=True):
            out[:] = [_noise_of_plane(image[y0:y1, x0:x1, c], lag, max_samples) for c in range(image.shape[2])]
    else:
        noise_of_parts(image, parts, lag, max_samples, noises)
    return noises


def _noise_of_plane(plane: NDArray, lag: int, max_samples: int) -> float:
    """The same of one channel, of which only some rows are in memory at once if it is mapped."""
    from ..kernels.sky_noise import LEAST_DIFFERENCES, spread_of

    height, width = plane.shape
    step = max(1, int(np.sqrt(height * width / max_samples)))
    every, ahead, behind = slice(None, None, step), slice(lag, None, step), slice(None, -lag, step)
    differences = []
    if width > lag:
        differences.append((picked(plane, every, ahead) - picked(plane, every, behind)).ravel())
    if height > lag:
        differences.append((picked(plane, ahead, every) - picked(plane, behind, every)).ravel())
    both = np.concatenate(differences or [np.zeros(0)]).astype(np.float32)
    both = both[np.isfinite(both)]
    return float(spread_of(both, np.empty_like(both)) / np.sqrt(2.0)) if both.size >= LEAST_DIFFERENCES else np.nan


def quiet_noise(image: NDArray[np.float32], parts: int = 8) -> NDArray[np.float64]:
    """Noise of the sky a pixel, per channel, where an image is quiet: the filaments of a nebula are none.

    What a tenth of ``parts x parts`` parts of the image stay below in `sky_noise`; that of all of it where they are too
    small.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is ignored.
    parts : int
        Along either side.
    """
    height, width, _ = image.shape
    rows, columns = [np.array_split(np.arange(side), parts) for side in (height, width)]
    boxes = [(y[0], y[-1] + 1, x[0], x[-1] + 1) for y in rows for x in columns if y.size and x.size]
    noises = _noise_of_parts(image, np.array(boxes, dtype=np.int64).reshape(-1, 4), _LAG_PX, _MAX_SAMPLES_OF_PART)
    known = np.isfinite(noises) & (noises > 0.0)
    whole = sky_noise(image) if not known.any(axis=0).all() else None
    return np.array(
        [
            np.quantile(noises[known[:, channel], channel], 0.1)
            if whole is None or known[:, channel].any()
            else whole[channel]
            for channel in range(image.shape[2])
        ]
    )


def clipped_median(values: NDArray, clip: float = 3.0) -> tuple[float, float, int]:
    """Median of the background among `values`, its standard error, and the number of values kept.

    The upper side is clipped harder with each sweep, since stars only add light; the spread
    is taken from the values below the median. NaN is ignored; no value gives ``(nan, nan, 0)``.
    """
    if values.dtype == np.float32 and not is_mapped(values):
        row = np.ascontiguousarray(values).reshape(1, -1, 1)
        found, kept = clipped_medians_of_parts(row, np.array([[0, 1, 0, row.size]]), clip)
        return float(found[0, 0, 0]), float(found[0, 0, 1]), int(kept[0, 0])
    from ..kernels.clipped import clipped_median_of_sorted

    finite = values[np.isfinite(values)]
    ordered = np.sort(finite[:: max(1, finite.size // _MAX_VALUES)])
    if ordered.size == 0:
        return float("nan"), float("nan"), 0
    found = np.empty(2)
    count = clipped_median_of_sorted(ordered.astype(np.float64), clip, found)
    return float(found[0]), float(found[1]), int(count)


def clipped_medians_of_parts(
    image: NDArray[np.float32], parts: NDArray[np.int64], clip: float = 3.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`clipped_median` of each channel in parts ``(y0, y1, x0, x1)`` of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C), C-contiguous
        NaN is ignored.
    parts : ndarray of int64, shape (n, 4)

    Returns
    -------
    found : ndarray of float64, shape (n, C, 2)
        Medians and their standard errors; NaN without a value.
    kept : ndarray of int64, shape (n, C)
        Values kept.
    """
    from ..kernels import clipped

    found = np.empty((len(parts), image.shape[2], 2))
    kept = np.empty(found.shape[:2], dtype=np.int64)
    clipped.clipped_medians_of_parts(image, parts, clip, _MAX_VALUES, found, kept)
    return found, kept


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
    index, median, error = _filled_cells(cell_samples(image, origin, cell))
    return index + np.array([origin.y0 // cell, origin.x0 // cell]), median, error


def cell_medians_of_thinned(thinned: NDArray[np.float32], cell: int) -> tuple[NDArray, NDArray, NDArray]:
    """`cell_medians` of an image of which every second pixel of every second row is there; cells begin at the first.

    Parameters
    ----------
    thinned : ndarray of float32, shape (h, w, C)
        NaN is ignored.
    cell : int
        Side of a cell in pixels of the whole image; even.
    """
    side = cell // 2
    rows, columns = -(-thinned.shape[0] // side), -(-thinned.shape[1] // side)
    return _filled_cells(_by_cells(thinned, 0, 0, rows, columns, side))


def _filled_cells(samples: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    """Index, median and error of the cells that are at least half filled; of the sorted samples of all."""
    median, spread, kept, count = clipped_medians_sorted(samples)
    filled = (count >= samples.shape[-1] // 2).all(axis=2)
    return np.argwhere(filled), median[filled], median_error(spread[filled], kept[filled])


def cell_samples(image: NDArray[np.float32], origin: Box, cell: int) -> NDArray[np.float32]:
    """Pixels of an image by cells of a larger grid, sorted, every second of every second row.

    Neighbours share noise, and four times fewer are sorted.

    Parameters
    ----------
    image, origin, cell
        As for `cell_medians`.

    Returns
    -------
    ndarray of float32, shape (rows, columns, C, n)
        Of the cells that the origin touches; NaN, behind the others, where there is no pixel.
    """
    first_row, first_column = origin.y0 // cell, origin.x0 // cell
    rows, columns = -(-origin.y1 // cell) - first_row, -(-origin.x1 // cell) - first_column
    top, left = origin.y0 - first_row * cell, origin.x0 - first_column * cell
    part = image[top % 2 :: 2, left % 2 :: 2]
    return _by_cells(part, (top + 1) // 2, (left + 1) // 2, rows, columns, cell // 2)


def _by_cells(
    part: NDArray[np.float32], top: int, left: int, rows: int, columns: int, side: int
) -> NDArray[np.float32]:
    """Pixels of a part of ``rows x columns`` cells, sorted cell by cell; (rows, columns, C, side * side)."""
    channels = part.shape[2]
    whole = np.full((rows * side, columns * side, channels), np.nan, dtype=np.float32)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    by_cell = whole.reshape(rows, side, columns, side, channels).transpose(0, 2, 4, 1, 3)
    samples = by_cell.reshape(rows, columns, channels, side * side)
    samples.sort(axis=-1)  # NaN goes to the end
    return samples


def clipped_medians_sorted(ordered: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Clipped medians along the last axis of sorted samples, NaN last.

    Returns
    -------
    median, spread : ndarray of float64
        Median and standard deviation of the values that are kept.
    kept, count : ndarray of int64
        Values that are kept, and finite values.
    """
    from ..kernels import cells

    rows = np.ascontiguousarray(ordered).reshape(-1, ordered.shape[-1])
    median, spread = np.empty(len(rows)), np.empty(len(rows))
    kept, count = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.int64)
    cells.clipped_medians(rows, median, spread, kept, count)
    shape = ordered.shape[:-1]
    return median.reshape(shape), spread.reshape(shape), kept.reshape(shape), count.reshape(shape)


def median_error(spread: NDArray, kept: NDArray) -> NDArray:
    """Standard error of a median of so many values."""
    return 1.2533 * spread / np.sqrt(np.maximum(kept, 1))
