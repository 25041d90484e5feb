"""Overlaps of tiles, and the differences there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box, pixel_to_sky
from ..canvas.pixel_maps import PixelMap, pixel_map, source_box
from ..fits.headers import unit_vectors
from ..geometry import Box
from ..photometry.sky import cell_medians, cell_medians_of_thinned, clipped_median
from ..photometry.tile_scaling import compute_tile_photometric_scaling
from ..resampling.resample import kernel_reach, resample
from ..validity import erode, valid_pixels
from .gradients import GradientCells, plane_at, tile_places
from .scaling import PairFit, TileScaling
from .tile import Tile

_ERODE_PX = 2  # edges of coverage carry half-filled pixels
_GRADIENT_CELL_PX = 16  # overlaps may be narrow
_ENOUGH_PX = 32768  # of an overlap; of more, every second of every second row says as much

Places = tuple[NDArray, NDArray]


class OnTile(Protocol):
    """Where the pixels of an overlap lie on one of its tiles."""

    def __call__(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Places:
        """(u, v), -1..1 from edge to edge of the tile, of some rows and columns of the box; they broadcast."""


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
    on_first, on_second : OnTile
        Where its pixels lie on each tile.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    mask: NDArray[np.bool_]
    on_first: OnTile
    on_second: OnTile

    @property
    def pixels(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.mask))

    def samples(self) -> OverlapSamples:
        """What skies are compared by once gains are known."""
        every = 1 if self.mask.size <= _ENOUGH_PX else 2
        part = slice(None, None, every)
        first, second = (np.ascontiguousarray(image[part, part]) for image in (self.first, self.second))
        first[~self.mask[part, part]] = np.nan
        return OverlapSamples(first, second, every, self.mask.shape, self.on_first, self.on_second)


@dataclass(frozen=True)
class OverlapSamples:
    """Pixels of an overlap, thinned where there are many.

    Attributes
    ----------
    first, second : ndarray of float32, shape (h, w, C)
        In ADU, as in `OverlapPixels`; `first` is NaN outside of its mask.
    every : int
        1, or 2 for every second of every second row.
    shape : tuple of int
        Rows and columns of the overlap.
    on_first, on_second : OnTile
        As in `OverlapPixels`.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    every: int
    shape: tuple[int, int]
    on_first: OnTile
    on_second: OnTile

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.first.nbytes + self.second.nbytes


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
    first, both = one.read_covered(overlap.box)
    if one.on_canvas and other.on_canvas:
        second, covered = other.read_covered(overlap.box)
        on_second: OnTile = partial(_places, overlap.box, other)
    else:
        mapping = pixel_map(other.wcs, one.wcs, overlap.box)
        second = _resampled(other, mapping)
        covered = valid_pixels(second)
        on_second = partial(_mapped_places, mapping, other.outer.shape)
    mask = erode(both & covered, _ERODE_PX)
    return OverlapPixels(first, second, mask, partial(_places, overlap.box, one), on_second)


def _resampled(tile: Tile, mapping: PixelMap) -> NDArray[np.float32]:
    """The pixels of a tile at those of another grid; only the part that these look at is read."""
    reach = kernel_reach("lanczos3", mapping.scale, tile.health.background.size)
    part = source_box(mapping, mapping.box, tile.outer.shape, reach)
    if part.is_empty:
        return np.full((*mapping.box.shape, tile.health.background.size), np.nan, dtype=np.float32)
    pixels, _ = tile.read_covered(part)
    return resample(pixels, mapping, origin=(part.y0, part.x0), shape=tile.outer.shape)


def _places(box: Box, tile: Tile, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Places:
    """(u, v) of some rows and columns of a box on the tile's own grid."""
    inside = box.relative_to(tile.outer)
    return tile_places((inside.x0 + columns)[None, :], (inside.y0 + rows)[:, None], tile.outer.shape)


def _mapped_places(
    mapping: PixelMap, shape: tuple[int, int], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Places:
    """(u, v) of some rows and columns of the box of a map, on a tile of another grid."""
    first_row, first_column = mapping.box.y0 - mapping.node_y0, mapping.box.x0 - mapping.node_x0
    return tile_places(*mapping.at(first_row + rows, first_column + columns), shape)


def fit_overlap(overlap: Overlap, shared: OverlapPixels) -> PairFit:
    """Gain and offset of the second tile against the first, per channel."""
    fits = compute_tile_photometric_scaling(shared.first, shared.second, mask=shared.mask).fits
    return PairFit(overlap.first, overlap.second, shared.pixels, tuple(fits))


def seam_step(overlap: Overlap, samples: OverlapSamples, tiles: Sequence[Tile], scaling: TileScaling) -> SeamStep:
    """Return the step between two tiles on their overlap after `scaling`."""
    one, other = overlap.first, overlap.second
    difference = scaled_difference(overlap, samples, scaling)
    step = np.array([clipped_median(difference[..., channel])[0] for channel in range(difference.shape[2])])
    noise = 0.5 * (tiles[one].health.noise * scaling.gain[one] + tiles[other].health.noise * scaling.gain[other])
    with np.errstate(divide="ignore", invalid="ignore"):
        return SeamStep(step, np.where(noise > 0, step / noise, np.nan))


def scaled_difference(overlap: Overlap, samples: OverlapSamples, scaling: TileScaling) -> NDArray[np.float32]:
    """First minus second tile at the samples of their overlap once `scaling` is applied; NaN outside the mask."""
    rows, columns = (np.arange(0, side, samples.every) for side in samples.shape)
    scaled = []
    for tile, pixels, on_tile in (
        (overlap.first, samples.first, samples.on_first),
        (overlap.second, samples.second, samples.on_second),
    ):
        level = pixels * scaling.gain[tile] + scaling.offset[tile]
        if scaling.plane[tile].any():
            level += plane_at(scaling.plane[tile], *on_tile(rows, columns))
        scaled.append(level)
    return np.asarray(scaled[0] - scaled[1])


def gradient_cells(overlap: Overlap, samples: OverlapSamples, scaling: TileScaling) -> GradientCells:
    """Cell medians of the difference that is left between two scaled tiles, with their places on both."""
    difference = scaled_difference(overlap, samples, scaling)
    if samples.every == 1:
        index, median, error = cell_medians(
            difference, Box(0, samples.shape[0], 0, samples.shape[1]), _GRADIENT_CELL_PX
        )
    else:
        index, median, error = cell_medians_of_thinned(difference, _GRADIENT_CELL_PX)
    rows, columns = (
        np.minimum(np.arange(0, side, _GRADIENT_CELL_PX) + _GRADIENT_CELL_PX // 2, side - 1) for side in samples.shape
    )

    def at_cells(on_tile: OnTile) -> NDArray[np.float64]:
        places = (np.broadcast_to(place, (rows.size, columns.size)) for place in on_tile(rows, columns))
        return np.stack([place[index[:, 0], index[:, 1]] for place in places], axis=1)

    first, second = at_cells(samples.on_first), at_cells(samples.on_second)
    return GradientCells(overlap.first, overlap.second, first, second, median, error)
