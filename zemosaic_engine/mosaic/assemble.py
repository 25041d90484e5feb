"""Joins the scaled tiles on the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..machine.threads import run_all
from ..photometry.tile_scaling import apply_tile_photometric_scaling
from ..resampling.resample import Kernel
from ..run.resources import JOINED_ROWS
from ..run.run import Run
from ..settings import GridSettings
from ..tiles.gradients import plane_at, tile_places
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile, TileSet
from ..weighted_image import WeightedImage
from .blend import edge_taper
from .coadd import Canvas, Landed, land


def assemble(run: Run, tile_set: TileSet, scaling: TileScaling) -> WeightedImage:
    """Scale the tiles and join them: pasted where they share the canvas's pixels, reprojected elsewhere.

    Parameters
    ----------
    run : Run
        Its canvas and the setting ``batch_overlap_pct`` are used.
    tile_set : TileSet
    scaling : TileScaling
        Gain, offset and plane of each tile.
    """
    join = _paste_bands if all(tile.on_canvas for tile in tile_set.tiles) else _reproject
    return run.interruptibly(lambda: join(run, tile_set.tiles, scaling))


def _reproject(run: Run, tiles: Sequence[Tile], scaling: TileScaling) -> WeightedImage:
    """Join tiles that have pixel grids of their own; their pixels are scaled before they are interpolated."""
    canvas = Canvas(run.canvas, tiles[0].health.background.size)
    run.reporter.expect(len(tiles))
    if run.settings.tile_reprojection == "reproject_interp":
        for number, tile in enumerate(tiles):
            part, blend = _scaled_tile(tile, number, scaling, run.settings)
            canvas.reproject(tile.wcs, part.pixels, blend, part.weight, part.coverage)
            run.reporter.step()
        return canvas.finish()
    chosen = run.settings.resample_kernel
    kernel: Kernel = "lanczos3" if chosen == "drizzle" else chosen

    def landed(number: int) -> Landed | None:
        part, blend = _scaled_tile(tiles[number], number, scaling, run.settings)
        return land(tiles[number].wcs, part, blend, run.canvas, kernel)

    # A few at a time on threads; they are added in their order, so that the sums are always the same.
    for start in range(0, len(tiles), run.threads):
        for tile_there in run_all(landed, range(start, min(start + run.threads, len(tiles))), run.threads, run.cancel):
            if tile_there is not None:
                canvas.add(tile_there)
            run.reporter.step()
    return canvas.finish()


def _scaled_tile(
    tile: Tile, number: int, scaling: TileScaling, settings: GridSettings
) -> tuple[WeightedImage, NDArray[np.float32]]:
    """A whole tile on the scale of the reference, and its share in the mosaic."""
    part = _scaled_part(tile, number, scaling, tile.outer)
    return part, _blend_weight(part.pixels, part.weight, _taper_of(tile, settings))


def _paste_bands(run: Run, tiles: Sequence[Tile], scaling: TileScaling) -> WeightedImage:
    """Join tiles in bands of rows on threads; only the mosaic itself is as large as the canvas."""
    tapers = run_all(lambda tile: _taper_of(tile, run.settings), tiles, run.threads, run.cancel)
    height, width = run.canvas.shape
    shape = (height, width, tiles[0].health.background.size)
    mosaic = WeightedImage(
        np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.uint16)
    )
    bands = [Box(row, min(row + JOINED_ROWS, height), 0, width) for row in range(0, height, JOINED_ROWS)]
    run.reporter.expect(len(bands))

    def fill(band: Box) -> None:
        canvas = Canvas(replace(run.canvas, shape=band.shape), shape[2])
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
        run.reporter.step()

    run_all(fill, bands, run.threads, run.cancel)
    return mosaic


def _scaled_part(tile: Tile, number: int, scaling: TileScaling, part: Box) -> WeightedImage:
    """A part of a tile on the scale of the reference."""
    content = tile.read(part)
    gains, offsets = scaling.gain[number], scaling.offset[number]
    pixels = apply_tile_photometric_scaling(content.pixels, gains, offsets)
    if scaling.plane[number].any():
        inside = part.relative_to(tile.outer)
        x, y = np.arange(inside.x0, inside.x1)[None, :], np.arange(inside.y0, inside.y1)[:, None]
        pixels += plane_at(scaling.plane[number], *tile_places(x, y, tile.outer.shape))
    return WeightedImage(pixels, content.weight / np.square(gains), content.coverage)


def _taper_of(tile: Tile, settings: GridSettings) -> NDArray[np.float32]:
    """Return the weight with which a tile fades over its overlap to the edge of its valid data."""
    inner, outer = tile.inner, tile.outer
    shared = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, inner.x1 - outer.x1, 0)
    # Tiles with grids of their own overlap by what they do: half of the planned share is there nearly always.
    width = shared or settings.batch_overlap_pct / 200.0 * min(outer.shape)
    return edge_taper(np.asarray(np.isfinite(tile.read().pixels).any(axis=2)), width)


def _blend_weight(
    pixels: NDArray[np.float32], weight: NDArray[np.float32], taper: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inverse variance inside, falling smoothly over the overlap to the edge of valid data."""
    # Where the noise could not be measured the weight is 0, but the pixel must not be lost.
    certain = np.where(weight > 0, weight, np.float32(1e-12))
    return np.where(np.isfinite(pixels), taper[..., None] * certain, np.float32(0.0))
