"""Joins the scaled tiles on the canvas, band by band: however large the mosaic is, little of it is in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box
from ..geometry import Box
from ..machine import memory
from ..machine.large_arrays import LargeArray
from ..machine.threads import run_all, run_in_order
from ..resampling.resample import Kernel
from ..run.resources import joined_rows
from ..run.run import Run
from ..tiles.scaling import TileScaling
from ..tiles.tile import Tile, TileSet
from ..weighted_image import WeightedImage, empty_image
from .coadd import Canvas, Landed, land, land_by_reproject
from .land_ahead import LandedAhead
from .scaled_tiles import blend_weight, scaled_part, scaled_tile, taper_of

Ready = TypeVar("Ready")


@dataclass(frozen=True)
class _Join(Generic[Ready]):
    """How tiles are added to a band of the canvas.

    Attributes
    ----------
    reach : sequence of Box
        Where each tile lies on the canvas.
    prepare : callable
        ``prepare(number)`` makes of a tile what all bands need that it touches.
    add : callable
        ``add(canvas, band, number, prepared)`` adds it to the canvas of a band.
    at_once : int
        Tiles that are prepared at once.
    """

    reach: Sequence[Box]
    prepare: Callable[[int], Ready]
    add: Callable[[Canvas, Box, int, Ready], None]
    at_once: int


def assemble(run: Run, tile_set: TileSet, scaling: TileScaling) -> WeightedImage:
    """Scale the tiles and join them: pasted where they share the canvas's pixels, reprojected elsewhere.

    Parameters
    ----------
    run : Run
        Its canvas and the setting ``batch_overlap_pct`` are used.
    tile_set : TileSet
    scaling : TileScaling
        Gain, offset and plane of each tile.

    Returns
    -------
    WeightedImage
        In memory, or mapped from scratch files in the output folder where memory is too small for it.
    """
    tiles = tile_set.tiles

    def joined() -> WeightedImage:
        if all(tile.on_canvas for tile in tiles):
            return _join(run, tiles, _pasted(run, tiles, scaling))
        return _join(run, tiles, _reprojected(run, tiles, scaling))

    return run.interruptibly(joined)


def _pasted(run: Run, tiles: Sequence[Tile], scaling: TileScaling) -> _Join[NDArray[np.float32]]:
    """Tiles that share the pixels of the canvas; they are read part by part."""

    def add(canvas: Canvas, band: Box, number: int, taper: NDArray[np.float32]) -> None:
        tile = tiles[number]
        here = tile.outer.intersect(band)
        part = scaled_part(tile, number, scaling, here)
        blend = blend_weight(part.pixels, part.weight, taper[here.relative_to(tile.outer).slices])
        inner = tile.inner.intersect(here).relative_to(band)
        canvas.paste(here.relative_to(band), inner, part.pixels, blend, part.weight, part.coverage)

    return _Join([tile.outer for tile in tiles], lambda number: taper_of(tiles[number], run.settings), add, run.threads)


def _reprojected(run: Run, tiles: Sequence[Tile], scaling: TileScaling) -> _Join[Landed | None]:
    """Tiles that have pixel grids of their own; their pixels are scaled before they are interpolated."""
    plan, settings = run.canvas, run.settings
    reach = [footprint_box(tile.wcs, tile.outer.shape, plan.wcs, plan.shape) for tile in tiles]

    def add(canvas: Canvas, band: Box, _: int, landed: Landed | None) -> None:
        if landed is not None:
            canvas.add(landed.part(band))

    if settings.tile_reprojection == "reproject_interp":

        def reproject(number: int) -> Landed | None:
            part, blend = scaled_tile(tiles[number], number, scaling, settings)
            return land_by_reproject(tiles[number].wcs, part, blend, plan)

        return _Join(reach, reproject, add, 1)
    chosen = settings.resample_kernel
    kernel: Kernel = "lanczos3" if chosen == "drizzle" or chosen == "auto" else chosen
    ahead = LandedAhead(run, tiles, scaling, kernel)

    def landed(number: int) -> Landed | None:
        if number in ahead:
            return ahead.take(number)
        part, blend = scaled_tile(tiles[number], number, scaling, settings)
        return land(tiles[number].wcs, part, blend, plan, kernel)

    return _Join(reach, landed, add, run.threads)


def _join(run: Run, tiles: Sequence[Tile], join: _Join[Ready]) -> WeightedImage:
    """Fill the mosaic in bands of rows on threads; a tile is kept from the first band that it touches to the last.

    Tiles are added in their order, so that the sums are always the same.
    """
    height, width = run.canvas.shape
    channels = tiles[0].health.background.size
    folder = run.scratch_folder(channels)
    pixels, weight, coverage = (
        LargeArray((height, width, channels), dtype, folder) for dtype in (np.float32, np.float32, np.uint16)
    )
    rows = joined_rows(width, channels, run.threads)
    bands = [Box(row, min(row + rows, height), 0, width) for row in range(0, height, rows)]
    touching = [[n for n, box in enumerate(join.reach) if not box.intersect(band).is_empty] for band in bands]
    run.reporter.expect(len(bands) + len({number for numbers in touching for number in numbers}))
    prepared: dict[int, Ready] = {}

    def keep(found: tuple[int, Ready]) -> None:
        prepared.update([found])
        run.reporter.step()

    def fill(number: int) -> None:
        band = bands[number]
        whole = empty_image(band.shape, channels)
        for place, numbers in _places(band, touching[number], join.reach):
            canvas = Canvas(replace(run.canvas, shape=place.shape), channels)
            for tile in numbers:
                join.add(canvas, place, tile, prepared[tile])
            done, where = canvas.finish(), place.relative_to(band).slices
            whole.pixels[where], whole.weight[where], whole.coverage[where] = done.pixels, done.weight, done.coverage
        for array, part in ((pixels, whole.pixels), (weight, whole.weight), (coverage, whole.coverage)):
            array.put(band.y0, part)
        run.reporter.step()

    for first in range(0, len(bands), run.threads):
        memory.return_freed()  # what the stacking and earlier bands have freed is in no plan
        group = range(first, min(first + run.threads, len(bands)))
        needed = sorted({tile for number in group for tile in touching[number]})
        for tile in [tile for tile in prepared if tile not in needed]:
            del prepared[tile]
        missing = [tile for tile in needed if tile not in prepared]
        run_in_order(lambda tile: (tile, join.prepare(tile)), keep, missing, join.at_once, run.cancel)
        run_all(fill, group, run.threads, run.cancel)
    return WeightedImage(pixels.values, weight.values, coverage.values)


def _places(band: Box, numbers: Sequence[int], reach: Sequence[Box]) -> list[tuple[Box, list[int]]]:
    """Cut out of a band where there are tiles: parts of its columns, each with the tiles in it in their order."""
    places: list[tuple[Box, list[int]]] = []
    for number in sorted(numbers, key=lambda number: reach[number].x0):
        here = reach[number].intersect(band)
        if places and here.x0 < places[-1][0].x1:
            place, members = places[-1]
            places[-1] = place._replace(x1=max(place.x1, here.x1)), [*members, number]
        else:
            places.append((Box(band.y0, band.y1, here.x0, here.x1), [number]))
    return [(place, sorted(members)) for place, members in places]
