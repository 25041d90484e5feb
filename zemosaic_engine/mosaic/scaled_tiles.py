"""Tiles on the scale of the mosaic, and their shares in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..channels import change_channels
from ..geometry import Box
from ..photometry.tile_scaling import apply_tile_photometric_scaling
from ..settings import GridSettings
from ..tiles.gradients import plane_at, tile_places
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile
from ..weighted_image import WeightedImage
from .blend import edge_taper


def scaled_tile(
    tile: Tile, number: int, scaling: TileScaling, settings: GridSettings
) -> tuple[WeightedImage, NDArray[np.float32]]:
    """A whole tile on the scale of the reference, and its share in the mosaic."""
    part = scaled_part(tile, number, scaling, tile.outer)
    has_data = np.asarray(np.isfinite(part.pixels).any(axis=2))
    taper = edge_taper(has_data, _taper_width(tile, settings))
    return part, blend_weight(part.pixels, part.weight, taper)


def scaled_part(tile: Tile, number: int, scaling: TileScaling, part: Box) -> WeightedImage:
    """A part of a tile on the scale of the reference."""
    content = tile.read(part)
    gains, offsets = scaling.gain[number], scaling.offset[number]
    pixels = apply_tile_photometric_scaling(content.pixels, gains, offsets)
    if scaling.plane[number].any():
        inside = part.relative_to(tile.outer)
        x, y = np.arange(inside.x0, inside.x1)[None, :], np.arange(inside.y0, inside.y1)[:, None]
        pixels += plane_at(scaling.plane[number], *tile_places(x, y, tile.outer.shape))
    weight = content.weight.copy()
    change_channels(np.divide, weight, np.square(gains))
    return WeightedImage(pixels, weight, content.coverage)


def taper_of(tile: Tile, settings: GridSettings) -> NDArray[np.float32]:
    """Return the weight with which a tile fades over its overlap to the edge of its valid data."""
    return edge_taper(tile.has_data(), _taper_width(tile, settings))


def _taper_width(tile: Tile, settings: GridSettings) -> float:
    """Pixels over which a tile fades."""
    inner, outer = tile.inner, tile.outer
    shared = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, inner.x1 - outer.x1, 0)
    # Tiles with grids of their own overlap by what they do: half of the planned share is there nearly always.
    return shared or settings.batch_overlap_pct / 200.0 * min(outer.shape)


def blend_weight(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], taper: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inverse variance inside, falling smoothly over the overlap to the edge of valid data."""
    # Where the noise could not be measured the weight is 0, but the pixel must not be lost.
    blend = weight.copy()
    blend[~(weight > 0)] = np.float32(1e-12)
    for channel in range(blend.shape[2]):
        blend[..., channel] *= taper
    blend[~np.isfinite(pixels)] = 0.0
    return blend
