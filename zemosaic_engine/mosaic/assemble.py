"""Scaled tiles come together on the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..canvas.plan import CanvasPlan
from ..events import CancelToken, Steps, Teller
from ..geometry import Box
from ..machine.threads import run_all, thread_count
from ..photometry.apply import apply_tile_photometric_scaling
from ..settings import GridSettings
from ..stacking.resample import Kernel
from ..tiles.gradients import plane_at, tile_places
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile, TilePixels
from .blend import edge_taper
from .coadd import Canvas, Landed, Mosaic, land

_BAND_ROWS = 256


def assemble(
    tiles: Sequence[Tile],
    scaling: TileScaling,
    plan_of_canvas: CanvasPlan,
    settings: GridSettings,
    tell: Teller,
    cancel: CancelToken,
) -> Mosaic:
    """Scaled tiles come together: pasted where they share the canvas's pixels, reprojected elsewhere."""
    if all(tile.on_canvas for tile in tiles):
        return _assemble_bands(tiles, scaling, plan_of_canvas, settings, tell, cancel)
    if settings.tile_reprojection == "resampler":
        return _assemble_landed(tiles, scaling, plan_of_canvas, settings, tell, cancel)
    canvas = Canvas(plan_of_canvas, tiles[0].health.background.size)
    for number, tile in enumerate(tiles):
        cancel.check()
        part, blend = _scaled_tile(tile, number, scaling, settings)
        canvas.reproject(tile.wcs, part.pixels, blend, part.weight, part.coverage)
        tell.progress(number + 1, len(tiles))
    return canvas.finish()


def _assemble_landed(
    tiles: Sequence[Tile],
    scaling: TileScaling,
    plan_of_canvas: CanvasPlan,
    settings: GridSettings,
    tell: Teller,
    cancel: CancelToken,
) -> Mosaic:
    """Tiles with grids of their own land on threads, a few at a time, and are added in their order."""
    kernel: Kernel = "lanczos3" if settings.resample_kernel == "drizzle" else settings.resample_kernel
    threads = thread_count(settings.threads)
    canvas = Canvas(plan_of_canvas, tiles[0].health.background.size)

    def landed(number: int) -> Landed | None:
        part, blend = _scaled_tile(tiles[number], number, scaling, settings)
        return land(tiles[number].wcs, part, blend, plan_of_canvas, kernel)

    for start in range(0, len(tiles), threads):
        for tile in run_all(landed, range(start, min(start + threads, len(tiles))), threads, cancel):
            if tile is not None:
                canvas.add(tile)
        tell.progress(min(start + threads, len(tiles)), len(tiles))
    return canvas.finish()


def _scaled_tile(
    tile: Tile, number: int, scaling: TileScaling, settings: GridSettings
) -> tuple[TilePixels, NDArray[np.float32]]:
    """A whole tile on the scale of the reference, and its share in the mosaic."""
    part = _scaled_part(tile, number, scaling, tile.outer)
    return part, _blend_weight(part.pixels, part.weight, _taper_of(tile, settings))


def _assemble_bands(
    tiles: Sequence[Tile],
    scaling: TileScaling,
    plan_of_canvas: CanvasPlan,
    settings: GridSettings,
    tell: Teller,
    cancel: CancelToken,
) -> Mosaic:
    """Bands of rows on threads: their sums are small, and only the mosaic itself is as large as the canvas."""
    threads = thread_count(settings.threads)
    tapers = run_all(lambda tile: _taper_of(tile, settings), tiles, threads, cancel)
    height, width = plan_of_canvas.shape
    shape = (height, width, tiles[0].health.background.size)
    mosaic = Mosaic(
        np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.uint16)
    )
    bands = [Box(row, min(row + _BAND_ROWS, height), 0, width) for row in range(0, height, _BAND_ROWS)]
    steps = Steps(len(bands), tell, cancel)

    def fill(band: Box) -> None:
        canvas = Canvas(replace(plan_of_canvas, shape=band.shape), shape[2])
        for number, tile in enumerate(tiles):
            here = tile.outer.intersect(band)
            if not here.is_empty:
                part = _scaled_part(tile, number, scaling, here)
                taper = tapers[number][here.relative_to(tile.outer).slices]
                blend = _blend_weight(part.pixels, part.weight, taper)
                inner = tile.inner.intersect(here).relative_to(band)
                canvas.paste(here.relative_to(band), inner, part.pixels, blend, part.weight, part.coverage)
        done = canvas.finish()
        mosaic.pixels[band.slices], mosaic.weight[band.slices] = done.pixels, done.weight
        mosaic.coverage[band.slices] = done.coverage
        steps.one()

    run_all(fill, bands, threads, cancel)
    return mosaic


def _scaled_part(tile: Tile, number: int, scaling: TileScaling, part: Box) -> TilePixels:
    """A part of a tile on the scale of the reference."""
    content = tile.read(part)
    gains, offsets = scaling.gain[number], scaling.offset[number]
    pixels = apply_tile_photometric_scaling(content.pixels, gains, offsets)
    if scaling.plane[number].any():
        inside = part.relative_to(tile.outer)
        x, y = np.arange(inside.x0, inside.x1)[None, :], np.arange(inside.y0, inside.y1)[:, None]
        pixels += plane_at(scaling.plane[number], *tile_places(x, y, tile.outer.shape))
    return TilePixels(pixels, content.weight / np.square(gains), content.coverage)


def _taper_of(tile: Tile, settings: GridSettings) -> NDArray[np.float32]:
    """How a tile fades over its overlap to the edge of its valid data."""
    inner, outer = tile.inner, tile.outer
    shared = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, inner.x1 - outer.x1, 0)
    width = shared or settings.batch_overlap_pct / 100.0 * min(outer.shape)
    return edge_taper(np.asarray(np.isfinite(tile.read().pixels).any(axis=2)), width)


def _blend_weight(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], taper: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inverse variance inside, falling smoothly over the overlap to the edge of valid data."""
    # Where the noise could not be measured the weight is 0, but the pixel must not be lost.
    certain = np.where(weight > 0, weight, np.float32(1e-12))
    return np.where(np.isfinite(pixels), taper[..., None] * certain, np.float32(0.0))
