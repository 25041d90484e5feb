"""Prepares a run: finds its subs, sets aside those that cannot be right, and plans the canvas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import fields, replace
from pathlib import Path

from ..calibration_frames.finding import NO_FRAMES, find_frames
from ..canvas.footprints import footprint_of
from ..canvas.plan import CanvasPlan, plan_canvas
from ..errors import SettingsError
from ..events import CancelToken, Reporter, Sink, SubCount
from ..geometry import Box
from ..machine import backend
from ..machine.threads import run_interruptibly
from ..resume.run_folder import STATE_NAME
from ..sentences import say
from ..settings import GridSettings
from ..solving.journal import NAME as JOURNAL_NAME
from ..solving.journal import SolutionJournal
from ..solving.session import solve_found
from ..subs import stack_plan
from ..subs.finding import Search, find_subs, found_text, nothing_found
from ..subs.folder import FoundSubs
from ..subs.lost_inputs import raise_if_lost
from . import resources
from .reference_stars import check_reference
from .request import GridRequest, PlannedRequest, agreeing

_NEAR_PX = 256


def prepare_request(
    input_folder: Path,
    output: Path,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    tiles_only: bool = False,
    refused: Callable[[Path], str] = lambda path: "",
    left_out: Collection[str] = (),
    ignored: Callable[[Path], bool] = lambda path: False,
    fresh: bool = False,
    hold: Callable[[], None] = lambda: None,
    source: str = "GRID",
) -> GridRequest:
    """Find the subs of a folder, by its ``stack_plan.csv`` or by looking, read their headers and plate-solve them.

    What lies beside the lights (calibration frames, stacks ...) is in the request too, by its role.
    ``refused(path)`` says why a file is not to be touched, or nothing; one that is ``ignored(path)`` is passed over
    as if it were not there; `left_out` names subs that a person does not want (`finding.name_in_folder`). Solutions
    are kept in the state of the output
    folder as they are found; before the first one ``hold()`` is called. `fresh` uses none of earlier runs.

    Raises
    ------
    SettingsError
        If the folder holds no light, or the rows have several filters and none was chosen.
    RunError
        If the folder went away while its headers were read.
    """
    reporter = Reporter(sink, source=source)

    def on_file(done: int, total: int) -> None:
        cancel.check()
        reporter.sink(SubCount(done, total))

    backend.choose_device(settings.device)  # a device that is not there is better missed now than later
    search = Search(
        settings.recursive,
        settings.saturation_adu,
        settings.filter,
        tiles_only,
        refused=refused,
        ignored=ignored,
        left_out=left_out,
    )
    found = find_subs(input_folder, search, on_file, cancel.check)
    if not found.infos and not found.unsolved and not found.rejected:
        raise SettingsError(nothing_found(input_folder, found, recursive=settings.recursive))
    reporter.log(found_text(input_folder, found))
    for note in found.notes:
        reporter.log(note, "WARN")
    if tiles_only:
        found = found.without_unsolved()
    else:
        journal = SolutionJournal(output / STATE_NAME / JOURNAL_NAME, anew=fresh, before_writing=hold)
        found = _with_solutions(found, settings, journal, reporter, cancel)
    infos, rejected = stack_plan.select_filter(found.infos, settings.filter), found.rejected
    paths = [*(info.path for info in infos), *(error.path for error in rejected)]
    for error in rejected:
        raise_if_lost(error, paths)
        reporter.set_aside(error)
    frames = NO_FRAMES if tiles_only else find_frames(found.others, settings, refused, cancel.check)
    return GridRequest(infos, rejected, output, settings, tiles_only, others=found.others, frames=frames)


def _with_solutions(
    found: FoundSubs, settings: GridSettings, journal: SolutionJournal, reporter: Reporter, cancel: CancelToken
) -> FoundSubs:
    """The subs of the filter that is asked for, plate-solved where they are not."""
    wanted = stack_plan.select_filter(found.subs, settings.filter)
    paths = {sub.path for sub in wanted}
    found = replace(
        found,
        infos=[info for info in found.infos if info.path in paths],
        unsolved=[sub for sub in found.unsolved if sub.path in paths],
    )
    return solve_found(found, settings, journal, reporter, cancel)


def plan_request(
    request: GridRequest,
    sink: Sink,
    cancel: CancelToken,
    *,
    reprojecting: bool = False,
    source: str = "GRID",
) -> PlannedRequest:
    """The request with its canvas and without subs whose header cannot be right; nothing is written.

    Parameters
    ----------
    request : GridRequest
    sink, cancel
        Receives log lines; looked at between steps.
    source : str
        The recipe, which log lines name as their source.
    reprojecting : bool
        True if the tiles have pixel grids of their own; those that are ready-made do.

    Raises
    ------
    SettingsError
        If there is no room for its files.
    RunError
        If no sub is left, or the canvas is too large for the settings or for the memory.
    """
    reporter = Reporter(sink, source=source)
    request = run_interruptibly(lambda: agreeing(request, reporter), cancel)
    check_reference(request.settings, request.infos[0].channels)  # what cannot be used is better missed now
    canvas = run_interruptibly(lambda: _plan(request, reporter, reprojecting or request.tiles_only), cancel)
    return PlannedRequest(**{field.name: getattr(request, field.name) for field in fields(GridRequest)}, canvas=canvas)


def _plan(request: GridRequest, reporter: Reporter, reprojecting: bool) -> CanvasPlan:
    """Plan one canvas for the run, and check that disk and memory can hold it."""
    settings = request.settings
    canvas = plan_canvas(request.infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    height, width = canvas.shape
    reporter.log(
        say(
            "Canvas {width} x {height} pixels of {pixel_scale_arcsec:.3f} arcsec",
            width=width,
            height=height,
            pixel_scale_arcsec=canvas.pixel_scale_arcsec,
        )
    )
    infos, channels = request.infos, request.infos[0].channels
    tile_pixels = sum(info.shape[0] * info.shape[1] for info in infos) if request.tiles_only else None
    needed = resources.planned_bytes(canvas.shape, channels, len(infos), settings, tile_pixels)
    reporter.log(resources.check_disk(request.output, needed))
    # Master tiles are about as large as their subs, and lie where those do.
    boxes = _distinct(footprint_of(info, canvas).box for info in infos) if reprojecting else []
    held = resources.joining_bytes(canvas.shape, channels, settings, boxes, reprojecting=reprojecting)
    resources.check_memory(canvas, held)
    return canvas


def _distinct(boxes: Iterable[Box]) -> list[Box]:
    """One of all boxes that lie nearly in one place."""
    places = {(box.y0 // _NEAR_PX, box.x0 // _NEAR_PX): box for box in boxes}
    return list(places.values())
