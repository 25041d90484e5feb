"""Overlaps of tiles, and the differences there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box, pixel_to_sky
from ..canvas.pixel_maps import PixelMap, between_nodes, pixel_map, source_box
from ..fits.headers import unit_vectors
from ..geometry import Box
from ..photometry.overlap_fits import difference_on_one_scale
from ..photometry.sky import cell_medians, cell_medians_of_thinned, clipped_medians_of_parts
from ..photometry.tile_scaling import compute_tile_photometric_scaling
from ..resampling.resample import kernel_reach, resample
from ..validity import erode, valid_pixels
from .gradients import GradientCells, tile_places
from .scaling import PairFit, TileScaling
from .tile import Tile

_ERODE_PX = 2  # edges of coverage carry half-filled pixels
_GRADIENT_CELL_PX = 16  # overlaps may be narrow
_ENOUGH_PX = 32768  # of an overlap; of more, every second of every second row says as much


@dataclass(frozen=True)
class PlacesOnTile:
    """Where the pixels of an overlap lie on one of its tiles.

    Attributes
    ----------
    nodes : ndarray of float64, shape (rows, columns, 2)
        (u, v), -1..1 from edge to edge of the tile, at nodes; linear along both axes in between, as in `PixelMap`.
    step : int
        Distance of the nodes in pixels of the overlap.
    first_row, first_column : int
        Of the overlap, counted from the first node.
    """

    nodes: NDArray[np.float64]
    step: int
    first_row: int
    first_column: int

    @classmethod
    def on_own_grid(cls, box: Box, tile: Tile) -> PlacesOnTile:
        """The places of a box of the tile's own grid."""
        inside, step = box.relative_to(tile.outer), max(box.shape)
        x, y = (np.array([first, first + step]) for first in (inside.x0, inside.y0))
        u, v = tile_places(x[None, :], y[:, None], tile.outer.shape)
        return cls(np.stack(np.broadcast_arrays(u, v), axis=2), step, 0, 0)

    @classmethod
    def mapped(cls, mapping: PixelMap, shape: tuple[int, int]) -> PlacesOnTile:
        """The places of the box of a map, on a tile of another grid."""
        box, (x, y) = mapping.box, np.moveaxis(mapping.nodes, 2, 0)
        nodes = np.stack(tile_places(x, y, shape), axis=2)
        return cls(nodes, mapping.step, box.y0 - mapping.node_y0, box.x0 - mapping.node_x0)

    def at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        """(u, v) of every pixel of some rows and columns of the overlap."""
        return between_nodes(self.nodes, self.step, self.first_row + rows, self.first_column + columns)


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
    on_first, on_second : PlacesOnTile
        Where its pixels lie on each tile.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    mask: NDArray[np.bool_]
    on_first: PlacesOnTile
    on_second: PlacesOnTile

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
    on_first, on_second : PlacesOnTile
        As in `OverlapPixels`.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    every: int
    shape: tuple[int, int]
    on_first: PlacesOnTile
    on_second: PlacesOnTile

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
        on_second = PlacesOnTile.on_own_grid(overlap.box, other)
    else:
        mapping = pixel_map(other.wcs, one.wcs, overlap.box)
        second = _resampled(other, mapping)
        covered = valid_pixels(second)
        on_second = PlacesOnTile.mapped(mapping, other.outer.shape)
    mask = erode(both & covered, _ERODE_PX)
    return OverlapPixels(first, second, mask, PlacesOnTile.on_own_grid(overlap.box, one), on_second)


def _resampled(tile: Tile, mapping: PixelMap) -> NDArray[np.float32]:
    """The pixels of a tile at those of another grid; only the part that these look at is read."""
    reach = kernel_reach("lanczos3", mapping.scale, tile.health.background.size)
    part = source_box(mapping, mapping.box, tile.outer.shape, reach)
    if part.is_empty:
        return np.full((*mapping.box.shape, tile.health.background.size), np.nan, dtype=np.float32)
    pixels, _ = tile.read_covered(part)
    return resample(pixels, mapping, origin=(part.y0, part.x0), shape=tile.outer.shape)


def fit_overlap(overlap: Overlap, shared: OverlapPixels) -> PairFit:
    """Gain and offset of the second tile against the first, per channel."""
    fits = compute_tile_photometric_scaling(shared.first, shared.second, mask=shared.mask).fits
    return PairFit(overlap.first, overlap.second, shared.pixels, tuple(fits))


def seam_step(overlap: Overlap, samples: OverlapSamples, tiles: Sequence[Tile], scaling: TileScaling) -> SeamStep:
    """Return the step between two tiles on their overlap after `scaling`."""
    one, other = overlap.first, overlap.second
    difference = scaled_difference(overlap, samples, scaling)
    whole = np.array([[0, difference.shape[0], 0, difference.shape[1]]])
    step = clipped_medians_of_parts(difference, whole)[0][0, :, 0]
    noise = 0.5 * (tiles[one].health.noise * scaling.gain[one] + tiles[other].health.noise * scaling.gain[other])
    with np.errstate(divide="ignore", invalid="ignore"):
        return SeamStep(step, np.where(noise > 0, step / noise, np.nan))


def scaled_difference(overlap: Overlap, samples: OverlapSamples, scaling: TileScaling) -> NDArray[np.float32]:
    """First minus second tile at the samples of their overlap once `scaling` is applied; NaN outside the mask."""
    both = ((overlap.first, samples.on_first), (overlap.second, samples.on_second))
    first, second = (_offsets(scaling, tile, places) for tile, places in both)
    nodes = np.array([(places.step, places.first_row, places.first_column) for _, places in both])
    gains = np.array([scaling.gain[tile] for tile, _ in both])
    return difference_on_one_scale((samples.first, samples.second), gains, (first, second), nodes, samples.every)


def _offsets(scaling: TileScaling, tile: int, places: PlacesOnTile) -> NDArray[np.float64]:
    """Offset of a tile with its plane at the nodes of the places on it, (rows, columns, C)."""
    u, v = np.moveaxis(places.nodes, 2, 0)[..., None]
    plane = scaling.plane[tile].astype(np.float64)
    return scaling.offset[tile] + plane[:, 0] + plane[:, 1] * u + plane[:, 2] * v


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

    def at_cells(on_tile: PlacesOnTile) -> NDArray[np.float64]:
        return np.stack([place[index[:, 0], index[:, 1]] for place in on_tile.at(rows, columns)], axis=1)

    first, second = at_cells(samples.on_first), at_cells(samples.on_second)
    return GradientCells(overlap.first, overlap.second, first, second, median, error)
