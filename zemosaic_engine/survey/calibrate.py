"""Brings every sub to the scale of the run: by survey photometry, by known calibrations, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..photometry.calibration import SubCalibration
from ..run.run import Run
from ..subs.frames import SubInfo
from .health import starless_subs
from .measure import MeasuredSubs, cell_side_px
from .measurements import SubMeasurement
from .sky_levels import SkyLevels, sky_levels
from .sky_map import SkyMap, sky_map
from .solve import SurveySolution, solve_survey
from .tables import report_solution, write_survey


@dataclass(frozen=True)
class CalibratedSubs:
    """The subs of a run on its common scale.

    Attributes
    ----------
    calibrations : sequence of SubCalibration or None
        By the number of the sub; None leaves a sub as it is. Empty where subs are not calibrated one by one.
    rejected : mapping of int to SubError
        The subs that must not be stacked, by their number.
    background : ndarray of float64, shape (C,), or None
        Sky of the run on the common scale, from which the RGB equalisation of all tiles is made.
    sky : SkyMap or None
        The same over the canvas; None where subs are not calibrated one by one, or show no sky.
    levels : SkyLevels or None
        Sky levels of the subs before calibration, where they were measured.
    """

    calibrations: Sequence[SubCalibration | None] = ()
    rejected: Mapping[int, SubError] = field(default_factory=dict)
    background: NDArray[np.float64] | None = None
    sky: SkyMap | None = None
    levels: SkyLevels | None = None

    @property
    def on_one_scale(self) -> bool:
        """True if subs come to one scale before they are stacked."""
        return bool(self.calibrations)

    def calibration(self, number: int) -> SubCalibration | None:
        """Return the calibration of a sub; None leaves it as it is."""
        return self.calibrations[number] if self.calibrations else None


def calibrate_subs(run: Run, measured: MeasuredSubs) -> CalibratedSubs:
    """Find the calibration of every sub, and set aside those that must not be stacked.

    Parameters
    ----------
    run : Run
    measured : MeasuredSubs
        What was measured on the subs.

    Returns
    -------
    CalibratedSubs
        With ``photometry = "survey"`` the solution for all subs together, which is also written to the output folder;
        else the calibrations that the run was given; else none, and only starless subs are set aside.
    """
    if run.known_calibrations is not None:
        known = {Path(key).name: value for key, value in run.known_calibrations.items()}
        return _with_sky(run, [known.get(info.path.name) for info in run.subs], measured)
    starless = _starless(run.subs, measured.stars)
    if run.settings.photometry != "survey" or len(starless) == len(measured.measurements):
        for error in starless.values():
            run.reporter.set_aside(error)
        return CalibratedSubs(rejected=starless)
    solution = _solve(run, measured.measurements, starless)
    calibrations: list[SubCalibration | None] = [None] * len(run.subs)
    for number, calibration in zip(measured.measurements, solution.calibrations, strict=True):
        calibrations[number] = calibration
    return replace(_with_sky(run, calibrations, measured), background=solution.background)


def _starless(infos: Sequence[SubInfo], stars: Mapping[int, int]) -> dict[int, SubError]:
    """Subs that show no stars where the others do, by number, with the reason.

    Decided once for the run, before the first tile, so that it does not depend on the tiles.
    """
    numbers, counts = list(stars), list(stars.values())
    reason = "it shows {} stars where the usual sub shows {:.0f}: clouds, or no light at all"
    return {
        numbers[index]: SubError(infos[numbers[index]].path, reason.format(counts[index], np.median(counts)))
        for index in starless_subs(counts)
    }


def _solve(run: Run, measured: Mapping[int, SubMeasurement], starless: Mapping[int, SubError]) -> SurveySolution:
    """Solve for all measured subs together, report the solution and write its tables."""
    measurements, infos = list(measured.values()), [run.subs[number] for number in measured]
    left_out = {index: starless[number].reason for index, number in enumerate(measured) if number in starless}
    deviation, threads = run.settings.sub_max_deviation, run.settings.threads

    def solve() -> SurveySolution:
        return solve_survey(
            measurements,
            left_out=left_out,
            max_deviation=deviation,
            pedestal_adu=run.settings.pedestal_adu,
            threads=threads,
            cancel=run.cancel,
        )

    solution = run.reuse.solution(list(measured), SurveySolution, lambda: run.interruptibly(solve))
    report_solution(solution, infos, run.reporter)
    run.interruptibly(lambda: write_survey(run.output, solution, infos, measurements))
    return solution


def _with_sky(run: Run, calibrations: Sequence[SubCalibration | None], measured: MeasuredSubs) -> CalibratedSubs:
    """Calibrated subs, with the sky that they show on the common scale; unused ones are set aside."""
    rejected = {}
    for number, calibration in enumerate(calibrations):
        if calibration is not None and not calibration.used:
            rejected[number] = SubError(run.subs[number].path, calibration.reason)
            run.reporter.set_aside(rejected[number])
    side = cell_side_px(run.subs, run.canvas)
    sky = run.interruptibly(lambda: sky_map(measured.measurements, calibrations, side, run.canvas.shape))
    levels = sky_levels(measured.measurements, side, run.canvas.shape[1])
    return CalibratedSubs(calibrations, rejected, None if sky is None else sky.median, sky, levels)
