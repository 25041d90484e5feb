"""Subs become a mosaic, tile by tile: plan, stack, equalise, scale, assemble, write.

`build_mosaic` is the recipe. `run_grid_mode` and `detect_grid_mode` are the same job in the
words of an existing ZeMosaic, into whose folder this module can be dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from astropy.io import fits

from zemosaic_engine import backend, mosaic_files, plan, provenance, room
from zemosaic_engine.assembly import assemble
from zemosaic_engine.canvas import Mosaic, canvas_bytes
from zemosaic_engine.clock import RunClock, with_time_left
from zemosaic_engine.errors import SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, LogLine, Sink, SubCount, Teller
from zemosaic_engine.executors.threads import run_interruptibly
from zemosaic_engine.host import HostCallback, host_configuration, host_settings, telemetry_interval_s
from zemosaic_engine.photometry.tile_scaling import TileScaling
from zemosaic_engine.reference_catalogue import chosen_catalogue, tie_to_catalogue
from zemosaic_engine.request import GridOutcome, GridRequest, agreeing
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.lost_inputs import raise_if_lost
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.tile_stacks import StackedTiles, stack_tiles, take_tiles
from zemosaic_engine.tile_matching import Seams, match_tiles, tell_metrics
from zemosaic_engine.wcs import CanvasPlan, plan_canvas

__all__ = [
    "GridOutcome",
    "GridRequest",
    "build_mosaic",
    "detect_grid_mode",
    "open_checkpoints",
    "plan_request",
    "prepare_request",
    "run_grid_mode",
]

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_PHASES = (
    ("GRID: setup", 0.08),
    ("GRID: tile stacking", 0.70),
    ("GRID: photometry & blending", 0.09),
    ("GRID: assembly", 0.06),
    ("GRID: final save", 0.06),
)


# --------------------------------------------------------------------------------------------
# the recipe


def build_mosaic(request: GridRequest, sink: Sink, cancel: CancelToken) -> GridOutcome:
    """Make one photometrically even mosaic.

    Parameters
    ----------
    request : GridRequest
        From `prepare_request`.
    sink : callable
        Receives the events of the run.
    cancel : CancelToken
        Looked at between steps.

    Raises
    ------
    RunError
        If no sub is usable, the canvas is above its limit, or a file cannot be written.
    Cancelled
        If somebody asked for it.
    """
    from zemosaic_engine.kernels.compiled import first_compile_told

    tell = Teller(sink, _PHASES)
    with first_compile_told(lambda text: tell.log(f"[GRID] {text}")):
        return _build(request, tell, cancel)


def _build(request: GridRequest, tell: Teller, cancel: CancelToken) -> GridOutcome:
    tell.phase(0)
    if request.canvas is None:
        request = plan_request(request, tell.sink, cancel)
    canvas = cast(CanvasPlan, request.canvas)
    catalogue = chosen_catalogue(request.settings, request.infos[0].channels)
    tell.phase(1)
    stacked = take_tiles(request, tell, cancel) if request.tiles_only else stack_tiles(request, canvas, tell, cancel)
    tell.phase(2)
    tiles, settings = stacked.tiles, request.settings
    scaling, seams = run_interruptibly(lambda: match_tiles(tiles, _matching_of(request), tell, cancel), cancel)
    tell.phase(3)
    mosaic = run_interruptibly(lambda: assemble(tiles, scaling, canvas, settings, tell, cancel), cancel)
    tell.phase(4)
    tied = run_interruptibly(lambda: tie_to_catalogue(mosaic.pixels, canvas.wcs, catalogue, tell), cancel)
    return _write(request, canvas, stacked, scaling, seams, mosaic, tied, tell, cancel)


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
    tell = Teller(sink, _PHASES)

    def on_file(done: int, total: int) -> None:
        cancel.check()
        tell.sink(SubCount(done, total))

    backend.choose_device(settings.device)  # a device that is not there is better missed now than later
    found_plan = None if tiles_only else plan.find_stack_plan(input_folder)
    if found_plan is None:
        infos, rejected = plan.scan_folder(input_folder, saturation_adu=settings.saturation_adu, on_file=on_file)
        if not infos and not rejected:
            raise SettingsError(plan.no_sub_text(input_folder))
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
    paths = [*(info.path for info in infos), *(error.path for error in rejected)]
    for error in rejected:
        raise_if_lost(error, paths)
        tell.set_aside(error)
    return GridRequest(infos, rejected, output, settings, tiles_only)


def _matching_of(request: GridRequest) -> GridSettings:
    """Ready-made tiles were not calibrated sub by sub: they are matched as tiles."""
    if request.tiles_only and request.settings.photometry == "survey":
        return request.settings.model_copy(update={"photometry": "tiles"})
    if request.calibrations is not None:
        return request.settings.model_copy(update={"photometry": "survey"})
    return request.settings


def plan_request(request: GridRequest, sink: Sink, cancel: CancelToken) -> GridRequest:
    """The request with its canvas and without subs whose header cannot be right; nothing is written.

    Raises
    ------
    SettingsError
        If there is no room for its files.
    RunError
        If no sub is left, or the canvas is too large for the settings or for the memory.
    """
    tell = Teller(sink, _PHASES)
    request = run_interruptibly(lambda: agreeing(request, tell), cancel)
    chosen_catalogue(request.settings, request.infos[0].channels)  # one that cannot be used is better missed now
    return replace(request, canvas=run_interruptibly(lambda: _plan(request, tell), cancel))


def _plan(request: GridRequest, tell: Teller) -> CanvasPlan:
    """One canvas for the whole run, for which there is room."""
    settings = request.settings
    canvas = plan_canvas(request.infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    height, width = canvas.shape
    tell.log(f"[GRID] Canvas {width} x {height} pixels of {canvas.pixel_scale_arcsec:.3f} arcsec")
    channels = request.infos[0].channels
    needed = mosaic_files.planned_bytes(canvas.shape, channels, len(request.infos), settings)
    tell.log(f"[GRID] {room.for_files(request.output, needed)}")
    room.for_canvas(canvas, canvas_bytes(canvas.shape, channels, reprojecting=request.tiles_only))
    return canvas


def _write(
    request: GridRequest,
    canvas: CanvasPlan,
    stacked: StackedTiles,
    scaling: TileScaling,
    seams: Seams,
    mosaic: Mosaic,
    tied: fits.Header,
    tell: Teller,
    cancel: CancelToken,
) -> GridOutcome:
    """Mosaic, maps and tables."""
    metrics = tell_metrics(stacked.tiles, scaling, seams, tell)
    output, settings = request.output, request.settings
    used = [request.infos[number] for number in sorted(stacked.used)]
    cards = provenance.mosaic_cards(used, settings, tiles=len(stacked.tiles), ready_made_tiles=request.tiles_only)
    cards.update(tied)
    mosaic_files.write_tile_table(output, stacked.tiles, scaling, seams.pairs, stacked.subs)
    pixels = [pair.pixels for pair in seams.pairs]
    mosaic_files.write_seam_table(output, stacked.tiles, seams.overlaps, pixels, seams.before, seams.after)
    if settings.save_final_as_uint16:
        run_interruptibly(
            lambda: mosaic_files.write_viewer(output, mosaic, canvas.wcs, cards, colour_last=settings.legacy_rgb_cube),
            cancel,
        )
    science, coverage = mosaic_files.write_mosaic(output, mosaic, canvas.wcs, cards, cancel.check)
    reprojected = sum(not tile.on_canvas for tile in stacked.tiles)
    tell.log(f"[GRID] {len(stacked.tiles)} tiles in the mosaic, {reprojected} calls of reproject_interp")
    rejected = [*request.rejected, *stacked.rejected]
    return GridOutcome(
        science,
        coverage,
        len(stacked.tiles),
        len(used),
        rejected,
        stacked.left_out,
        metrics,
        [info.path for info in used],
        dict(zip([tile.name for tile in stacked.tiles], stacked.subs, strict=True)),
    )


# --------------------------------------------------------------------------------------------
# in the words of an existing ZeMosaic


def detect_grid_mode(input_folder: str | Path) -> bool:
    """True if the folder holds a ``stack_plan.csv``."""
    return plan.is_grid_folder(Path(input_folder))


def run_grid_mode(
    input_folder: str | Path,
    output_folder: str | Path,
    progress_callback: Callable[..., Any] | None = None,
    stack_norm_method: str = "linear_fit",
    stack_weight_method: str = "noise_variance",
    stack_reject_algo: str = "kappa_sigma",
    stack_kappa_low: float = 3.0,
    stack_kappa_high: float = 3.0,
    winsor_limits: tuple[float, float] = (0.05, 0.05),
    stack_final_combine: str = "mean",
    apply_radial_weight: bool = False,
    radial_feather_fraction: float = 0.8,
    radial_shape_power: float = 2.0,
    save_final_as_uint16: bool = False,
    legacy_rgb_cube: bool = False,
    grid_rgb_equalize: bool = True,
    zconfig: Any = None,
    use_gpu: bool | None = None,
) -> None:
    """Run Grid Mode for a host program; all it has to say goes through `progress_callback`.

    Parameters
    ----------
    input_folder, output_folder : path-like
        Folder with ``stack_plan.csv``, and where the mosaic goes.
    progress_callback : callable, optional
        ``callback(message, progress=None, level="INFO", **kwargs)`` in the host's grammar.
    stack_norm_method, stack_weight_method, stack_reject_algo, stack_final_combine : str
        As in `GridSettings`; the host's other names for the same are understood, and what has
        no counterpart here is replaced by the nearest with a WARN line.
    stack_kappa_low, stack_kappa_high, winsor_limits, apply_radial_weight, radial_feather_fraction,
    radial_shape_power, save_final_as_uint16, legacy_rgb_cube, grid_rgb_equalize
        As in `GridSettings`.
    zconfig : object, optional
        The host's configuration; a mapping or an object with attributes.
    use_gpu : bool, optional
        True asks for the GPU where there is one, False forbids it; None follows the host's settings.

    Raises
    ------
    SettingsError, RunError
        After the reason was sent as an ERROR line.
    """
    clock = RunClock()
    host = HostCallback(progress_callback, logger)
    tell = with_time_left(host, clock)
    try:
        chosen = {
            "stack_norm_method": stack_norm_method,
            "stack_weight_method": stack_weight_method,
            "stack_reject_algo": stack_reject_algo,
            "stack_kappa_low": stack_kappa_low,
            "stack_kappa_high": stack_kappa_high,
            "winsor_limits": tuple(winsor_limits),
            "stack_final_combine": stack_final_combine,
            "apply_radial_weight": apply_radial_weight,
            "radial_feather_fraction": radial_feather_fraction,
            "radial_shape_power": radial_shape_power,
            "save_final_as_uint16": save_final_as_uint16,
            "legacy_rgb_cube": legacy_rgb_cube,
            "grid_rgb_equalize": grid_rgb_equalize,
        }
        configuration = host_configuration(zconfig)
        interval_s = telemetry_interval_s(configuration)
        if interval_s is not None:
            host.report_resources(interval_s)
        # The older hosts, which do not hand over their configuration, divide the field by the factor.
        settings, notes = host_settings(chosen, configuration, use_gpu, divides_field=zconfig is None)
        for note in notes:
            tell(LogLine(f"[GRID] {note}", "WARN"))
        source, output = Path(input_folder), Path(output_folder)
        if not detect_grid_mode(source):
            raise SettingsError(f"The folder {source} holds no stack_plan.csv: Grid Mode cannot run there.")
        with RunFolder(output) as folder:
            _build_in(folder, source, settings, tell, host)
    except ZeMosaicError as error:
        tell(LogLine(f"[GRID] {error}", "ERROR"))
        raise
    for line in provenance.cost_lines(clock):
        tell(LogLine(f"[GRID] {line}"))
    tell(LogLine("[GRID] Grid/Survey mode completed", "SUCCESS"))


def _build_in(folder: RunFolder, source: Path, settings: GridSettings, tell: Sink, host: HostCallback) -> None:
    """The run itself, in its folder; the table of subs that were set aside is written however it ends."""
    if folder.note:
        tell(LogLine(f"[GRID] {folder.note}", "WARN"))
    cancel = CancelToken()
    try:
        request = prepare_request(source, folder.path, settings, tell, cancel)
        request = replace(request, checkpoints=open_checkpoints(folder, tell))
        earlier = mosaic_files.EarlierResults(folder.path)
        build_mosaic(request, tell, cancel)
        earlier.remove_those_left()
        request.checkpoints.keep_only_used()
    finally:
        plan.write_rejected(folder.path / "rejected_subs.csv", host.set_aside)


def open_checkpoints(folder: RunFolder, sink: Sink) -> Checkpoints:
    """What earlier runs did in an output folder, damage told in the log."""
    return Checkpoints(folder.state, lambda text: sink(LogLine(f"[GRID] {text}", "WARN")))
