"""Scaled tiles come together on the canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .blend import edge_taper
from .canvas import Canvas, Mosaic
from .events import CancelToken, Teller
from .photometry.apply import apply_tile_photometric_scaling
from .photometry.tile_gradients import plane_at, tile_places
from .photometry.tile_scaling import TileScaling
from .settings import GridSettings
from .tiles import Tile
from .wcs import CanvasPlan


def assemble(
    tiles: Sequence[Tile],
    scaling: TileScaling,
    plan_of_canvas: CanvasPlan,
    settings: GridSettings,
    tell: Teller,
    cancel: CancelToken,
) -> Mosaic:
    """Scaled tiles come together: pasted where they share the canvas's pixels, reprojected elsewhere."""
    canvas = Canvas(plan_of_canvas, tiles[0].health.background.size)
    for number, tile in enumerate(tiles):
        cancel.check()
        content = tile.read()
        gains, offsets = scaling.gain[number], scaling.offset[number]
        pixels = apply_tile_photometric_scaling(content.pixels, gains, offsets)
        if scaling.plane[number].any():
            height, width = tile.outer.shape
            places = tile_places(np.arange(width)[None, :], np.arange(height)[:, None], (height, width))
            pixels += plane_at(scaling.plane[number], *places)
        weight = content.weight / np.square(gains)
        blend = _blend_weight(tile, pixels, weight, settings)
        if tile.on_canvas:
            canvas.paste(tile.outer, tile.inner, pixels, blend, weight, content.coverage)
        else:
            canvas.reproject(tile.wcs, pixels, blend, weight, content.coverage)
        tell.progress(number + 1, len(tiles))
    return canvas.finish()


def _blend_weight(
    tile: Tile, pixels: NDArray[np.float32], weight: NDArray[np.float32], settings: GridSettings
) -> NDArray[np.float32]:
    """Inverse variance inside, falling smoothly over the overlap to the edge of valid data."""
    inner, outer = tile.inner, tile.outer
    shared = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, inner.x1 - outer.x1, 0)
    width = shared or settings.batch_overlap_pct / 100.0 * min(outer.shape)
    taper = edge_taper(np.asarray(np.isfinite(pixels).any(axis=2)), width)
    # Where the noise could not be measured the weight is 0, but the pixel must not be lost.
    certain = np.where(weight > 0, weight, np.float32(1e-12))
    return np.where(np.isfinite(pixels), taper[..., None] * certain, np.float32(0.0))
