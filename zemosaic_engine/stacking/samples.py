"""Samples of a tile: the subs resampled onto its pixels, and what is measured on each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..canvas.footprints import Footprint
from ..geometry import Box
from ..photometry.sky import CELL_PX, cell_medians, sky_noise
from ..photometry.stars import Stars
from ..resampling.resample import Kernel
from ..settings import GridSettings
from .scales import SampleFacts

#: Whose samples are judged for drops: an interpolated sample lies where its pixel is, a drop beside it.
_JUDGE: Kernel = "lanczos3"


@dataclass(frozen=True)
class Samples:
    """Resampled pieces of subs in one flat buffer, each with its place in the stack.

    Attributes
    ----------
    buffer : ndarray of float32, shape (n,)
        Crop ``i`` is ``buffer[start[i]:].reshape(h, w, C)``.
    start : ndarray of int64, shape (N,)
    boxes : ndarray of int64, shape (N, 4)
        Half-open ``(y0, y1, x0, x1)`` of each crop in the stack.
    edges : ndarray of float64, shape (N, 4, 3)
        Inward distance in pixels of a point from each edge of its sub: ``a*x + b*y + c``.
    radial : ndarray of float64, shape (N, 5)
        ``(cx, cy, r_start, r_end, power)`` of the radial weight; power 0 disables it.
    shape : tuple of int
        ``(height, width, channels)`` of the stack.
    """

    buffer: NDArray[np.float32]
    start: NDArray[np.int64]
    boxes: NDArray[np.int64]
    edges: NDArray[np.float64]
    radial: NDArray[np.float64]
    shape: tuple[int, int, int]

    def crop(self, index: int) -> NDArray[np.float32]:
        """Crop `index` as an (h, w, C) view."""
        y0, y1, x0, x1 = self.boxes[index]
        size = (y1 - y0) * (x1 - x0) * self.shape[2]
        return self.buffer[self.start[index] : self.start[index] + size].reshape(y1 - y0, x1 - x0, self.shape[2])


def planes_of(settings: GridSettings) -> int:
    """Numbers that are held of each sample: its value, and of a drop its value and share beside it.

    Room for drops is planned as long as it is not known whether they are wanted.
    """
    return 3 if settings.resample_kernel in ("drizzle", "auto") else 1


def interpolation_of(settings: GridSettings) -> Kernel:
    """The kernel by which samples are interpolated; those of drizzle are judged by it."""
    kernel = settings.resample_kernel
    if kernel == "auto":
        raise ValueError("resample_kernel is not chosen yet")
    return _JUDGE if kernel == "drizzle" else kernel


def measure_sample(
    pixels: NDArray[np.float32],
    place: Box,
    stars: Stars,
    exposure_s: float,
    *,
    frame_stars: int | None = None,
    cell: int = CELL_PX,
) -> SampleFacts:
    """Measure the sky of one resampled sub at its place in the stack.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w, C)
        The sub on the stack's pixel grid.
    place : Box
        Where `pixels` sit in the stack.
    stars : Stars
        Its stars, in pixels of the stack.
    exposure_s : float
        Exposure time, NaN if unknown.
    frame_stars : int, optional
        Stars in the whole sub; those given if it fills the stack.
    cell : int
        Side of the background cells in pixels.
    """
    index, median, error = cell_medians(pixels, place, cell)
    valid = int(np.count_nonzero(np.isfinite(pixels[..., 0])))
    count = len(stars) if frame_stars is None else frame_stars
    return SampleFacts(stars, index, median, error, sky_noise(pixels), exposure_s, valid, count)


def radial_weights(
    footprints: Sequence[Footprint], settings: GridSettings, origin: Box | None = None
) -> NDArray[np.float64]:
    """Radial weight of each sub as in `Samples`, counted from the corner of `origin`; all zero if not asked for."""
    radial = np.zeros((len(footprints), 5))
    corner = (0, 0) if origin is None else (origin.x0, origin.y0)
    if settings.apply_radial_weight:
        for row, footprint in zip(radial, footprints, strict=True):
            if np.isfinite(footprint.half_diagonal):
                x, y = footprint.center - corner
                start = settings.radial_feather_fraction * footprint.half_diagonal
                row[:] = x, y, start, footprint.half_diagonal, settings.radial_shape_power
    return radial
