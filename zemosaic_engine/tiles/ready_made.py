"""Takes ready-made tiles in place of stacked ones."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError, SubsLost
from ..geometry import Box
from ..photometry.sky import quiet_noise
from ..run import provenance
from ..run.run import Run
from ..sentences import say
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo, load_frame
from ..subs.lost_inputs import raise_if_lost
from ..subs.unchanged import read_unchanged
from ..weighted_image import WeightedImage
from .files import clear_tiles, tile_path
from .tile import Tile, TileSet, examine, write_tile


def take_tiles(run: Run) -> TileSet:
    """Take images with a WCS as tiles, as they are, each with a weight from its sky noise.

    Raises
    ------
    SubsLost
        If an image cannot be used.
    """
    taken, lost = TileSet(), list[SubError]()
    clear_tiles(run.output)
    run.reporter.expect(len(run.subs))
    for number, info in enumerate(run.subs):
        try:
            pixels = read_guarded(info.path, partial(_pixels, run, info))
        except SubError as error:
            raise_if_lost(error, [other.path for other in run.subs])
            run.reporter.set_aside(error)
            lost.append(error)
            run.reporter.step()
            continue
        if lost:
            continue  # the others are only looked at
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
        run.reporter.log(say("{name}: ready-made, {name2}", name=name, name2=info.path.name))
        run.reporter.step()
    if lost:
        raise SubsLost(lost)
    return taken


def _pixels(run: Run, info: SubInfo) -> NDArray[np.float32]:
    return read_unchanged(info, lambda: load_frame(info).pixels, run.reuse.is_same)
