"""Takes ready-made tiles in place of stacked ones."""

from __future__ import annotations

import numpy as np

from ..errors import RunError, SubError
from ..geometry import Box
from ..photometry.sky import quiet_noise
from ..run import provenance
from ..run.run import Run
from ..subs.frames import load_frame
from ..subs.lost_inputs import raise_if_lost
from ..weighted_image import WeightedImage
from .files import clear_tiles, tile_path
from .tile import Tile, TileSet, examine, write_tile


def take_tiles(run: Run) -> TileSet:
    """Take images with a WCS as tiles, as they are, each with a weight from its sky noise.

    Raises
    ------
    RunError
        If no image can be used.
    """
    taken = TileSet()
    clear_tiles(run.output)
    run.reporter.expect(len(run.subs))
    for number, info in enumerate(run.subs):
        try:
            pixels = load_frame(info).pixels
        except SubError as error:
            raise_if_lost(error, [other.path for other in run.subs])
            run.reporter.set_aside(error)
            taken.rejected.append(error)
            run.reporter.step()
            continue
        health = examine(pixels)
        with np.errstate(divide="ignore"):
            certainty = np.nan_to_num(1.0 / quiet_noise(pixels) ** 2, nan=1.0, posinf=1.0).astype(np.float32)
        finite = np.isfinite(pixels)
        content = WeightedImage(pixels, np.where(finite, certainty, np.float32(0.0)), finite.astype(np.uint16))
        name = f"tile_{len(taken.tiles):04d}"
        path = tile_path(run.output, name)
        box = Box(0, info.shape[0], 0, info.shape[1])
        cards = provenance.tile_cards(box, box, source=info.path.name, infos=[info])
        write_tile(path, content, info.wcs, cards, run.cancel.check)
        taken.tiles.append(Tile(name, path, info.wcs, box, box, False, health))
        taken.subs.append(1)
        taken.used.add(number)
        run.reporter.log(f"[GRID] {name}: ready-made, {info.path.name}")
        run.reporter.step()
    if not taken.tiles:
        raise RunError("No tile has a valid pixel; rejected_subs.csv gives each reason.")
    return taken
