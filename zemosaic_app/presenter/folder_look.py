"""The contents of an input folder: subs, filters, sessions, footprints, and the tiles that a run would make."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from zemosaic_engine.calibration_frames.finding import find_frames
from zemosaic_engine.calibration_frames.records import Conditions
from zemosaic_engine.calibration_frames.session import described
from zemosaic_engine.canvas.coordinates import footprint_polygon
from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.plan import CanvasPlan, plan_canvas, split_by_agreement
from zemosaic_engine.canvas.pointings import pointing_tiles
from zemosaic_engine.canvas.tile_layout import TileLayout, grid_tiles
from zemosaic_engine.errors import RunError, SettingsError, ZeMosaicError
from zemosaic_engine.names import shown_name
from zemosaic_engine.run.request import no_usable_sub
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.subs.finding import Search, find_subs, nothing_found
from zemosaic_engine.subs.folder import FoundSubs
from zemosaic_engine.subs.frames import SubInfo
from zemosaic_worker import recognise_mode

from .messages import FolderContents
from .named_places import named_places

_CORNERS = 4


def look_into(
    folder: Path, settings: GridSettings, mode: str = "", on_file: Callable[[int, int], None] | None = None
) -> FolderContents:
    """Read the headers of a folder and plan its mosaic; nothing is written.

    Parameters
    ----------
    folder : Path
        The input folder of a run.
    settings : GridSettings
        Filter, pixel scale and the size of tiles count.
    mode : str
        ``"grid"`` or ``"classic"``; empty takes the mode that the folder asks for.
    on_file : callable, optional
        ``on_file(done, total)`` after each file; it may raise to stop.

    Raises
    ------
    SettingsError
        The folder is not there, or its plan cannot be read.
    """
    if not folder.is_dir():
        raise SettingsError(say("The input folder {folder} does not exist.", folder=folder))
    search = Search(settings.recursive, settings.saturation_adu)
    found = find_subs(folder, search, on_file)
    if not found.infos and not found.unsolved and not found.rejected:
        problem = nothing_found(folder, found, recursive=settings.recursive)
        return FolderContents(
            str(folder), recognise_mode(folder), beside=_beside(found), notes=list(found.notes), problem=problem
        )
    if settings.plate_solve == "off":
        found = found.without_unsolved()
    subs = found.subs
    contents = FolderContents(
        str(folder),
        recognise_mode(folder),
        len(subs),
        _counted(sub.filter for sub in subs),
        _counted(sub.session for sub in subs),
        _counted(sub.camera for sub in subs),
        math.fsum(sub.exposure_s for sub in subs if math.isfinite(sub.exposure_s)),
        [(_name_in(folder, error.path), error.reason) for error in found.rejected],
        unsolved=len(found.unsolved),
        beside=_beside(found),
        notes=list(found.notes),
        calibration=_calibration(found, settings),
    )
    if not subs:
        return replace(contents, problem=no_usable_sub(found.rejected))
    try:
        chosen = stack_plan.select_filter(subs, settings.filter)
        solved = [sub for sub in chosen if isinstance(sub, SubInfo)]
        return _with_plan(contents, solved, settings, mode or contents.mode) if solved else contents
    except ZeMosaicError as error:  # a filter has to be chosen, the canvas is too large ...: for people to mend
        return replace(contents, problem=str(error))


def _calibration(found: FoundSubs, settings: GridSettings) -> list[str]:
    """What calibration frames were found, and for how many subs."""
    lights = {sub.path: Conditions.of(sub) for sub in found.subs}
    try:
        return described(find_frames(found.others, settings), lights, settings.pedestal_adu)
    except SettingsError as error:  # a folder is not there: the run will say so too
        return [str(error)]


def _beside(found: FoundSubs) -> dict[str, int]:
    """Return the number of files of each role except lights."""
    return {str(role): count for role, count in found.count_by_role().items()}


def _name_in(folder: Path, path: Path) -> str:
    """The name of a file as seen from the folder, with bytes that are no text escaped."""
    return shown_name(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path)


def _counted(names: object) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))  # type: ignore[call-overload]


def _with_plan(contents: FolderContents, infos: Sequence[SubInfo], settings: GridSettings, mode: str) -> FolderContents:
    kept, odd = split_by_agreement(infos, settings.max_gap_fov)
    if not kept:
        raise RunError(say("No usable sub: their headers contradict each other."))
    canvas = plan_canvas(kept, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    return replace(
        contents,
        set_aside=[
            *contents.set_aside,
            *((_name_in(Path(contents.folder), error.path), error.reason) for error in odd),
        ],
        canvas_shape=canvas.shape,
        canvas_header=canvas.wcs.to_header(relax=True).tostring(),
        pixel_scale_arcsec=canvas.pixel_scale_arcsec,
        usual_scale_arcsec=float(np.median([info.pixel_scale_arcsec for info in kept])),
        footprints=[_corners(info, canvas) for info in kept],
        tiles=[_planned(layout, canvas) for layout in _layouts(kept, canvas, settings, mode)],
        names=named_places(canvas.wcs, canvas.shape),
    )


def _layouts(infos: Sequence[SubInfo], canvas: CanvasPlan, settings: GridSettings, mode: str) -> Sequence[TileLayout]:
    if mode == "classic":
        return pointing_tiles(infos, settings.pointing_radius_fov, canvas.pixel_scale_arcsec, settings.max_canvas_mpx)
    footprints = [footprint_of(info, canvas) for info in infos]
    return grid_tiles(infos, footprints, canvas, settings.grid_size_factor, settings.batch_overlap_pct)


def _corners(info: SubInfo, canvas: CanvasPlan) -> list[list[float]]:
    outline = footprint_polygon(info.wcs, info.shape, canvas.wcs)
    corners = outline[:: max(1, len(outline) // _CORNERS)]
    return [[round(float(x), 1), round(float(y), 1)] for x, y in corners]


def _planned(layout: TileLayout, canvas: CanvasPlan) -> tuple[str, list[int], list[int]]:
    if layout.grid is None:
        return layout.name, list(layout.inner), list(layout.outer)
    box = place_on(canvas.wcs, layout.grid.wcs, layout.grid.shape)
    return layout.name, box, box


def place_on(canvas: WCS, wcs: WCS, shape: tuple[int, int]) -> list[int]:
    """The box ``(y0, y1, x0, x1)`` of an image that lies upright on the canvas, by its middle and its size."""
    height, width = shape
    middle = wcs.pixel_to_world_values((width - 1) / 2.0, (height - 1) / 2.0)
    x, y = (float(np.asarray(value)) for value in canvas.world_to_pixel_values(*middle))
    y0, x0 = round(y - (height - 1) / 2.0), round(x - (width - 1) / 2.0)
    return [y0, y0 + height, x0, x0 + width]
