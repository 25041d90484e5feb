"""Lays out the tiles of a run, and checks that they can be stacked before any sub is measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..canvas.footprints import Footprint, footprint_of
from ..canvas.pointings import pointing_tiles
from ..canvas.tile_layout import TileLayout, grid_tiles
from ..errors import RunError
from ..kernels.reference import RANGE_REACH
from ..machine import memory
from ..machine.threads import run_all
from ..resampling.drizzle import filled_share
from ..run.run import Run
from ..sentences import say
from ..survey.calibrate import STEPS_OF_SOLUTION, is_solved
from .memory_plan import plan_memory
from .report import fewer_gaps_with
from .samples import planes_of

#: Of progress, for each sub of a tile: stacking takes so much longer than measuring, which counts one for each sub.
STEPS_A_SUB = 4
_LEAST_FILLED = 0.5  # of the pixels; below it drizzle makes a grid of dots


@dataclass(frozen=True)
class Layout:
    """The tiles of a run and how they are stacked.

    Attributes
    ----------
    tiles : sequence of TileLayout
    footprints : sequence of Footprint
        Of the subs on the canvas, by number.
    sample_bytes : int
        Samples that are held in memory at once.
    """

    tiles: Sequence[TileLayout]
    footprints: Sequence[Footprint]
    sample_bytes: int


def lay_out_tiles(run: Run) -> Layout:
    """Lay out the tiles of Grid Mode: cells of the canvas that overlap.

    Raises
    ------
    RunError
        If drizzle would leave most pixels empty, or there is no room for the samples of the deepest tile.
    """
    settings, footprints = run.settings, _footprints(run)
    factor, overlap_pct = settings.grid_size_factor, settings.batch_overlap_pct
    tiles = run.interruptibly(lambda: grid_tiles(run.subs, footprints, run.canvas, factor, overlap_pct, RANGE_REACH))
    return _checked(run, tiles, footprints)


def lay_out_more(run: Run, standing: Layout, own: int) -> Layout:
    """Lay out the tiles of a run to which subs were added; tiles that stand keep their names and boxes.

    Parameters
    ----------
    run : Run
    standing : Layout
        Of the run before.
    own : int
        Number of the first subs of the run from which the size of its tiles follows.
    """
    settings, known = run.settings, len(standing.footprints)
    footprints = [*standing.footprints, *(footprint_of(info, run.canvas) for info in run.subs[known:])]
    factor, overlap_pct = settings.grid_size_factor, settings.batch_overlap_pct
    laid = grid_tiles(run.subs[:own], footprints, run.canvas, factor, overlap_pct, RANGE_REACH)
    names = {tile.outer: tile.name for tile in standing.tiles}
    fresh = itertools.count(len(names))
    named = [replace(tile, name=names.get(tile.outer) or f"tile_{next(fresh):04d}") for tile in laid]
    return _checked(run, sorted(named, key=lambda tile: tile.name), footprints, to_measure=0)


def lay_out_pointings(run: Run) -> Layout:
    """Lay out the master tiles of the classic flow: one for each pointing, on a pixel grid of its own.

    Raises
    ------
    RunError
        As `lay_out_tiles`, or if a tile is above the limit of a canvas.
    """
    settings = run.settings
    tiles = run.interruptibly(
        lambda: pointing_tiles(
            run.subs, settings.pointing_radius_fov, run.canvas.pixel_scale_arcsec, settings.max_canvas_mpx
        )
    )
    return _checked(run, tiles, _footprints(run))


def steps_of(tiles: Iterable[TileLayout]) -> int:
    """Steps of progress that stacking some tiles counts for."""
    return STEPS_A_SUB * sum(len(tile.subs) for tile in tiles)


def _footprints(run: Run) -> list[Footprint]:
    return run_all(lambda info: footprint_of(info, run.canvas), run.subs, 1, run.cancel)


def _checked(
    run: Run, tiles: Sequence[TileLayout], footprints: Sequence[Footprint], to_measure: int | None = None
) -> Layout:
    """The layout, with the memory that is planned for its samples."""
    run.reporter.expect(steps_of(tiles) + STEPS_OF_SOLUTION * is_solved(run))  # now, so that progress never falls
    run.reporter.log(say("{n} subs on {n2} tiles", n=len(run.subs), n2=len(tiles)))
    planes = planes_of(run.settings)
    if run.settings.resample_kernel == "drizzle":
        _check_drizzle(run, max((len(tile.subs) for tile in tiles), default=0))
    limit = int(run.settings.memory_gb * 1e9)
    planned = plan_memory(run.subs, run.canvas, tiles, run.settings, planes, to_measure)
    run.reporter.log(
        say(
            "Memory: a peak of {peak} is planned, {samples} of it for samples",
            peak=memory.size_text(planned.peak),
            samples=memory.size_text(planned.samples),
        )
    )
    if 0 < limit < planned.peak:
        run.reporter.log(
            say(
                "memory_gb = {gigabytes:g} is less than this run needs; {size} is the least",
                gigabytes=run.settings.memory_gb,
                size=memory.size_text(planned.peak),
            ),
            "WARN",
        )
    return Layout(tiles, footprints, planned.samples)


def _check_drizzle(run: Run, subs: int) -> None:
    """Raise `RunError` if the drops of all subs of the deepest tile would fill less than half of its pixels."""
    settings, canvas = run.settings, run.canvas
    scale = float(np.median([info.pixel_scale_arcsec for info in run.subs])) / canvas.pixel_scale_arcsec
    filled = filled_share(subs, scale, settings.drizzle_pixfrac, run.subs[0].bayer)
    if filled < _LEAST_FILLED:
        raise RunError(
            say(
                "Drizzle would leave {share:.0f} % of the pixels empty: {subs} subs in the deepest tile "
                "are too few for drizzle_pixfrac {pixfrac:g} on a canvas of {scale:.3g} arcsec a pixel; "
                "raise {settings}, or choose resample_kernel = lanczos3.",
                share=100 - 100 * filled,
                subs=subs,
                pixfrac=settings.drizzle_pixfrac,
                scale=canvas.pixel_scale_arcsec,
                settings=fewer_gaps_with(settings),
            )
        )
