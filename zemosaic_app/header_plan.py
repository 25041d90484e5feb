"""The plan of a mosaic from the headers of its subs alone, before any of them is solved or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.plan import CanvasPlan, plan_canvas, split_by_agreement
from zemosaic_engine.canvas.pointings import pointing_tiles
from zemosaic_engine.canvas.tile_layout import TileLayout, grid_tiles
from zemosaic_engine.errors import RunError, SubError
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.forecast import Forecast, forecast
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub

from .rough_places import near_others, roughly_placed


class NoPlacesError(RunError):
    """No header tells where on the sky its sub lies."""


@dataclass(frozen=True)
class HeaderPlan:
    """What headers tell of a mosaic.

    Attributes
    ----------
    solved : sequence of SubInfo
        Subs with a plate solution that agrees with the others.
    rough : sequence of SubInfo
        Subs without one, about where their headers say.
    unsolved : int
        How many subs have no plate solution, with or without a place.
    odd : sequence of SubError
        Subs whose headers contradict the others.
    canvas : CanvasPlan
    tiles : sequence of TileLayout
    forecast : Forecast
    """

    solved: Sequence[SubInfo]
    rough: Sequence[SubInfo]
    unsolved: int
    odd: Sequence[SubError]
    canvas: CanvasPlan
    tiles: Sequence[TileLayout]
    forecast: Forecast

    @property
    def placed(self) -> list[SubInfo]:
        """All subs that have a place, the solved ones first."""
        return [*self.solved, *self.rough]


def plan_from_headers(subs: Sequence[SubInfo | UnsolvedSub], settings: GridSettings, mode: str = "grid") -> HeaderPlan:
    """Plan the mosaic of subs of one filter.

    Parameters
    ----------
    subs : sequence of SubInfo or UnsolvedSub
    settings : GridSettings
    mode : {"grid", "classic"}

    Raises
    ------
    NoPlacesError
        No header tells where on the sky its sub lies.
    RunError
        They contradict each other, or the canvas is too large.
    """
    unsolved = [sub for sub in subs if isinstance(sub, UnsolvedSub)]
    known = [sub for sub in subs if isinstance(sub, SubInfo)]
    solved, odd = split_by_agreement(known, settings.max_gap_fov) if known else ([], [])
    if known and not solved:
        raise RunError(say("No usable sub: their headers contradict each other."))
    rough = near_others(solved, roughly_placed(unsolved), settings.max_gap_fov)
    infos = [*solved, *rough]
    if not infos:
        raise NoPlacesError(
            say("No header tells where its sub lies: what the mosaic will be is known once they are solved.")
        )
    canvas = plan_canvas(infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    tiles = planned_tiles(infos, canvas, settings, mode)
    expected = forecast(infos, canvas, tiles, settings, len(unsolved) - len(rough), len(unsolved))
    return HeaderPlan(solved, rough, len(unsolved), odd, canvas, tiles, expected)


def planned_tiles(
    infos: Sequence[SubInfo], canvas: CanvasPlan, settings: GridSettings, mode: str = "grid"
) -> Sequence[TileLayout]:
    """Return the tiles that a run of a mode makes."""
    if mode == "classic":
        return pointing_tiles(infos, settings.pointing_radius_fov, canvas.pixel_scale_arcsec, settings.max_canvas_mpx)
    footprints = [footprint_of(info, canvas) for info in infos]
    return grid_tiles(infos, footprints, canvas, settings.grid_size_factor, settings.batch_overlap_pct)
