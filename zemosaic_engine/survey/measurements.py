"""Measurements of a sub: its stars, its sky, its noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..photometry.calibration import sensor_places
from ..photometry.sky import clipped_medians_sorted, median_error, sky_noise

if TYPE_CHECKING:
    from ..canvas.pixel_maps import PixelMap

_THINNED = 2  # every second pixel of every second row holds nearly all that a demosaiced frame knows
_LEAST_FILLED = 0.9  # of a cell: those cut by the border of the sub see another part of the sky


@dataclass(frozen=True)
class StarFluxes:
    """Stars of a sub, where they are on the canvas and on the sensor, and how bright.

    A run holds those of all subs at once. What float32 holds to far below its error is float32.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        On the canvas, in pixels.
    u, v : ndarray of float32, shape (n,)
        On the sensor, as `calibration.sensor_places`.
    flux, error : ndarray of float32, shape (n, C)
        Aperture sums and their errors in ADU.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    flux: NDArray[np.float32]
    error: NDArray[np.float32]


@dataclass(frozen=True)
class SkyCells:
    """Background of a sub in cells that are fixed on the canvas.

    Attributes
    ----------
    index : ndarray of int32, shape (n,)
        Number of each cell on the canvas; the same number is the same piece of sky in all subs.
    u, v : ndarray of float32, shape (n,)
        Mean place of the cell's pixels on the sensor.
    level, error : ndarray of float32, shape (n, C)
        Star-clipped median and its error in ADU.
    """

    index: NDArray[np.int32]
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    level: NDArray[np.float32]
    error: NDArray[np.float32]


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
    pixels: NDArray[np.float32], counted: NDArray[np.bool_], places: PixelMap, cell_px: int, columns: int
) -> SkyCells:
    """Medians of a sub over the cells of the canvas, from its own pixels, nothing resampled.

    Every pixel goes to the cell in which its centre lies, so that a cell is the same piece of sky in
    all subs to within half a pixel at its border.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN is ignored.
    counted : ndarray of bool, shape (H, W)
        False where a pixel is to be ignored too.
    places : PixelMap
        Where each pixel of the sub lies on the canvas.
    cell_px : int
        Side of a cell in canvas pixels.
    columns : int
        Cells in a row of the canvas; the number of a cell is ``row * columns + column``.

    Returns
    -------
    SkyCells
        Cells that are nearly whole inside the sub and at least half valid in every channel.
    """
    from ..kernels import cells

    height, width, channels = pixels.shape
    number = np.empty((-(-height // _THINNED), -(-width // _THINNED)), dtype=np.int64)
    cells.cell_numbers(places.nodes, places.step, _THINNED, cell_px, columns, number)
    inside = number[number >= 0]
    first_number = int(inside.min(initial=0)) if inside.size else 0
    count = np.bincount(inside - first_number) if inside.size else np.zeros(0, dtype=np.int64)
    index = np.flatnonzero(count)
    if index.size:
        # A whole cell holds as many pixels of the sub as the fullest ones do.
        index = index[count[index] >= _LEAST_FILLED * np.quantile(count[index], 0.9)]
    if index.size == 0:
        none, empty = np.zeros(0, dtype=np.float32), np.zeros((0, channels), dtype=np.float32)
        return SkyCells(index.astype(np.int32), none, none, empty, empty)
    place = np.full(count.size, -1, dtype=np.int64)
    place[index] = np.arange(index.size)
    values = np.full((index.size, channels, int(count[index].max())), np.nan, dtype=np.float32)
    sums, filled = np.zeros((index.size, 2)), np.zeros(index.size, dtype=np.int64)
    cells.collect_cells(pixels, counted, _THINNED, place, first_number, values, sums, (number, filled))
    values.sort(axis=-1)
    median, spread, kept, valid = clipped_medians_sorted(values)
    x, y = (sums / filled[:, None]).T
    u, v = sensor_places(x, y, (height, width))
    good = (valid >= 0.5 * filled[:, None]).all(axis=1) & np.isfinite(median).all(axis=1)
    error = np.maximum(median_error(spread, kept), 1e-6 * np.abs(median))
    found = (part[good].astype(np.float32) for part in (u, v, median, error))
    return SkyCells((index[good] + first_number).astype(np.int32), *found)


def sky_of(pixels: NDArray[np.float32], cells: SkyCells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Level and noise a pixel of the sky of a sub, per channel; NaN where there is none."""
    if cells.index.size:
        return np.median(cells.level, axis=0).astype(np.float64), sky_noise(pixels)
    middle = np.full(pixels.shape[2], np.nan)
    for channel in range(middle.size):
        values = pixels[::4, ::4, channel]
        values = values[np.isfinite(values)]
        if values.size:
            middle[channel] = np.median(values)
    return middle, sky_noise(pixels)
