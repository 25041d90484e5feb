"""Before a run: its subs are found, those that cannot be right are set aside, and the canvas is planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..canvas.plan import CanvasPlan, plan_canvas
from ..catalogues.reference import chosen_catalogue
from ..errors import SettingsError
from ..events import CancelToken, Sink, SubCount, Teller
from ..machine import backend
from ..machine.threads import run_interruptibly
from ..mosaic.coadd import canvas_bytes
from ..settings import GridSettings
from ..subs import stack_plan
from ..subs.lost_inputs import raise_if_lost
from . import disk_space
from .request import GridRequest, agreeing


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
        If the folder holds nothing that is called like a sub, or the rows have several filters and none was chosen.
    RunError
        If the folder went away while its headers were read.
    """
    tell = Teller(sink, ())

    def on_file(done: int, total: int) -> None:
        cancel.check()
        tell.sink(SubCount(done, total))

    backend.choose_device(settings.device)  # a device that is not there is better missed now than later
    found_plan = None if tiles_only else stack_plan.find_stack_plan(input_folder)
    if found_plan is None:
        found = stack_plan.scan_folder(input_folder, saturation_adu=settings.saturation_adu, on_file=on_file)
        found = found.without_unsolved()
        infos, rejected = found.infos, found.rejected
        if not infos and not rejected:
            raise SettingsError(stack_plan.no_sub_text(input_folder))
        infos = stack_plan.select_filter(infos, settings.filter)
        tell.log(f"[GRID] {len(infos)} usable FITS images in {input_folder}")
    else:
        plan = stack_plan.read_stack_plan(found_plan)
        for note in plan.notes:
            tell.log(f"[GRID] {note}", "WARN")
        rows = plan.rows
        if any(row.filter.strip() for row in rows):
            rows = stack_plan.select_filter(rows, settings.filter)
        found = stack_plan.read_subs(rows, saturation_adu=settings.saturation_adu, on_file=on_file).without_unsolved()
        # What the plan leaves open the headers may tell.
        infos = stack_plan.select_filter(found.infos, settings.filter)
        rejected = [*plan.missing, *found.rejected]
        tell.log(f"[GRID] {found_plan.name}: {len(rows)} subs, {len(infos)} of them usable")
    paths = [*(info.path for info in infos), *(error.path for error in rejected)]
    for error in rejected:
        raise_if_lost(error, paths)
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
    request = run_interruptibly(lambda: agreeing(request, tell), cancel)
    chosen_catalogue(request.settings, request.infos[0].channels)  # one that cannot be used is better missed now
    return replace(
        request, canvas=run_interruptibly(lambda: _plan(request, tell, reprojecting or request.tiles_only), cancel)
    )


def _plan(request: GridRequest, tell: Teller, reprojecting: bool) -> CanvasPlan:
    """One canvas for the whole run, for which there is room."""
    settings = request.settings
    canvas = plan_canvas(request.infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    height, width = canvas.shape
    tell.log(f"[GRID] Canvas {width} x {height} pixels of {canvas.pixel_scale_arcsec:.3f} arcsec")
    channels = request.infos[0].channels
    needed = disk_space.planned_bytes(canvas.shape, channels, len(request.infos), settings)
    tell.log(f"[GRID] {disk_space.for_files(request.output, needed)}")
    disk_space.for_canvas(canvas, canvas_bytes(canvas.shape, channels, reprojecting=reprojecting))
    return canvas
