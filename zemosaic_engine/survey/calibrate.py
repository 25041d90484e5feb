"""Before the first tile: every sub is looked at once, and brought to the scale of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..canvas.plan import CanvasPlan
from ..errors import SubError
from ..events import CancelToken, Steps, Teller
from ..machine.threads import run_all, run_interruptibly, thread_count
from ..photometry.calibration import SubCalibration
from ..photometry.neutral import neutral_gains
from ..photometry.sky import clipped_median
from ..resume.reuse import Past
from ..run.request import GridRequest
from ..settings import GridSettings
from ..stacking.combine import Stack
from ..subs.frames import SubInfo
from ..subs.loader import SubLoader
from .health import starless_subs
from .measure import cell_side_px, measure_subs
from .measurements import SubMeasurement
from .sky_levels import SkyLevels, sky_levels
from .sky_map import SkyMap, sky_map
from .solve import SurveySolution, solve_survey
from .tables import tell_solution, write_survey


@dataclass
class Survey:
    """What survey photometry says of the subs of a run, by number.

    Attributes
    ----------
    calibrations : list of SubCalibration or None
        Empty where subs are not calibrated one by one.
    errors : list of SubError
        Subs that it sets aside.
    background : ndarray of float64, shape (C,), or None
        Sky of the run on the common scale, from which the RGB equalisation of all tiles is made.
    sky : SkyMap or None
        The same over the canvas; None where subs are not calibrated one by one, or show no sky.
    levels : SkyLevels or None
        Of the subs before calibration.
    """

    calibrations: list[SubCalibration | None] = field(default_factory=list)
    errors: list[SubError] = field(default_factory=list)
    background: NDArray[np.float64] | None = None
    sky: SkyMap | None = None
    levels: SkyLevels | None = None

    @property
    def calibrated(self) -> bool:
        """True if subs come to one scale before they are stacked."""
        return bool(self.calibrations)

    def calibration(self, number: int) -> SubCalibration | None:
        """Of one sub; None leaves it as it is."""
        return self.calibrations[number] if self.calibrations else None

    def neutral(self, stack: Stack) -> tuple[list[float], float]:
        """RGB gains for all tiles of the run and the level they lead to; without a background, of the first tile."""
        if self.background is None:
            self.background = np.array([clipped_median(stack.pixels[..., channel])[0] for channel in range(3)])
        *gains, level = neutral_gains(self.background)
        return gains, level


def calibrate(
    request: GridRequest,
    canvas: CanvasPlan,
    loader: SubLoader,
    past: Past,
    steps: Steps,
    tell: Teller,
    cancel: CancelToken,
) -> Survey:
    """Look at every sub once: bring all to one scale, or take the scales that were given, or just leave out clouds.

    If any sub turns out to be unusable, the survey tells no more than that: the run is planned again without it.
    """
    settings, infos = request.settings, request.infos
    steps.expect(len(infos))
    if request.calibrations is not None:
        given = {Path(key).name: value for key, value in request.calibrations.items()}
        found = _measure(request, canvas, loader, past, steps, cancel)
        if loader.failures:
            return Survey()
        return _with_sky([given.get(info.path.name) for info in infos], found, request, canvas, tell, cancel)
    if settings.photometry != "survey":
        counts = _count_stars(infos, loader, past, settings, steps, cancel)
        past.tell_measured()
        return _without_starless(_starless(counts, infos), tell)
    found = _measure(request, canvas, loader, past, steps, cancel)
    starless = _starless({number: int(m.stars.x.size) for number, m in found.items()}, infos)
    if starless or loader.failures:
        return _without_starless(starless, tell)
    measured = list(found.values())
    solution = past.solution(list(found), lambda: _solve(measured, settings, cancel))
    calibrations: list[SubCalibration | None] = list(solution.calibrations)
    if not all(calibration.used for calibration in solution.calibrations):
        return _survey_of(calibrations, infos, tell)
    tell_solution(solution, infos, tell)
    run_interruptibly(lambda: write_survey(request.output, solution, infos, measured), cancel)
    survey = _with_sky(calibrations, found, request, canvas, tell, cancel)
    survey.background = solution.background
    return survey


def _measure(
    request: GridRequest, canvas: CanvasPlan, loader: SubLoader, past: Past, steps: Steps, cancel: CancelToken
) -> dict[int, SubMeasurement]:
    """What is measured on each sub that can be read, by its number."""
    measured = measure_subs(request.infos, canvas, loader, request.settings, steps.one, cancel, past.measurement)
    past.tell_measured()
    return {number: m for number, m in enumerate(measured) if m}


def _with_sky(
    calibrations: list[SubCalibration | None],
    measured: Mapping[int, SubMeasurement],
    request: GridRequest,
    canvas: CanvasPlan,
    tell: Teller,
    cancel: CancelToken,
) -> Survey:
    """Calibrated subs, with the sky that they show on the common scale."""
    survey = _survey_of(calibrations, request.infos, tell)
    side = cell_side_px(request.infos, canvas)
    survey.sky = run_interruptibly(lambda: sky_map(measured, calibrations, side, canvas.shape), cancel)
    survey.background = None if survey.sky is None else survey.sky.median
    survey.levels = sky_levels(measured, side, canvas.shape[1])
    return survey


def _solve(measured: Sequence[SubMeasurement], settings: GridSettings, cancel: CancelToken) -> SurveySolution:
    deviation, threads = settings.sub_max_deviation, settings.threads

    def solve() -> SurveySolution:
        return solve_survey(measured, max_deviation=deviation, threads=threads, cancel=cancel)

    return run_interruptibly(solve, cancel)


def _survey_of(calibrations: list[SubCalibration | None], infos: Sequence[SubInfo], tell: Teller) -> Survey:
    """Tell and note the subs that are not to be used."""
    survey = Survey(calibrations)
    for number, calibration in enumerate(calibrations):
        if calibration is not None and not calibration.used:
            error = SubError(infos[number].path, calibration.reason)
            tell.set_aside(error)
            survey.errors.append(error)
    return survey


def _count_stars(
    infos: Sequence[SubInfo],
    loader: SubLoader,
    past: Past,
    settings: GridSettings,
    steps: Steps,
    cancel: CancelToken,
) -> dict[int, int]:
    """Number of stars of each sub that can be read, by the number of the sub."""

    def count(number: int) -> int:
        try:
            return past.star_count(number, lambda: len(loader.load(number).stars))
        except SubError:
            return -1
        finally:
            steps.one()

    counts = run_all(count, range(len(infos)), thread_count(settings.threads), cancel)
    return {number: stars for number, stars in enumerate(counts) if stars >= 0}


def _starless(counts: Mapping[int, int], infos: Sequence[SubInfo]) -> dict[int, SubError]:
    """Subs that show no stars where the others do, by number, with the reason.

    Decided once for the run, before the first tile, so that it does not depend on the tiles.
    """
    numbers, stars = list(counts), list(counts.values())
    reason = "it shows {} stars where the usual sub shows {:.0f}: clouds, or no light at all"
    return {
        numbers[place]: SubError(infos[numbers[place]].path, reason.format(stars[place], np.median(stars)))
        for place in starless_subs(stars)
    }


def _without_starless(starless: Mapping[int, SubError], tell: Teller) -> Survey:
    """Nothing but these subs left out, told."""
    for error in starless.values():
        tell.set_aside(error)
    return Survey(errors=list(starless.values()))
