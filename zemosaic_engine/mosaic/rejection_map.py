"""What rejection left out, over the whole mosaic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..canvas.coordinates import footprint_box
from ..canvas.pixel_maps import pixel_map
from ..canvas.plan import CanvasPlan
from ..geometry import Box
from ..machine.large_arrays import LargeArray
from ..machine.threads import run_all
from ..resampling.resample import resample
from ..run.run import Run
from ..tiles.tile import Tile
from ..weighted_image import Rejections


def rejection_map(run: Run, tiles: Sequence[Tile]) -> Rejections | None:
    """Counts of rejected samples on the canvas, of all tiles together.

    Neighbouring tiles of one grid hold the same subs, so that a pixel has the counts of the tile that owns it, as its
    coverage has. Tiles with pixel grids of their own add theirs, each from the nearest pixel.

    Parameters
    ----------
    run : Run
        Its canvas is used.
    tiles : sequence of Tile

    Returns
    -------
    Rejections or None
        None if the setting `rejection_map` is off, or the tiles come ready made: nobody rejected anything then.
    """
    if not run.settings.rejection_map or run.takes_tiles:
        return None
    shape = (*run.canvas.shape, run.channels)
    folder = run.scratch_folder(run.channels)
    whole = LargeArray(shape, np.uint16, folder), LargeArray(shape, np.uint16, folder)
    for start in range(0, len(tiles), run.threads):
        group = tiles[start : start + run.threads]
        for box, counts in run_all(lambda tile: _on_canvas(tile, run.canvas), group, run.threads, run.cancel):
            for layer, part in zip(whole, counts, strict=True):
                layer.add(box.y0, box.x0, part)
    return Rejections(*(layer.values for layer in whole))


def _on_canvas(tile: Tile, plan: CanvasPlan) -> tuple[Box, Rejections]:
    """The counts of a tile, and where they belong on the canvas."""
    if tile.on_canvas:
        return tile.inner, tile.read_rejections(tile.inner)
    box = footprint_box(tile.wcs, tile.outer.shape, plan.wcs, plan.shape)
    if box.is_empty:
        nothing = np.zeros((0, 0, 1), dtype=np.uint16)
        return box, Rejections(nothing, nothing)
    mapping = pixel_map(tile.wcs, plan.wcs, box, src_shape=tile.outer.shape)
    counts = (np.ascontiguousarray(layer, dtype=np.float32) for layer in tile.read_rejections())
    near = (np.nan_to_num(resample(layer, mapping, kernel="nearest"), copy=False) for layer in counts)
    return box, Rejections(*(layer.astype(np.uint16) for layer in near))
