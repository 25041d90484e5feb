"""The contents of an input folder: subs, filters, sessions, footprints, and the tiles that a run would make."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from zemosaic_app.header_plan import NoPlacesError, plan_from_headers
from zemosaic_app.report.sky import SkyFrame, sky_lines
from zemosaic_engine.calibration_frames.finding import find_frames
from zemosaic_engine.calibration_frames.records import Conditions
from zemosaic_engine.calibration_frames.session import described
from zemosaic_engine.canvas.advice import advise_on
from zemosaic_engine.canvas.coordinates import footprint_polygon
from zemosaic_engine.canvas.depth import corners_on, depth_map
from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.canvas.tile_layout import TileLayout
from zemosaic_engine.errors import SettingsError, ZeMosaicError
from zemosaic_engine.machine import memory
from zemosaic_engine.run.request import no_usable_sub
from zemosaic_engine.run.resources import existing_folder
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.subs.finding import Search, find_subs, name_in_folder, nothing_found, without_left_out
from zemosaic_engine.subs.folder import FoundSubs
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub
from zemosaic_worker import recognise_mode

from .messages import FolderContents
from .named_places import named_places

_CORNERS = 4


def look_into(
    folder: Path,
    settings: GridSettings,
    mode: str = "",
    on_file: Callable[[int, int], None] | None = None,
    output: Path | None = None,
    left_out: Collection[str] = (),
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
    output : Path, optional
        Where the run will write; that folder or one above it tells how much of the disk is free.
    left_out : collection of str
        Names of subs that are listed and not planned for.

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
    listed = _listed(folder, found)
    found, _ = without_left_out(folder, found, left_out)
    subs = found.subs
    contents = FolderContents(
        str(folder),
        recognise_mode(folder),
        len(subs),
        _counted(sub.filter for sub in subs),
        _counted(sub.session for sub in subs),
        _counted(sub.camera for sub in subs),
        math.fsum(sub.exposure_s for sub in subs if math.isfinite(sub.exposure_s)),
        [(name_in_folder(folder, Path(error.path)), error.reason) for error in found.rejected],
        unsolved=len(found.unsolved),
        beside=_beside(found),
        notes=list(found.notes),
        calibration=_calibration(found, settings),
        subs_listed=listed,
    )
    if not subs:
        return replace(contents, problem=no_usable_sub(found.rejected))
    try:
        chosen = stack_plan.select_filter(subs, settings.filter)
        planned = _with_plan(contents, chosen, settings, mode or contents.mode)
        return replace(planned, free_bytes=_free_bytes(output or folder)) if planned.canvas_shape else planned
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


def _listed(folder: Path, found: FoundSubs) -> list[list[Any]]:
    """A row of facts for every sub, in the order of time; those that cannot be used last."""
    rows: list[list[Any]] = [
        [
            name_in_folder(folder, sub.path),
            sub.date_obs,
            sub.session,
            sub.filter,
            sub.exposure_s,
            "solved" if isinstance(sub, SubInfo) else "unsolved",
            "",
        ]
        for sub in sorted(found.subs, key=stack_plan.time_order)
    ]
    aside = ((name_in_folder(folder, Path(error.path)), error.reason) for error in found.rejected)
    return rows + [[name, "", "", "", math.nan, "set_aside", reason] for name, reason in aside]


def _counted(names: object) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))  # type: ignore[call-overload]


def _with_plan(
    contents: FolderContents, subs: Sequence[SubInfo | UnsolvedSub], settings: GridSettings, mode: str
) -> FolderContents:
    """The contents with the canvas that is planned; without one if no header tells where its sub lies."""
    try:
        plan = plan_from_headers(subs, settings, mode)
    except NoPlacesError:
        return contents
    infos, canvas, cost = plan.placed, plan.canvas, plan.forecast
    corners = corners_on(infos, canvas.wcs)
    depth = depth_map(corners, np.array([info.exposure_s for info in infos]), canvas.shape)
    advice = advise_on(infos, canvas)
    return replace(
        contents,
        set_aside=[
            *contents.set_aside,
            *((name_in_folder(Path(contents.folder), Path(error.path)), error.reason) for error in plan.odd),
        ],
        canvas_shape=canvas.shape,
        canvas_header=canvas.wcs.to_header(relax=True).tostring(),
        pixel_scale_arcsec=canvas.pixel_scale_arcsec,
        usual_scale_arcsec=float(np.median([info.pixel_scale_arcsec for info in infos])),
        footprints=[_corners(info, canvas) for info in infos],
        footprint_names=[name_in_folder(Path(contents.folder), info.path) for info in infos],
        roughly=len(plan.rough),
        tiles=[_planned(layout, canvas) for layout in plan.tiles],
        names=named_places(canvas.wcs, canvas.shape),
        object_name=cost.field,
        size=cost.size,
        seconds=cost.seconds,
        disk_bytes=cost.disk_bytes,
        memory_bytes=cost.memory_bytes,
        depth=[[round(float(value), 1) for value in row] for row in depth.seconds],
        depth_cell_px=depth.cell_px,
        sky_lines=_sky_lines(canvas),
        advice={} if advice is None else asdict(advice),
    )


def _sky_lines(canvas: CanvasPlan) -> list[tuple[str, list[list[float]]]]:
    """Lines of right ascension and declination on the canvas, each from its lower or left end."""
    height = canvas.shape[0]
    lines = []
    for line in sky_lines(SkyFrame(canvas.wcs, canvas.shape)):
        x, y = line.points[:, 0], height - line.points[:, 1]
        order = np.argsort(y if line.is_ra else x, kind="stable")
        lines.append((line.text, [[round(float(x[at]), 1), round(float(y[at]), 1)] for at in order]))
    return lines


def _free_bytes(place: Path) -> list[int]:
    """Free on the disk of a folder that need not exist, and of memory."""
    return [shutil.disk_usage(existing_folder(place)).free, memory.available_bytes()]


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
