"""Brings every sub to the scale of the run: by survey photometry, by known calibrations, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError, SubsLost
from ..kernels.reference import Psfs
from ..photometry.calibration import SubCalibration
from ..photometry.neutral import neutral
from ..photometry.psfs import measure_psfs
from ..run.run import Run
from ..sentences import say
from ..subs.frames import SubInfo
from .figures import SubFigures, sub_figures
from .health import starless_subs
from .measure import MeasuredSubs, cell_side_px
from .measurements import SubMeasurement
from .sky_levels import SkyLevels, sky_levels
from .sky_map import SkyMap, sky_map
from .solve import SurveySolution, solve_survey
from .tables import report_dark_skies, report_solution, report_verification, write_survey

#: Of progress, where measuring counts one for each sub: a solution takes a few seconds, of few subs or of many.
STEPS_OF_SOLUTION = 60


@dataclass(frozen=True)
class CalibratedSubs:
    """The subs of a run on its common scale.

    Attributes
    ----------
    calibrations : sequence of SubCalibration or None
        By the number of the sub; None leaves a sub as it is. Empty where subs are not calibrated one by one.
    background : ndarray of float64, shape (C,), or None
        Sky of the run on the common scale, from which the RGB equalisation of all tiles is made.
    sky : SkyMap or None
        The same over the canvas; None where subs are not calibrated one by one, or show no sky.
    noise : ndarray of float64, shape (C,), or None
        Sky noise a pixel of the usual sub on the common scale.
    levels : SkyLevels or None
        Sky levels of the subs before calibration, where they were measured.
    psfs : Psfs or None
        How sharp each sub is and how far out of place, by its number, in pixels of the canvas; None as for `sky`.
    figures : SubFigures or None
        What was measured on each sub, where they were solved for together.
    """

    calibrations: Sequence[SubCalibration | None] = ()
    background: NDArray[np.float64] | None = None
    noise: NDArray[np.float64] | None = None
    sky: SkyMap | None = None
    levels: SkyLevels | None = None
    psfs: Psfs | None = None
    figures: SubFigures | None = None

    @property
    def on_one_scale(self) -> bool:
        """True if subs come to one scale before they are stacked."""
        return bool(self.calibrations)

    def of(self, numbers: Sequence[int]) -> CalibratedSubs:
        """Return some of the subs, numbered in this order, under the sky of all."""
        some = [self.calibrations[number] for number in numbers] if self.calibrations else ()
        psfs = None if self.psfs is None else Psfs(*(values[list(numbers)] for values in self.psfs))
        return replace(self, calibrations=some, levels=None, figures=None, psfs=psfs)

    def calibration(self, number: int) -> SubCalibration | None:
        """Return the calibration of a sub; None leaves it as it is."""
        return self.calibrations[number] if self.calibrations else None


def is_solved(run: Run) -> bool:
    """True if one solution for all subs is found: survey photometry that nobody has done before."""
    return run.settings.photometry == "survey" and run.known_calibrations is None


def calibrate_subs(run: Run, measured: MeasuredSubs) -> CalibratedSubs:
    """Find the calibration of every sub.

    Parameters
    ----------
    run : Run
    measured : MeasuredSubs
        What was measured on the subs.

    Returns
    -------
    CalibratedSubs
        With ``photometry = "survey"`` the solution for all subs together, which is also written to the output folder;
        else the calibrations that the run was given; else none.

    Raises
    ------
    SubsLost
        If some must not be stacked: subs without stars, and those that the solution or the given calibrations refuse.
    """
    if run.known_calibrations is not None:
        known = {Path(key).name: value for key, value in run.known_calibrations.items()}
        given = [known.get(info.path.name) for info in run.subs]
        _lose(run, _refused(run, given))
        return _with_sky(run, given, measured)
    _lose(run, _starless(run.subs, measured.stars))
    if not is_solved(run):
        return CalibratedSubs(levels=_levels(run, measured))
    solution = _solve(run, measured.measurements)
    subs = replace(_with_sky(run, solution.calibrations, measured), background=solution.background)
    figures = sub_figures(len(run.subs), measured.measurements, solution)
    if run.channels == 3 and run.settings.grid_rgb_equalize and subs.noise is not None:
        figures = replace(figures, equaliser=neutral(solution.background, subs.noise).gains)
    return replace(subs, figures=figures)


def _lose(run: Run, errors: Sequence[SubError]) -> None:
    """Set subs aside, if there are any: the run is planned again without them."""
    for error in errors:
        run.reporter.set_aside(error)
    if errors:
        raise SubsLost(errors)


def _starless(infos: Sequence[SubInfo], stars: Mapping[int, int]) -> list[SubError]:
    """Subs that show no stars where the others do, with the reason.

    Decided once for the run, before the first tile, so that it does not depend on the tiles.
    """
    numbers, counts = list(stars), list(stars.values())

    def reason(stars: int) -> str:
        return say(
            "it shows {stars} stars where the usual sub shows {usual:.0f}: clouds, or no light at all",
            stars=stars,
            usual=np.median(counts),
        )

    return [SubError(infos[numbers[index]].path, reason(counts[index])) for index in starless_subs(counts)]


def _solve(run: Run, measured: Mapping[int, SubMeasurement]) -> SurveySolution:
    """Solve for all measured subs together, report the solution and write its tables."""
    measurements, infos = list(measured.values()), [run.subs[number] for number in measured]
    deviation, threads = run.settings.sub_max_deviation, run.settings.threads
    cameras = {m.camera: run.frames.correction(info) for m, info in zip(measurements, infos, strict=True)}
    at_zero = [camera for camera, correction in cameras.items() if correction is not None]
    with_flat = [
        name for name, correction in cameras.items() if correction is not None and correction.factor is not None
    ]

    def solve() -> SurveySolution:
        return solve_survey(
            measurements,
            max_deviation=deviation,
            pedestal_adu=run.settings.pedestal_adu,
            at_zero=at_zero,
            with_flat=with_flat,
            threads=threads,
            cancel=run.cancel,
        )

    solution = run.reuse.solution(list(measured), SurveySolution, lambda: run.interruptibly(solve))
    run.reporter.step(STEPS_OF_SOLUTION)
    _lose(run, _refused(run, solution.calibrations))
    report_dark_skies(measurements, infos, run.reporter)
    report_solution(solution, infos, run.reporter)
    report_verification(solution, with_flat, run.reporter)
    run.interruptibly(lambda: write_survey(run.output, solution, infos, measurements))
    return solution


def _refused(run: Run, calibrations: Sequence[SubCalibration | None]) -> list[SubError]:
    """Subs that are not to be used."""
    return [
        SubError(info.path, calibration.reason)
        for info, calibration in zip(run.subs, calibrations, strict=True)
        if calibration is not None and not calibration.used
    ]


def _with_sky(run: Run, calibrations: Sequence[SubCalibration | None], measured: MeasuredSubs) -> CalibratedSubs:
    """Calibrated subs, with the sky that they show on the common scale."""
    side = cell_side_px(run.subs, run.canvas)
    sky = run.interruptibly(lambda: sky_map(measured.measurements, calibrations, side, run.canvas.shape))
    background = None if sky is None else sky.median
    psfs = run.interruptibly(lambda: _psfs(run, measured.measurements))
    return CalibratedSubs(
        calibrations, background, _usual_noise(measured, calibrations), sky, _levels(run, measured), psfs
    )


def _psfs(run: Run, measured: Mapping[int, SubMeasurement]) -> Psfs:
    """How sharp every sub is, and how far out of place."""
    widths, places = [np.nan] * len(run.subs), [np.zeros((0, 2))] * len(run.subs)
    for number, sub in measured.items():
        widths[number] = sub.fwhm_px * run.subs[number].pixel_scale_arcsec / run.canvas.pixel_scale_arcsec
        brightest = np.argsort(-np.nansum(sub.stars.flux, axis=1), kind="stable")
        places[number] = np.stack([sub.stars.x, sub.stars.y], axis=1)[brightest]
    return measure_psfs(widths, places)


def _levels(run: Run, measured: MeasuredSubs) -> SkyLevels | None:
    """Sky levels of the subs as they are, from which the report says what plain stacking would have shown."""
    return sky_levels(measured.measurements, cell_side_px(run.subs, run.canvas), run.canvas.shape[1])


def _usual_noise(measured: MeasuredSubs, calibrations: Sequence[SubCalibration | None]) -> NDArray[np.float64] | None:
    """Median over the subs of the sky noise a pixel, on the common scale; None without any."""
    noises = [
        one.noise * (1.0 if (calibration := calibrations[number]) is None else calibration.gain)
        for number, one in measured.measurements.items()
    ]
    return np.nanmedian(noises, axis=0) if np.isfinite(noises).any() else None
