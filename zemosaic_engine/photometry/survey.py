"""One photometric scale for all subs of a run: gains from stars, then skies from cells, errors with both.

The steps: leave out subs that are far from their session; gains and what stars say of the
illumination; skies and what cells say of it; gains again with all that is known of the illumination;
skies again. Each channel by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .calibration import PATTERN_TERMS, SubCalibration
from .measurements import SubMeasurement
from .pattern_prior import FITTED_TERMS, PatternBelief
from .sub_health import far_from_session, far_residuals
from .survey_gains import GainAnswer, StarReports, match_stars, safely_detected, solve_gains
from .survey_sky import CellReports, SkyAnswer, match_cells, solve_sky

_MMAG = 2500.0 / np.log(10.0)
_FEW_STARS = 7
_ROUNDS = 2


@dataclass(frozen=True)
class CameraPattern:
    """Illumination of one camera.

    Attributes
    ----------
    camera : str
    coefficients, error : ndarray of float64, shape (C, 6)
        For the terms of `calibration.PATTERN_TERMS`.
    """

    camera: str
    coefficients: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class SurveySolution:
    """The answer for a run.

    Attributes
    ----------
    calibrations : list of SubCalibration
        One a sub, in order; those that are not `used` carry the reason.
    patterns : list of CameraPattern
    stars : ndarray of int64, shape (N, C)
        Stars that each sub contributed.
    residual : ndarray of float64, shape (N, C)
        Scatter of the sky residuals of each sub in units of their errors; NaN where unknown.
    group : ndarray of int64, shape (N,)
        Group of subs that common sky ties together, 0 the largest; -1 for subs that are not used.
    reference : int
        The sub whose scale and sky level are kept.
    background : ndarray of float64, shape (C,)
        Level of the sky on the common scale, in ADU.
    zero_point_before_mmag, zero_point_after_mmag : ndarray of float64, shape (C,)
        Scatter of bright stars from sub to sub with gains from exposure time alone, and with these.
    sky_residual_adu, sky_residual_sigma : ndarray of float64, shape (C,)
        Robust scatter of cells around the solution, in ADU and in units of their formal errors.
    """

    calibrations: list[SubCalibration]
    patterns: list[CameraPattern]
    stars: NDArray[np.int64]
    residual: NDArray[np.float64]
    group: NDArray[np.int64]
    reference: int
    background: NDArray[np.float64]
    zero_point_before_mmag: NDArray[np.float64]
    zero_point_after_mmag: NDArray[np.float64]
    sky_residual_adu: NDArray[np.float64]
    sky_residual_sigma: NDArray[np.float64]


@dataclass(frozen=True)
class _Problem:
    """The subs that take part, and what they share."""

    subs: list[SubMeasurement]
    session: NDArray[np.int64]
    camera: NDArray[np.int64]
    cameras: list[str]
    stars: StarReports
    cells: CellReports
    reference: int


@dataclass(frozen=True)
class _ChannelAnswer:
    gains: GainAnswer
    sky: SkyAnswer


def solve_survey(subs: Sequence[SubMeasurement], *, max_deviation: float = 0.0) -> SurveySolution:
    """Bring all subs of a run to one photometric scale.

    Parameters
    ----------
    subs : sequence of SubMeasurement
        At least one.
    max_deviation : float
        A sub whose noise, seeing, number of stars or residual is worse than its session's by more than
        this many robust sigma is not used; 0 uses all.

    Returns
    -------
    SurveySolution
    """
    reasons = far_from_session(subs, max_deviation)
    problem, answers = _solve_used(subs, reasons)
    if max_deviation > 0.0:
        used = [i for i, reason in enumerate(reasons) if not reason]
        late = far_residuals([_worst(answers, place) for place in range(len(used))], max_deviation)
        if any(late):
            for number, reason in zip(used, late, strict=True):
                reasons[number] = reason
            problem, answers = _solve_used(subs, reasons)
    return _assemble(subs, reasons, problem, answers)


def _worst(answers: Sequence[_ChannelAnswer], place: int) -> float:
    """Largest residual of a sub over the channels; NaN if none is known."""
    values = np.array([answer.sky.residual[place] for answer in answers])
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")


def _solve_used(subs: Sequence[SubMeasurement], reasons: Sequence[str]) -> tuple[_Problem, list[_ChannelAnswer]]:
    problem = _state([m for m, reason in zip(subs, reasons, strict=True) if not reason])
    return problem, [_solve_channel(problem, channel) for channel in range(problem.subs[0].sky.size)]


def _state(subs: list[SubMeasurement]) -> _Problem:
    """Number sessions and cameras, match stars and cells, choose the reference."""
    _, session = np.unique([f"{m.camera}|{m.session}|{m.exposure_s:g}" for m in subs], return_inverse=True)
    cameras, camera = np.unique([m.camera for m in subs], return_inverse=True)
    stars = safely_detected(match_stars(subs), len(subs))
    return _Problem(subs, session, camera, [str(c) for c in cameras], stars, match_cells(subs), _reference(subs))


def _reference(subs: Sequence[SubMeasurement]) -> int:
    """The sub that tells most: many stars for its noise, and a sky that is known."""
    noise = np.array([np.mean(m.noise) for m in subs])
    stars = np.array([m.stars.x.size for m in subs], dtype=np.float64)
    merit = (1.0 + stars) / np.where(np.isfinite(noise) & (noise > 0), noise, np.inf)
    return int(np.argmax(merit))


def _solve_channel(problem: _Problem, channel: int) -> _ChannelAnswer:
    """Stars and cells speak in turns, each hearing what the other says of the illumination."""
    exposure = np.array([m.exposure_s for m in problem.subs])
    level = np.array([m.sky[channel] for m in problem.subs])
    weak = PatternBelief.weak(len(problem.cameras))
    before = weak
    for _ in range(_ROUNDS):
        gains = solve_gains(problem.stars, channel, exposure, problem.session, problem.camera, before)
        sky = solve_sky(
            problem.cells, channel, np.exp(gains.log_gain), gains.error, level,
            problem.session, problem.camera, gains.belief, problem.reference,
        )  # fmt: skip
        # What the cells alone say is what the stars may hear next.
        before = sky.belief.without(gains.belief, before)
    return _ChannelAnswer(gains, sky)


def _assemble(
    subs: Sequence[SubMeasurement], reasons: Sequence[str], problem: _Problem, answers: Sequence[_ChannelAnswer]
) -> SurveySolution:
    """Put the channels together, on the scale of the reference."""
    channels, count = len(answers), len(subs)
    used = np.array([i for i, reason in enumerate(reasons) if not reason])
    patterns = _patterns(problem, answers)
    place_of = {int(number): place for place, number in enumerate(used)}
    # One factor for all channels: the colour stays that of the mean of all subs.
    scale = float(np.exp(-np.mean([a.gains.log_gain[problem.reference] for a in answers])))
    calibrations, stars = [], np.zeros((count, channels), dtype=np.int64)
    residual, group = np.full((count, channels), np.nan), np.full(count, -1)
    for number, reason in enumerate(reasons):
        if number not in place_of:
            calibrations.append(_unused(channels, reason))
            continue
        place = place_of[number]
        stars[number] = [a.gains.stars[place] for a in answers]
        residual[number] = [a.sky.residual[place] for a in answers]
        group[number] = answers[0].sky.group[place]
        calibrations.append(_calibration(problem, answers, patterns, place, scale))
    return SurveySolution(
        calibrations,
        patterns,
        stars,
        residual,
        group,
        int(used[problem.reference]),
        np.array([scale * a.sky.background for a in answers]),
        np.array([_MMAG * a.gains.scatter_before for a in answers]),
        np.array([_MMAG * a.gains.scatter_after for a in answers]),
        np.array([scale * a.sky.scatter_adu for a in answers]),
        np.array([a.sky.scatter_sigma for a in answers]),
    )


def _patterns(problem: _Problem, answers: Sequence[_ChannelAnswer]) -> list[CameraPattern]:
    patterns = []
    for number, camera in enumerate(problem.cameras):
        coefficients = np.zeros((len(answers), len(PATTERN_TERMS)))
        error = np.zeros_like(coefficients)
        for channel, answer in enumerate(answers):
            coefficients[channel, FITTED_TERMS] = answer.sky.belief.mean[number]
            error[channel, FITTED_TERMS] = answer.sky.belief.error[number]
        patterns.append(CameraPattern(camera, coefficients, error))
    return patterns


def _calibration(
    problem: _Problem,
    answers: Sequence[_ChannelAnswer],
    patterns: Sequence[CameraPattern],
    place: int,
    scale: float,
) -> SubCalibration:
    """All channels of one sub."""
    gain = scale * np.array([np.exp(a.gains.log_gain[place]) for a in answers])
    noise = problem.subs[place].noise * gain
    weight = np.where(noise > 0, 1.0 / np.square(np.where(noise > 0, noise, 1.0)), 0.0)
    few = min(int(a.gains.stars[place]) for a in answers)
    reason = f"{few} common stars: gain mostly from exposure time and its session" if few < _FEW_STARS else ""
    return SubCalibration(
        gain,
        np.array([a.gains.error[place] for a in answers]),
        scale * np.array([a.sky.offset[place] for a in answers]),
        scale * np.array([a.sky.slope[place] for a in answers]),
        scale * np.array([a.sky.offset_error[place] for a in answers]),
        scale * np.array([a.sky.slope_error[place] for a in answers]),
        patterns[int(problem.camera[place])].coefficients,
        weight,
        reason=reason,
    )


def _unused(channels: int, reason: str) -> SubCalibration:
    """What stands for a sub that is set aside."""
    nothing, unknown = np.zeros(channels), np.full(channels, np.nan)
    return replace(
        SubCalibration.exact(unknown, unknown, np.full((channels, 2), np.nan), np.zeros((channels, 0))),
        weight=nothing,
        used=False,
        reason=reason,
    )
