"""Stacks the tiles of a run one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..canvas.tile_layout import TileLayout
from ..errors import SubError, SubsLost
from ..machine import memory
from ..run.run import Run
from ..subs.faults import read_guarded
from ..subs.lost_inputs import raise_if_lost
from ..survey.calibrate import CalibratedSubs
from ..tiles.store import TileStore
from ..tiles.tile import TileSet
from ..weighted_image import WeightedImage
from .block_tiles import BlockTiles
from .choose_kernel import choose_kernel
from .equalise import RgbEqualiser
from .layout import Layout, steps_of
from .stack_ahead import keys_of, stack_ahead


def stack_tiles(run: Run, layout: Layout, subs: CalibratedSubs) -> TileSet:
    """Stack the subs of every tile, equalise its RGB medians and put it on disk; tiles of an earlier run are used.

    Parameters
    ----------
    run : Run
    layout : Layout
        The tiles.
    subs : CalibratedSubs
        The subs on the scale of the run.

    Raises
    ------
    SubsLost
        If a sub can no longer be read, or changed since it was measured.
    RunError
        If no tile has a valid pixel.
    """
    tiles = layout.tiles
    run = choose_kernel(run, tiles, subs)
    keys = keys_of(run, tiles, subs)
    with TileStore(run, tiles, keys) as store, BlockTiles(run, layout, subs) as stacker:
        memory.return_freed()  # what the solution has freed is in no plan
        run.reporter.expect(-steps_of(tile for tile in tiles if tile.name in store.done))
        stack_ahead(run, layout, subs, store, keys)
        return put_missing(run, subs, store, stacker, lambda tile: stacker.stack(tile, store))


def put_missing(
    run: Run,
    subs: CalibratedSubs,
    store: TileStore,
    stacker: BlockTiles,
    make: Callable[[TileLayout], tuple[WeightedImage | None, Sequence[int]]],
) -> TileSet:
    """Put the tiles that are not on disk there, one after another, and return all tiles.

    Parameters
    ----------
    run : Run
    subs : CalibratedSubs
    store : TileStore
    stacker : BlockTiles
        Knows which subs could not be read.
    make : callable
        ``make(tile)`` returns the content of a tile, None without a valid pixel, and the numbers of the subs in it.

    Raises
    ------
    SubsLost, RunError
        As for `stack_tiles`.
    """
    for tile in store.missing():
        content, numbers = make(tile)
        store.put(tile, content, numbers, set(stacker.failures))
        if stacker.failures:
            raise SubsLost(_all_lost(run, stacker.failures))
    kernel = run.settings.resample_kernel
    return store.finish(
        TileSet(levels=subs.levels, figures=subs.figures, saturation=_saturation(run, subs), kernel=kernel)
    )


def _all_lost(run: Run, known: Mapping[int, SubError]) -> list[SubError]:
    """The subs that could not be read any more, and all others that changed since they were measured."""
    lost = dict(known)
    for number, info in enumerate(run.subs):
        if number not in lost:
            try:
                read_guarded(info.path, partial(run.reuse.is_same, info))
            except SubError as error:
                raise_if_lost(error, [other.path for other in run.subs])
                run.reporter.set_aside(error)
                lost[number] = error
    return list(lost.values())


def _saturation(run: Run, subs: CalibratedSubs) -> NDArray[np.float64]:
    """Level at which each sub saturates in its middle, on the scale of the tiles; NaN where it is not known."""
    levels = np.full((len(run.subs), run.channels), np.nan)
    middle = np.zeros(1)
    for number, info in enumerate(run.subs):
        calibration = subs.calibration(number)
        if calibration is not None and np.isfinite(info.saturation_adu):
            factor, background = calibration.at(middle, middle)
            levels[number] = info.saturation_adu * factor[0] + background[0]
    neutral = RgbEqualiser(run, subs).of_run()
    return levels if neutral is None or np.isnan(neutral.level) else levels * neutral.gains + neutral.offsets
