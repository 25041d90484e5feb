"""Grid Mode: the recipe that makes a mosaic of subs, tile by tile.

`build_mosaic` is the recipe. `run_grid_mode` and `detect_grid_mode` are the same job in the
words of an existing ZeMosaic, into whose folder this module can be dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zemosaic_engine.clock import RunClock, with_time_left
from zemosaic_engine.errors import SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, LogLine, Reporter, Sink
from zemosaic_engine.growth.join import Standing
from zemosaic_engine.machine.address_space import check_address_space
from zemosaic_engine.mosaic import files as mosaic_files
from zemosaic_engine.mosaic.assemble import assemble
from zemosaic_engine.mosaic.deliver import Delivery, deliver, finish_mosaic
from zemosaic_engine.mosaic.needs import tell_needs
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.crashes import NOTES_NAME, Crashes, crash_noted
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_engine.run import provenance
from zemosaic_engine.run.host import (
    HostCallback,
    host_configuration,
    host_settings,
    keeps_telemetry,
    telemetry_interval_s,
)
from zemosaic_engine.run.host_files import HostReport
from zemosaic_engine.run.prepare import plan_request, prepare_request
from zemosaic_engine.run.replan import build_without_lost
from zemosaic_engine.run.request import GridOutcome, GridRequest, PlannedRequest
from zemosaic_engine.run.run import Run, open_run
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.layout import Layout, lay_out_tiles
from zemosaic_engine.stacking.stack_tiles import stack_tiles
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.survey.calibrate import CalibratedSubs, calibrate_subs
from zemosaic_engine.survey.measure import MeasuredSubs, measure_subs
from zemosaic_engine.tiles.match import match_tiles
from zemosaic_engine.tiles.ready_made import take_tiles
from zemosaic_engine.tiles.tile import TileSet

__all__ = [
    "GridOutcome",
    "GridRequest",
    "PlannedRequest",
    "build_mosaic",
    "detect_grid_mode",
    "open_checkpoints",
    "plan_request",
    "prepare_request",
    "run_grid_mode",
]

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_PHASES = (
    ("GRID: setup", 0.09),
    ("GRID: tile stacking", 0.58),
    ("GRID: photometry & blending", 0.02),
    ("GRID: assembly", 0.03),
    ("GRID: final save", 0.18),
)
_STACKING, _MATCHING, _ASSEMBLY, _SAVING = range(1, 5)


# --------------------------------------------------------------------------------------------
# the recipe


def build_mosaic(
    request: GridRequest,
    sink: Sink,
    cancel: CancelToken,
    checkpoints: Checkpoints | None = None,
    keep: Callable[[Standing], None] | None = None,
) -> GridOutcome:
    """Make one photometrically even mosaic.

    Parameters
    ----------
    request : GridRequest
        From `prepare_request`.
    sink : callable
        Receives the events of the run.
    cancel : CancelToken
        Checked between steps.
    checkpoints : Checkpoints, optional
        What earlier runs with this output have done, from `open_checkpoints`; by default nothing is kept.
    keep : callable, optional
        Called with what the run found once its tiles are stacked, for subs that join the mosaic later.

    Raises
    ------
    RunError
        If no sub is usable, the canvas is above its limit, or a file cannot be written.
    Cancelled
        If somebody asked for it.

    Examples
    --------
    A sink is any function of one event, called from several threads; a token ends the run from another thread.

    >>> from zemosaic_engine.events import CancelToken
    >>> from zemosaic_engine.run.prepare import prepare_request
    >>> from zemosaic_engine.settings import GridSettings
    >>> sink, cancel = lambda event: None, CancelToken()
    >>> request = prepare_request(Path("subs"), Path("out"), GridSettings(), sink, cancel)
    >>> outcome = build_mosaic(request, sink, cancel)
    >>> outcome.mosaic.name
    'mosaic_grid.fits'
    """

    def build(asked: GridRequest) -> GridOutcome:
        with open_run(asked, _PHASES, sink, cancel, checkpoints) as run:

            def stacked(*found: Any) -> None:
                if keep is not None:
                    keep(Standing.of(run, asked.frames, *found))

            return _build(run, stacked)

    return build_without_lost(request, build, lambda asked: plan_request(asked, sink, cancel), sink)


def _build(run: Run, keep: Callable[[Layout, MeasuredSubs, CalibratedSubs, str], None]) -> GridOutcome:
    run.reporter.phase(_STACKING)
    tiles = take_tiles(run) if run.takes_tiles else _stack_subs(run, keep)
    return finish_mosaic(run, tiles, lambda: _join(run, tiles))


def _join(run: Run, tiles: TileSet) -> Delivery:
    run.reporter.phase(_MATCHING)
    match = match_tiles(run, tiles)
    run.reporter.phase(_ASSEMBLY)
    mosaic = assemble(run, tiles, match.scaling)
    run.reporter.phase(_SAVING)
    return deliver(run, tiles, match, mosaic)


def _stack_subs(run: Run, keep: Callable[[Layout, MeasuredSubs, CalibratedSubs, str], None]) -> TileSet:
    layout = lay_out_tiles(run)
    measured = measure_subs(run)
    subs = calibrate_subs(run, measured)
    tiles = stack_tiles(run, layout, subs)
    keep(layout, measured, subs, tiles.kernel)
    return tiles


# --------------------------------------------------------------------------------------------
# in the words of an existing ZeMosaic


def detect_grid_mode(input_folder: str | Path) -> bool:
    """True if the folder holds a ``stack_plan.csv``."""
    return stack_plan.is_grid_folder(Path(input_folder))


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
        check_address_space()
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
            tell(LogLine(note, "WARN"))
        source, output = Path(input_folder), Path(output_folder)
        if not detect_grid_mode(source):
            raise SettingsError(
                say("The folder {folder} holds no stack_plan.csv: Grid Mode cannot run there.", folder=source)
            )
        with RunFolder(output) as folder:
            if keeps_telemetry(configuration):
                host.keep_resources(folder.path)
            _build_in(folder, source, settings, tell, host, clock)
        host.end_counters()
    except ZeMosaicError as error:
        tell(LogLine(str(error), "ERROR"))
        raise
    finally:
        host.close()
    for line in provenance.cost_lines(clock):
        tell(LogLine(line))
    tell(LogLine(say("Grid/Survey mode completed"), "SUCCESS"))


def _build_in(
    folder: RunFolder, source: Path, settings: GridSettings, tell: Sink, host: HostCallback, clock: RunClock
) -> None:
    """The run itself, in its folder; its report and its table of subs set aside are written however it ends."""
    if folder.note:
        tell(LogLine(folder.note, "WARN"))
    report = HostReport(source, folder.path, settings, clock)
    rejected = folder.path / "rejected_subs.csv"
    earlier = mosaic_files.EarlierResults(folder.path, {**mosaic_files.RESULTS, "rejected": rejected.name})
    try:
        made = _mosaic_in(folder, source, settings, tell, earlier)
        advice = tell_needs(made, settings, Reporter(tell))
    except ZeMosaicError as error:
        report.failed(error, host.set_aside, {**earlier.written_since(), "rejected": rejected})
        raise
    finally:
        stack_plan.write_rejected(rejected, host.set_aside)
    problem = report.done(made, advice, host.metrics, earlier.written_since())
    if problem:
        tell(LogLine(say("The picture and report.html were not written: {why}", why=problem), "WARN"))


def _mosaic_in(
    folder: RunFolder, source: Path, settings: GridSettings, tell: Sink, earlier: mosaic_files.EarlierResults
) -> GridOutcome:
    cancel = CancelToken()
    notes = folder.state / NOTES_NAME
    crashes = Crashes(folder.state, notes)
    crashes.keep()
    if crashes.told:
        tell(LogLine(crashes.told, "WARN"))
    with crash_noted(notes):
        request = prepare_request(source, folder.path, settings, tell, cancel, refused=crashes.reason)
        checkpoints = open_checkpoints(folder, Reporter(tell))
        if request.others:
            stack_plan.write_others(folder.path / mosaic_files.OTHERS_NAME, request.others)
        made = build_mosaic(request, tell, cancel, checkpoints)
        earlier.remove_those_left(made.kept)
        checkpoints.keep_only_used()
    return made


def open_checkpoints(folder: RunFolder, reporter: Reporter) -> Checkpoints:
    """Return the results that earlier runs left in an output folder; damage is logged."""
    return Checkpoints(folder.state, lambda text: reporter.log(text, "WARN"))
