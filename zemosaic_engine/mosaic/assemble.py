"""Joins the scaled tiles on the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..geometry import Box
from ..machine.threads import run_all, run_in_order
from ..resampling.resample import Kernel
from ..run.resources import JOINED_ROWS
from ..run.run import Run
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile, TileSet
from ..weighted_image import WeightedImage
from .coadd import Canvas, Landed, land
from .land_ahead import LandedAhead
from .scaled_tiles import blend_weight, scaled_part, scaled_tile, taper_of


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
            part, blend = scaled_tile(tile, number, scaling, run.settings)
            canvas.reproject(tile.wcs, part.pixels, blend, part.weight, part.coverage)
            run.reporter.step()
        return canvas.finish()
    chosen = run.settings.resample_kernel
    kernel: Kernel = "lanczos3" if chosen == "drizzle" or chosen == "auto" else chosen

    ahead = LandedAhead(run, tiles, scaling, kernel)

    def landed(number: int) -> Landed | None:
        if number in ahead:
            return ahead.take(number)
        part, blend = scaled_tile(tiles[number], number, scaling, run.settings)
        return land(tiles[number].wcs, part, blend, run.canvas, kernel)

    def add(tile: Landed | None) -> None:
        if tile is not None:
            canvas.add(tile)
        run.reporter.step()

    # Brought to the canvas on threads; added in their order, so that the sums are always the same.
    run_in_order(landed, add, range(len(tiles)), run.threads, run.cancel)
    return canvas.finish()


def _paste_bands(run: Run, tiles: Sequence[Tile], scaling: TileScaling) -> WeightedImage:
    """Join tiles in bands of rows on threads; only the mosaic itself is as large as the canvas."""
    tapers = run_all(lambda tile: taper_of(tile, run.settings), tiles, run.threads, run.cancel)
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
                part = scaled_part(tile, number, scaling, here)
                taper = tapers[number][here.relative_to(tile.outer).slices]
                blend = blend_weight(part.pixels, part.weight, taper)
                inner = tile.inner.intersect(here).relative_to(band)
                canvas.paste(here.relative_to(band), inner, part.pixels, blend, part.weight, part.coverage)
        done = canvas.finish()
        mosaic.pixels[band.slices], mosaic.weight[band.slices] = done.pixels, done.weight
        mosaic.coverage[band.slices] = done.coverage
        run.reporter.step()

    run_all(fill, bands, run.threads, run.cancel)
    return mosaic
