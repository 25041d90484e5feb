"""Overlaps of tiles, and the differences there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box, pixel_to_sky
from ..canvas.pixel_maps import pixel_map
from ..fits.headers import unit_vectors
from ..geometry import Box
from ..photometry.sky import cell_medians, clipped_median
from ..photometry.tile_scaling import compute_tile_photometric_scaling
from ..resampling.resample import resample
from ..validity import erode, valid_pixels
from .gradients import GradientCells, plane_at, tile_places
from .scaling import PairFit, TileScaling
from .tile import Tile

_ERODE_PX = 2  # edges of coverage carry half-filled pixels
_GRADIENT_CELL_PX = 16  # overlaps may be narrow

Places = tuple[NDArray, NDArray]


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
    first_place, second_place : tuple of ndarray
        (u, v) of the pixels on each tile, -1..1 from edge to edge; they broadcast to (h, w).
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    mask: NDArray[np.bool_]
    first_place: Places
    second_place: Places

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
    """Every pair of tiles whose outer boxes, mapped by WCS where they differ, meet; in the order of the tiles."""
    overlaps = []
    for first, second in _neighbours(tiles):
        one, other = tiles[first], tiles[second]
        if one.on_canvas and other.on_canvas:
            box = one.outer.intersect(other.outer)
        else:
            box = footprint_box(other.wcs, other.outer.shape, one.wcs, one.outer.shape)
        if not box.is_empty:
            overlaps.append(Overlap(first, second, box))
    return overlaps


def _neighbours(tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """Pairs of tiles near enough to meet, by a tree of their middles: thousands of tiles are no millions of pairs."""
    from scipy.spatial import cKDTree

    if all(tile.on_canvas for tile in tiles):
        boxes = np.array([tile.outer for tile in tiles], dtype=np.float64).reshape(-1, 4)
        middles = boxes.reshape(-1, 2, 2).mean(axis=2)
        reach = 0.5 * np.hypot(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2])
    else:
        middles, reach = _places_on_sky(tiles)
    near = cKDTree(middles).query_ball_point(middles, reach + reach.max(initial=0.0))
    return sorted((first, second) for first, found in enumerate(near) for second in found if second > first)


def _places_on_sky(tiles: Sequence[Tile]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vector to the middle of each tile, and how far its corners are from there."""
    middles, reach = [], []
    for tile in tiles:
        height, width = tile.outer.shape
        x, y = np.array([0.5, 0.0, 1.0, 0.0, 1.0]) * width - 0.5, np.array([0.5, 0.0, 0.0, 1.0, 1.0]) * height - 0.5
        here = unit_vectors(*pixel_to_sky(tile.wcs, x, y))
        middles.append(here[0])
        # A quarter more for sides that distortions bow out.
        reach.append(1.25 * np.linalg.norm(here[1:] - here[0], axis=1).max())
    return np.array(middles).reshape(-1, 3), np.array(reach)


def read_overlap(overlap: Overlap, tiles: Sequence[Tile]) -> OverlapPixels:
    """Read what two tiles have in common, the second resampled if its grid is another."""
    one, other = tiles[overlap.first], tiles[overlap.second]
    first = one.read(overlap.box)
    if one.on_canvas and other.on_canvas:
        second = other.read(overlap.box)
        pixels = second.pixels
        covered = np.asarray((second.coverage > 0).all(axis=2))
        place = _places(overlap.box, other)
    else:
        second = other.read()
        mapping = pixel_map(other.wcs, one.wcs, overlap.box)
        pixels = resample(second.pixels, mapping, overlap.box)
        covered = valid_pixels(pixels)
        place = tile_places(*mapping.evaluate(), other.outer.shape)
    both = np.asarray((first.coverage > 0).all(axis=2)) & covered
    return OverlapPixels(first.pixels, pixels, erode(both, _ERODE_PX), _places(overlap.box, one), place)


def _places(box: Box, tile: Tile) -> Places:
    """(u, v) of the pixels of a box on the tile's own grid."""
    inside = box.relative_to(tile.outer)
    x, y = np.arange(inside.x0, inside.x1)[None, :], np.arange(inside.y0, inside.y1)[:, None]
    return tile_places(x, y, tile.outer.shape)


def fit_overlap(overlap: Overlap, shared: OverlapPixels) -> PairFit:
    """Gain and offset of the second tile against the first, per channel."""
    fits = compute_tile_photometric_scaling(shared.first, shared.second, mask=shared.mask).fits
    return PairFit(overlap.first, overlap.second, shared.pixels, tuple(fits))


def seam_step(overlap: Overlap, shared: OverlapPixels, tiles: Sequence[Tile], scaling: TileScaling) -> SeamStep:
    """Return the step between two tiles on their overlap after `scaling`."""
    one, other = overlap.first, overlap.second
    difference = scaled_difference(overlap, shared, scaling)
    step = np.array([clipped_median(difference[..., channel])[0] for channel in range(difference.shape[2])])
    noise = 0.5 * (tiles[one].health.noise * scaling.gain[one] + tiles[other].health.noise * scaling.gain[other])
    with np.errstate(divide="ignore", invalid="ignore"):
        return SeamStep(step, np.where(noise > 0, step / noise, np.nan))


def scaled_difference(overlap: Overlap, shared: OverlapPixels, scaling: TileScaling) -> NDArray[np.float32]:
    """First minus second tile on their overlap once `scaling` is applied, (h, w, C); NaN outside the mask."""
    scaled = [
        pixels * scaling.gain[tile] + scaling.offset[tile] + plane_at(scaling.plane[tile], *place)
        for tile, pixels, place in (
            (overlap.first, shared.first, shared.first_place),
            (overlap.second, shared.second, shared.second_place),
        )
    ]
    difference = scaled[0] - scaled[1]
    difference[~shared.mask] = np.nan
    return difference


def gradient_cells(overlap: Overlap, shared: OverlapPixels, scaling: TileScaling) -> GradientCells:
    """Cell medians of the difference that is left between two scaled tiles, with their places on both."""
    difference = scaled_difference(overlap, shared, scaling)
    box = Box(0, difference.shape[0], 0, difference.shape[1])
    index, median, error = cell_medians(difference, box, _GRADIENT_CELL_PX)
    middle = np.minimum(index * _GRADIENT_CELL_PX + _GRADIENT_CELL_PX // 2, np.array(box.shape) - 1)

    def at_cells(places: Places) -> NDArray[np.float64]:
        u, v = (np.broadcast_to(place, box.shape)[middle[:, 0], middle[:, 1]] for place in places)
        return np.stack([u, v], axis=1)

    first, second = at_cells(shared.first_place), at_cells(shared.second_place)
    return GradientCells(overlap.first, overlap.second, first, second, median, error)
