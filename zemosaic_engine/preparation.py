"""Before a run: its subs are found, those that cannot be right are set aside, and the canvas is planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import backend, mosaic_files, plan, room
from .canvas import canvas_bytes
from .events import CancelToken, Sink, SubCount, Teller
from .executors.threads import run_interruptibly
from .request import GridRequest, agreeing
from .settings import GridSettings
from .wcs import CanvasPlan, plan_canvas

_MOST_SURVEY_SUBS = 800  # four unknowns each: a dense matrix of 3200 is a matter of seconds, one of 20000 is not


def prepare_request(
    input_folder: Path,
    output: Path,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    tiles_only: bool = False,
) -> GridRequest:
    """Find the subs of a folder, by its ``stack_plan.csv`` or by looking, and read their headers.

    Raises
    ------
    SettingsError
        If the rows have several filters and none was chosen.
    RunError
        If there is no usable sub.
    """
    tell = Teller(sink, ())

    def on_file(done: int, total: int) -> None:
        cancel.check()
        tell.sink(SubCount(done, total))

    backend.choose_device(settings.device)  # a device that is not there is better missed now than later
    found_plan = None if tiles_only else plan.find_stack_plan(input_folder)
    if found_plan is None:
        infos, rejected = plan.scan_folder(input_folder, saturation_adu=settings.saturation_adu, on_file=on_file)
        infos = plan.select_filter(infos, settings.filter)
        tell.log(f"[GRID] {len(infos)} usable FITS images in {input_folder}")
    else:
        stack_plan = plan.read_stack_plan(found_plan)
        for note in stack_plan.notes:
            tell.log(f"[GRID] {note}", "WARN")
        rows = stack_plan.rows
        if any(row.filter.strip() for row in rows):
            rows = plan.select_filter(rows, settings.filter)
        infos, unreadable = plan.read_subs(rows, saturation_adu=settings.saturation_adu, on_file=on_file)
        # What the plan leaves open the headers may tell.
        infos = plan.select_filter(infos, settings.filter)
        rejected = [*stack_plan.missing, *unreadable]
        tell.log(f"[GRID] {found_plan.name}: {len(rows)} subs, {len(infos)} of them usable")
    for error in rejected:
        tell.set_aside(error)
    return GridRequest(infos, rejected, output, settings, tiles_only)


def plan_request(request: GridRequest, sink: Sink, cancel: CancelToken, *, reprojecting: bool = False) -> GridRequest:
    """The request with its canvas and without subs whose header cannot be right; nothing is written.

    Parameters
    ----------
    request : GridRequest
    sink, cancel
        Receives log lines; looked at between steps.
    reprojecting : bool
        True if the tiles have pixel grids of their own; those that are ready-made do.

    Raises
    ------
    SettingsError
        If there is no room for its files.
    RunError
        If no sub is left, or the canvas is too large for the settings or for the memory.
    """
    tell = Teller(sink, ())
    request = _affordable(run_interruptibly(lambda: agreeing(request, tell), cancel), tell)
    return replace(
        request, canvas=run_interruptibly(lambda: _plan(request, tell, reprojecting or request.tiles_only), cancel)
    )


def _affordable(request: GridRequest, tell: Teller) -> GridRequest:
    """Survey photometry solves all subs at once, densely; beyond a number of subs tiles are matched instead."""
    subs, limit = len(request.infos), _MOST_SURVEY_SUBS
    asked = request.settings.photometry == "survey" and request.calibrations is None and not request.tiles_only
    if not asked or subs <= limit:
        return request
    tell.log(
        f"[GRID] {subs} subs are more than the {limit} that survey photometry can solve together: photometry = tiles "
        "is used; gradients of single subs may remain visible",
        "WARN",
    )
    return replace(request, settings=request.settings.model_copy(update={"photometry": "tiles"}))


def _plan(request: GridRequest, tell: Teller, reprojecting: bool) -> CanvasPlan:
    """One canvas for the whole run, for which there is room."""
    settings = request.settings
    canvas = plan_canvas(request.infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    height, width = canvas.shape
    tell.log(f"[GRID] Canvas {width} x {height} pixels of {canvas.pixel_scale_arcsec:.3f} arcsec")
    channels = request.infos[0].channels
    needed = mosaic_files.planned_bytes(canvas.shape, channels, len(request.infos), settings)
    tell.log(f"[GRID] {room.for_files(request.output, needed)}")
    room.for_canvas(canvas, canvas_bytes(canvas.shape, channels, reprojecting=reprojecting))
    return canvas
