"""Where two tiles both have data, and how far apart they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Box
from .photometry.overlaps import OverlapFit, measure_overlap
from .photometry.sky import clipped_median
from .photometry.tile_scaling import PairFit, TileScaling
from .tiles import Tile
from .validity import erode, valid_pixels
from .warp import footprint_box, pixel_map, resample

_ERODE_PX = 2  # edges of coverage carry half-filled pixels


@dataclass(frozen=True)
class Overlap:
    """Two tiles that may share sky: their numbers, and the box on the grid of the first."""

    first: int
    second: int
    box: Box


@dataclass(frozen=True)
class OverlapPixels:
    """The shared sky of two tiles on the grid of the first.

    Attributes
    ----------
    first, second : ndarray of float32, shape (h, w, C)
        In ADU.
    mask : ndarray of bool, shape (h, w)
        True where both have coverage, 2 px inside its edge.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @property
    def pixels(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True)
class SeamStep:
    """Difference between two tiles where they overlap, per channel, first minus second.

    Attributes
    ----------
    step_adu : ndarray of float64, shape (C,)
        Median over the overlap; NaN where nothing is common.
    sigma : ndarray of float64, shape (C,)
        The same in units of the tiles' sky noise a pixel.
    """

    step_adu: NDArray[np.float64]
    sigma: NDArray[np.float64]


def find_overlaps(tiles: Sequence[Tile]) -> list[Overlap]:
    """Every pair of tiles whose outer boxes, mapped by WCS where they differ, meet."""
    overlaps = []
    for first, one in enumerate(tiles):
        for second in range(first + 1, len(tiles)):
            other = tiles[second]
            if one.on_canvas and other.on_canvas:
                box = one.outer.intersect(other.outer)
            else:
                box = footprint_box(other.wcs, other.outer.shape, one.wcs, one.outer.shape)
            if not box.is_empty:
                overlaps.append(Overlap(first, second, box))
    return overlaps


def read_overlap(overlap: Overlap, tiles: Sequence[Tile]) -> OverlapPixels:
    """Read what two tiles have in common, the second resampled if its grid is another."""
    one, other = tiles[overlap.first], tiles[overlap.second]
    first = one.read(overlap.box)
    if one.on_canvas and other.on_canvas:
        second = other.read(overlap.box)
        pixels = second.pixels
        covered = np.asarray((second.coverage > 0).all(axis=2))
    else:
        second = other.read()
        mapping = pixel_map(other.wcs, one.wcs, overlap.box)
        pixels = resample(second.pixels, mapping, overlap.box)
        covered = valid_pixels(pixels)
    both = np.asarray((first.coverage > 0).all(axis=2)) & covered
    return OverlapPixels(first.pixels, pixels, erode(both, _ERODE_PX))


def fit_overlap(overlap: Overlap, shared: OverlapPixels) -> PairFit:
    """Gain and offset of the second tile against the first, per channel."""
    fits: list[OverlapFit] = [
        measure_overlap(shared.first[..., channel], shared.second[..., channel], shared.mask)
        for channel in range(shared.first.shape[2])
    ]
    return PairFit(overlap.first, overlap.second, shared.pixels, tuple(fits))


def seam_step(overlap: Overlap, shared: OverlapPixels, tiles: Sequence[Tile], scaling: TileScaling) -> SeamStep:
    """How far apart two tiles are on their overlap once `scaling` is applied."""
    one, other = overlap.first, overlap.second
    channels = shared.first.shape[2]
    step = np.full(channels, np.nan)
    for channel in range(channels):
        difference = shared.first[..., channel] * scaling.gain[one, channel] + scaling.offset[one, channel]
        difference -= shared.second[..., channel] * scaling.gain[other, channel] + scaling.offset[other, channel]
        step[channel] = clipped_median(difference[shared.mask])[0]
    noise = 0.5 * (tiles[one].health.noise * scaling.gain[one] + tiles[other].health.noise * scaling.gain[other])
    with np.errstate(divide="ignore", invalid="ignore"):
        return SeamStep(step, np.where(noise > 0, step / noise, np.nan))
