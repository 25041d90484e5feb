"""What is measured on a sub once, before anything is stacked: its stars, its sky, its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import sensor_places
from .sky import clipped_medians_sorted, sky_noise

_THINNED = 2  # every second pixel of every second row holds nearly all that a demosaiced frame knows
_LEAST_FILLED = 0.9  # of a cell: those cut by the border of the sub see another part of the sky


@dataclass(frozen=True)
class StarFluxes:
    """Stars of a sub, where they are on the canvas and on the sensor, and how bright.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        On the canvas, in pixels.
    u, v : ndarray of float64, shape (n,)
        On the sensor, as `calibration.sensor_places`.
    flux, error : ndarray of float64, shape (n, C)
        Aperture sums and their errors in ADU.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class SkyCells:
    """Background of a sub in cells that are fixed on the canvas.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        Number of each cell on the canvas; the same number is the same piece of sky in all subs.
    u, v : ndarray of float64, shape (n,)
        Mean place of the cell's pixels on the sensor.
    level, error : ndarray of float64, shape (n, C)
        Star-clipped median and its error in ADU.
    """

    index: NDArray[np.int64]
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    level: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class SubMeasurement:
    """All that the solution for a run needs to know of a sub.

    Attributes
    ----------
    stars : StarFluxes
    cells : SkyCells
    sky, noise : ndarray of float64, shape (C,)
        Level and noise a pixel of the sky in ADU; NaN where there is none.
    fwhm_px : float
        Of the stars; NaN without any.
    exposure_s : float
        NaN if unknown.
    camera : str
        Subs of one camera share the illumination pattern.
    session : str
        Subs of one session share, up to a scatter, transparency and the gradient of the sky.
    """

    stars: StarFluxes
    cells: SkyCells
    sky: NDArray[np.float64]
    noise: NDArray[np.float64]
    fwhm_px: float
    exposure_s: float
    camera: str
    session: str


def measure_cells(
    pixels: NDArray[np.float32], canvas_x: NDArray, canvas_y: NDArray, cell_px: int, columns: int
) -> SkyCells:
    """Medians of a sub over the cells of the canvas, from its own pixels, nothing resampled.

    Every pixel goes to the cell in which its centre lies, so that a cell is the same piece of sky in
    all subs to within half a pixel at its border.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN is ignored.
    canvas_x, canvas_y : ndarray, shape (H, W)
        Where each pixel lies on the canvas; NaN = nowhere.
    cell_px : int
        Side of a cell in canvas pixels.
    columns : int
        Cells in a row of the canvas; the number of a cell is ``row * columns + column``.

    Returns
    -------
    SkyCells
        Cells that are nearly whole inside the sub and at least half valid in every channel.
    """
    height, width, channels = pixels.shape
    y, x = np.mgrid[0:height:_THINNED, 0:width:_THINNED]
    u, v = sensor_places(x.ravel(), y.ravel(), (height, width))
    row = np.floor((canvas_y[::_THINNED, ::_THINNED].ravel() + 0.5) / cell_px)
    column = np.floor((canvas_x[::_THINNED, ::_THINNED].ravel() + 0.5) / cell_px)
    values = pixels[::_THINNED, ::_THINNED].reshape(-1, channels)
    with np.errstate(invalid="ignore"):
        there = (row >= 0) & (column >= 0) & (column < columns)
    number = np.where(there, row * columns + column, -1).astype(np.int64)
    order = np.argsort(number, kind="stable")
    order = order[np.searchsorted(number[order], 0) :]
    index, first, count = np.unique(number[order], return_index=True, return_counts=True)
    if index.size == 0:
        empty = np.zeros((0, channels))
        return SkyCells(index, np.zeros(0), np.zeros(0), empty, empty)
    # A whole cell holds as many pixels of the sub as the fullest ones do.
    whole = count >= _LEAST_FILLED * np.quantile(count, 0.9)
    index, first, count = index[whole], first[whole], count[whole]
    members = np.minimum(first[:, None] + np.arange(count.max())[None, :], order.size - 1)
    beyond = np.arange(count.max())[None, :] >= count[:, None]
    members = order[members]
    gathered = values[members]
    gathered[beyond] = np.nan
    median, error, valid = clipped_medians_sorted(np.sort(gathered.transpose(0, 2, 1), axis=-1))
    inside = np.where(beyond, 0.0, 1.0)
    place = [(p[members] * inside).sum(axis=1) / count for p in (u, v)]
    good = (valid >= 0.5 * count[:, None]).all(axis=1) & np.isfinite(median).all(axis=1)
    error = np.maximum(error, 1e-6 * np.maximum(1.0, np.abs(median)))
    return SkyCells(index[good], place[0][good], place[1][good], median[good], error[good])


def sky_of(pixels: NDArray[np.float32], cells: SkyCells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Level and noise a pixel of the sky of a sub, per channel; NaN where there is none."""
    if cells.index.size:
        return np.median(cells.level, axis=0), sky_noise(pixels)
    middle = np.full(pixels.shape[2], np.nan)
    for channel in range(middle.size):
        values = pixels[::4, ::4, channel]
        values = values[np.isfinite(values)]
        if values.size:
            middle[channel] = np.median(values)
    return middle, sky_noise(pixels)
