"""New subs join a mosaic that stands: their own terms alone are solved, they are laid on the tiles that they touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..calibration_frames.finding import FoundFrames
from ..calibration_frames.session import FrameCalibration
from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.footprints import footprint_of
from ..canvas.plan import CanvasPlan, split_by_agreement
from ..errors import SubError
from ..events import CancelToken, Reporter
from ..kernels.reference import Psfs
from ..mosaic.assemble import assemble
from ..photometry.calibration import SubCalibration
from ..resume.checkpoints import Checkpoints
from ..run.register import star_places_of
from ..run.run import Run, calibrate_run_frames, with_more_subs
from ..sentences import say
from ..stacking.layout import Layout, lay_out_more
from ..stacking.stack_ahead import keys_of
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..survey.calibrate import CalibratedSubs
from ..survey.measure import MeasuredSubs, cell_side_px, measure_more
from ..survey.measurements import SubMeasurement
from ..tiles.scaling import neutral_scaling
from ..weighted_image import WeightedImage
from .place import place_sub
from .scale import scale_sub
from .standing_sky import StandingSky, standing_sky
from .tiles import grow_tiles

PHASES = (("new subs", 0.2), ("tiles", 0.7), ("picture", 0.1))
_INSIDE = 0.9  # share of a sub that has to lie on the canvas; what reaches beyond it waits for the next run


@dataclass(frozen=True)
class Standing:
    """A mosaic that stands: what its run found, which new subs do not change.

    Attributes
    ----------
    run : Run
        Of the mosaic, with the new subs that joined it behind its own.
    frames : FoundFrames
        The calibration frames that it may use.
    layout : Layout
    measured : MeasuredSubs
    subs : CalibratedSubs
    kernel : str
        How subs are resampled.
    sky : StandingSky or None
        What new subs are tied to; None where nothing is calibrated.
    own : int
        Number of subs of the run itself.
    keys : mapping of str to str
        Keys of the tiles, by name.
    """

    run: Run
    frames: FoundFrames
    layout: Layout
    measured: MeasuredSubs
    subs: CalibratedSubs
    kernel: str
    sky: StandingSky | None
    own: int
    keys: Mapping[str, str]

    @classmethod
    def of(
        cls, run: Run, frames: FoundFrames, layout: Layout, measured: MeasuredSubs, subs: CalibratedSubs, kernel: str
    ) -> Standing:
        """What stands once the tiles of a run are stacked."""
        sky = standing_sky(measured.measurements, subs.calibrations) if subs.figures is not None else None
        keys = keys_of(_with_kernel(run, kernel), layout.tiles, subs)
        return cls(run, frames, layout, measured, subs, kernel, sky, len(run.subs), keys)


@dataclass(frozen=True)
class _New:
    """A new sub on the scale of those that stand."""

    info: SubInfo
    measurement: SubMeasurement
    calibration: SubCalibration


@dataclass(frozen=True)
class Joined:
    """The outcome for new subs.

    Attributes
    ----------
    standing : Standing
        With those that joined.
    late : mapping of Path to str
        Those that wait for the next run over all subs, and why.
    mosaic : WeightedImage or None
        The mosaic so far; None if none joined.
    """

    standing: Standing
    late: dict[Path, str] = field(default_factory=dict)
    mosaic: WeightedImage | None = None


def join_subs(
    standing: Standing, infos: Sequence[SubInfo], checkpoints: Checkpoints, reporter: Reporter, cancel: CancelToken
) -> Joined:
    """Let plate-solved subs join a mosaic that stands.

    Parameters
    ----------
    standing : Standing
    infos : sequence of SubInfo
    checkpoints : Checkpoints
        Of the output folder.
    reporter : Reporter
        With `PHASES`.
    cancel : CancelToken

    Raises
    ------
    SubsLost
        If subs of a tile can no longer be read, or changed.
    RunError
        If a file cannot be written.
    """
    reporter.phase(0)
    late: dict[Path, str] = {}
    kept = _agreeing(standing, infos, late)
    placed = _placed(standing, kept, checkpoints, reporter, late)
    frames = _frames(standing, placed, checkpoints, cancel) if placed else None
    if frames is None:
        late |= {info.path: say("with it, the calibration of subs that are in the mosaic changes") for info in placed}
        return Joined(standing, late)
    base = _with_kernel(standing.run, standing.kernel)
    trial = with_more_subs(base, placed, frames, checkpoints, reporter, cancel)
    scaled = _scaled(standing, trial, late)
    if not scaled:
        return Joined(standing, late)
    run = trial
    if len(scaled) < len(placed):
        run = with_more_subs(base, [one.info for one in scaled], frames, checkpoints, reporter, cancel)
    reporter.phase(1)
    grown = _grown(standing, run, scaled)
    tiles, keys = grow_tiles(run, standing.layout, standing.keys, grown.layout, grown.subs)
    reporter.phase(2)
    mosaic = assemble(run, tiles, neutral_scaling(len(tiles.tiles), run.channels))
    return Joined(replace(grown, keys=keys), late, mosaic)


def _with_kernel(run: Run, kernel: str) -> Run:
    """The run with the kernel that its tiles were made with, where it was to be chosen."""
    return replace(run, settings=run.settings.model_copy(update={"resample_kernel": kernel}))


def _agreeing(standing: Standing, infos: Sequence[SubInfo], late: dict[Path, str]) -> list[SubInfo]:
    """Subs that belong to those that stand, by size, scale, filter and camera."""
    run = standing.run
    _, odd = split_by_agreement([*run.subs, *infos], run.settings.max_gap_fov)
    late |= {error.path: error.reason for error in odd}
    filters = {name for sub in run.subs if (name := sub.filter.strip().casefold())}
    kept = []
    for info in infos:
        if info.path not in late:
            if filters and info.filter.strip().casefold() not in filters | {""}:
                late[info.path] = say("it has another filter: {filter}", filter=info.filter)
            elif standing.sky is None or not any(sensor_key(sub) == sensor_key(info) for sub in run.subs):
                late[info.path] = say("no sub of its camera is in the mosaic yet")
            else:
                kept.append(info)
    return kept


def _inside(info: SubInfo, canvas: CanvasPlan) -> float:
    """Share of a sub that lies on the canvas."""
    footprint, (height, width) = footprint_of(info, canvas), canvas.shape
    if footprint.box.is_empty or not np.isfinite(footprint.half_diagonal):
        return 0.0
    rows, columns = (np.linspace(-0.5, side - 0.5, 21) for side in info.shape)
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    x, y = sky_to_pixel(canvas.wcs, *pixel_to_sky(info.wcs, x, y, like=canvas.wcs))
    return float(np.mean((x > -1.0) & (x < width) & (y > -1.0) & (y < height)))


def _placed(
    standing: Standing, infos: Sequence[SubInfo], checkpoints: Checkpoints, reporter: Reporter, late: dict[Path, str]
) -> list[SubInfo]:
    """Subs where their stars put them, if that is on the canvas."""
    run, placed = standing.run, list[SubInfo]()
    assert standing.sky is not None
    by_stars = run.settings.astrometry != "header"
    reporter.expect(len(infos))
    for info in infos:
        like = next(sub for sub in reversed(run.subs[: standing.own]) if sensor_key(sub) == sensor_key(info))
        try:
            stars = star_places_of(info, checkpoints).stars
            there = place_sub(info, stars, standing.sky, run.canvas, like) if by_stars else info
        except SubError as error:
            late[info.path] = error.reason
            continue
        finally:
            reporter.step()
        if there is None:
            late[info.path] = say("too few of its stars are in the mosaic")
        elif _inside(there, run.canvas) < _INSIDE:
            late[info.path] = say("it reaches beyond the canvas")
        else:
            placed.append(there)
    return placed


def _frames(
    standing: Standing, placed: Sequence[SubInfo], checkpoints: Checkpoints, cancel: CancelToken
) -> FrameCalibration | None:
    """What calibration frames do to the subs and the new ones; None if they would do something else to the old."""
    run = standing.run
    if not run.frames.matches:
        return run.frames
    subs = [*run.subs, *placed]
    quiet = Reporter(lambda event: None, cancel=cancel)
    made = calibrate_run_frames(run, standing.frames, subs, quiet, cancel, checkpoints)
    before, after = ([frames.correction(info) for info in run.subs] for frames in (run.frames, made))
    same = all((a.digest if a else "") == (b.digest if b else "") for a, b in zip(before, after, strict=True))
    return made if same else None


def _scaled(standing: Standing, run: Run, late: dict[Path, str]) -> list[_New]:
    """The new subs of `run` that can be brought to the scale."""
    assert standing.sky is not None
    cell = cell_side_px(standing.run.subs[: standing.own], run.canvas)
    measured = measure_more(run, range(len(standing.run.subs), len(run.subs)), cell)
    late |= {run.subs[number].path: error.reason for number, error in run.loader.failures.items()}
    scaled = []
    for number, new in measured.items():
        like = _like(standing, new.camera, new.session)
        found = None
        if like is not None:
            calibration = standing.subs.calibrations[like]
            assert calibration is not None
            found = scale_sub(new, standing.sky, standing.measured.measurements[like], calibration)
        if found is None:
            late[run.subs[number].path] = say("too little of the sky that it shows is in the mosaic")
        else:
            scaled.append(_New(run.subs[number], new, found))
    return scaled


def _like(standing: Standing, camera: str, session: str) -> int | None:
    """The latest sub of the run with the same camera and, if there is one, the same session."""
    measured = standing.measured.measurements
    mates = [number for number in range(standing.own) if number in measured and measured[number].camera == camera]
    same = [number for number in mates if measured[number].session == session]
    return next(reversed(same or mates), None)


def _grown(standing: Standing, run: Run, new: Sequence[_New]) -> Standing:
    """What stands, with the new subs, which are the last ones of `run`."""
    before, first = standing.measured, len(standing.run.subs)
    measurements = {**before.measurements, **{first + n: one.measurement for n, one in enumerate(new)}}
    stars = {**before.stars, **{first + n: int(one.measurement.stars.x.size) for n, one in enumerate(new)}}
    psfs = standing.subs.psfs
    if psfs is not None:
        scale = run.canvas.pixel_scale_arcsec
        widths = np.array([one.measurement.fwhm_px * one.info.pixel_scale_arcsec / scale for one in new])
        widths = np.where(np.isfinite(widths) & (widths > 0.0), widths, np.median(psfs.fwhm_px))
        psfs = Psfs(
            np.append(psfs.fwhm_px, widths.astype(np.float32)),
            np.append(psfs.misplaced_px, np.zeros(len(new), dtype=np.float32)),
        )
    calibrations = [*standing.subs.calibrations, *(one.calibration for one in new)]
    return replace(
        standing,
        run=run,
        layout=lay_out_more(run, standing.layout, standing.own),
        measured=MeasuredSubs(stars, measurements),
        subs=replace(standing.subs, calibrations=calibrations, psfs=psfs),
    )
