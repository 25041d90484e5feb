"""Does the solve know how wrong it is? Measured gains, skies and gradients against the planted ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from benchmarks.measures import MMAG
from benchmarks.oracle import TrueSub, true_sub
from benchmarks.posterior import Posterior, fitted_terms, predicted_large_scale
from zemosaic_engine.photometry.calibration import PATTERN_TERMS, SubCalibration
from zemosaic_engine.simulate.survey import SurveyTruth
from zemosaic_engine.subs.frames import SubInfo
from zemosaic_engine.subs.hot_pixels import sensor_key
from zemosaic_engine.survey import calibrate as stacking_survey
from zemosaic_engine.survey.elimination import CAMERA_TERMS
from zemosaic_engine.survey.measurements import SubMeasurement
from zemosaic_engine.survey.solve import SurveySolution

FloatArray = NDArray[np.float64]

RICH_STARS = 30
_SHARED_CELLS = 20


@dataclass
class Watch:
    """What a run solved, and how long that took.

    Attributes
    ----------
    solution : SurveySolution or None
        None if the run did not solve anything.
    subs : list of SubMeasurement
        What was measured on each sub.
    seconds : float
    """

    solution: SurveySolution | None = None
    subs: list[SubMeasurement] = field(default_factory=list)
    seconds: float = float("nan")


@contextmanager
def watched_solve() -> Iterator[Watch]:
    """Look over the shoulder of runs of Grid Mode in this block."""
    watch = Watch()
    solve = stacking_survey.solve_survey

    def timed(subs: Sequence[SubMeasurement], **options: Any) -> SurveySolution:
        began = time.perf_counter()
        watch.solution = solve(subs, **options)
        watch.seconds = time.perf_counter() - began
        watch.subs = list(subs)
        return watch.solution

    with patch.object(stacking_survey, "solve_survey", timed):
        yield watch


@dataclass(frozen=True)
class Differences:
    """Measured minus true, and the predicted errors, of the N subs in use and C channels.

    The scale of the mosaic is free by one gain and one offset a channel, which are taken off.

    Attributes
    ----------
    used : list of int
        Numbers of the subs.
    gain, gain_error : ndarray, shape (N, C)
        Natural logarithm.
    offset, offset_error : ndarray, shape (N, C)
        In ADU of the scene; the gain's error is in it.
    slope, slope_error : ndarray, shape (N, C, 2)
        In ADU of the scene.
    scale : ndarray, shape (C,)
        ADU of the run over those of the scene.
    """

    used: list[int]
    gain: FloatArray
    gain_error: FloatArray
    offset: FloatArray
    offset_error: FloatArray
    slope: FloatArray
    slope_error: FloatArray
    scale: FloatArray


def differences(solution: SurveySolution, subs: Sequence[TrueSub]) -> Differences:
    """Compare a solution with the truth of its subs, in one order; subs that were set aside are left out."""
    used = [i for i, c in enumerate(solution.calibrations) if c.used]
    chosen = [solution.calibrations[i] for i in used]
    gain, gain_error, offset, offset_error, slope, slope_error = (
        np.array([getattr(c, name) for c in chosen])
        for name in ("gain", "gain_error", "offset", "offset_error", "slope", "slope_error")
    )
    planted = np.array([subs[i].gain for i in used])
    sky = np.array([subs[i].sky for i in used]) / planted
    gradient = np.array([subs[i].gradient for i in used])
    # Levels are compared over the whole sensor: at its centre alone a bowl would be in their errors.
    bowl = np.array([subs[i].bowl_mean for i in used])[:, None]
    offset = offset + np.array([_mean_bowl(c, subs[i]) for c, i in zip(chosen, used, strict=True)])
    # A pedestal that is left in a sub is part of the level that its offset takes off.
    left = np.array([subs[i].pedestal_adu - _pedestal(c) for c, i in zip(chosen, used, strict=True)])
    offset = offset + left * gain
    glow = np.array([_plane_of_glow(c, subs[i]) for c, i in zip(chosen, used, strict=True)])
    offset, slope = offset + glow[..., 0], slope + glow[..., 1:]
    log_ratio = np.log(gain * planted)
    scale = np.exp(log_ratio.mean(axis=0))
    away = offset / scale + sky * (1.0 + bowl)
    return Differences(
        used,
        log_ratio - log_ratio.mean(axis=0),
        gain_error,
        away - away.mean(axis=0),
        offset_error / scale,
        slope / scale[:, None] + sky[..., None] * gradient[:, None, :],
        slope_error / scale[:, None],
        scale,
    )


def _pedestal(calibration: SubCalibration) -> FloatArray:
    return np.zeros(calibration.channels) if calibration.pedestal is None else calibration.pedestal


_GRID = np.linspace(-1.0, 1.0, 41)


def _plane_of_glow(calibration: SubCalibration, sub: TrueSub) -> FloatArray:
    """Level and slopes of what the sensor adds and the fixed pattern does not take off, shape (C, 3).

    Patterns leave planes to the offsets and slopes of the subs.
    """
    if sub.fixed is None and calibration.fixed is None:
        return np.zeros((calibration.channels, 3))
    height, width = sub.shape
    v, u = (side.ravel() for side in np.meshgrid(_GRID * height, _GRID * width, indexing="ij"))
    u, v = u / np.hypot(height, width), v / np.hypot(height, width)
    added = np.zeros((u.size, calibration.channels))
    if sub.fixed is not None:
        added = added + sub.fixed.at(u, v)[0]
    if calibration.fixed is not None:
        added = added - calibration.exposure * calibration.fixed.at(u, v)[0]
    plane = np.stack([np.ones(u.size), u, v], axis=1)
    return np.asarray(np.linalg.lstsq(plane, added * calibration.at(u, v)[0], rcond=None)[0].T)


def _mean_bowl(calibration: SubCalibration, sub: TrueSub) -> FloatArray:
    """Mean over the sensor of what a calibration adds in bowls, per channel."""
    if calibration.curvature is None:
        return np.zeros(calibration.channels)
    height, width = sub.shape
    squares = np.array([width**2, 0.0, height**2]) / (3.0 * (width**2 + height**2))
    return np.asarray(calibration.curvature @ squares)


def posteriors(watch: Watch, found: Differences, subs: Sequence[TrueSub], cameras: Sequence[int]) -> list[Posterior]:
    """Errors of the solve with the covariances that it predicts, one a channel."""
    assert watch.solution is not None
    terms = fitted_terms()
    answers = []
    count = len(found.used)
    for channel, covariance in enumerate(watch.solution.covariance):
        gains = np.array([watch.solution.calibrations[i].gain[channel] for i in found.used])
        # The solve's own ADU are those of the run over the factor that its reference brings.
        unit = found.scale[channel] / np.exp(np.mean(np.log(gains)))
        first = len(covariance) - CAMERA_TERMS * (max(cameras) + 1)
        of_patterns = first + CAMERA_TERMS * np.arange(max(cameras) + 1)[:, None] + np.arange(len(terms))
        kept = np.concatenate([np.arange(4 * count), of_patterns.ravel()])
        factor = np.ones(kept.size)
        factor[: 4 * count] = np.tile([1.0, 1.0 / unit, 1.0 / unit, 1.0 / unit], count)
        error = np.zeros(kept.size)
        error[0 : 4 * count : 4] = found.gain[:, channel]
        pedestal = np.array([sub.pedestal_adu for sub in subs])
        sky = np.array([watch.subs[i].sky[channel] for i in found.used]) - pedestal
        level = sky * gains / found.scale[channel]
        error[1 : 4 * count : 4] = found.offset[:, channel] + level * found.gain[:, channel]
        error[2 : 4 * count : 4] = found.slope[:, channel, 0]
        error[3 : 4 * count : 4] = found.slope[:, channel, 1]
        for camera in range(max(cameras) + 1):
            vignetting = subs[list(cameras).index(camera)].vignetting
            true = np.array([-vignetting if PATTERN_TERMS[t] in ("u2", "v2") else 0.0 for t in terms])
            start = 4 * count + len(terms) * camera
            pattern = watch.solution.patterns[camera].coefficients[channel, list(terms)]
            error[start : start + len(terms)] = pattern - true
        answers.append(
            Posterior(error, covariance[np.ix_(kept, kept)] * factor[:, None] * factor[None, :], count, terms)
        )
    return answers


def agreement(
    watch: Watch, infos: Sequence[SubInfo], truth: SurveyTruth, scale_arcsec: float
) -> tuple[dict[str, Any], LargeScalePredictor]:
    """Errors of gains and chi-squares per degree of freedom, and what predicts the errors of the mosaic."""
    solution = watch.solution
    if solution is None:
        raise RuntimeError("The run did not solve for its subs: photometry=survey was not honoured")
    number = {str(name): index for index, name in enumerate(truth.subs["file"])}
    order = [number[info.path.name] for info in infos]
    subs = [true_sub(truth, index, scale_arcsec) for index in order]
    found = differences(solution, subs)
    names = [p.camera for p in solution.patterns]
    cameras = [names.index(sensor_key(infos[i])) for i in found.used]
    used = [subs[i] for i in found.used]
    known = posteriors(watch, found, used, cameras)
    stars = solution.stars[found.used]
    rich = stars.min(axis=1) >= RICH_STARS
    chosen = found.gain[rich] if rich.any() else np.full((1, found.gain.shape[1]), np.nan)
    figures = {
        "subs": len(infos),
        "used": len(found.used),
        "stars": float(np.median(stars)),
        "rich_share": float(np.mean(rich)),
        "gain_rms_mmag": (MMAG * np.sqrt(np.mean(chosen**2, axis=0))).tolist(),
        "gain_error_mmag": (MMAG * np.sqrt(np.mean(found.gain_error**2, axis=0))).tolist(),
        "slope_rms_adu": np.sqrt(np.mean(found.slope**2, axis=(0, 2))).tolist(),
        "slope_error_adu": np.sqrt(np.mean(found.slope_error**2, axis=(0, 2))).tolist(),
        "pattern": [p.coefficients.tolist() for p in solution.patterns],
        "pattern_error": [p.error.tolist() for p in solution.patterns],
        "chi_square": {
            "gain": chi_square(found.gain, found.gain_error),
            "offset": chi_square(found.offset, found.offset_error),
            "slope": chi_square(found.slope, found.slope_error),
            "all_gains": [p.chi_square("gains") for p in known],
            "all_offsets": [p.chi_square("offsets") for p in known],
            "all_slopes": [p.chi_square("slopes") for p in known],
            "all_sky": [p.chi_square("sky") for p in known],
            "everything": [p.chi_square("all") for p in known],
        },
        "sub_steps": sub_steps(watch),
        "solve_seconds": watch.seconds,
    }
    maps = [truth.wcs(order[i]) for i in found.used]
    return figures, LargeScalePredictor(known, used, cameras, maps)


@dataclass(frozen=True)
class LargeScalePredictor:
    """All that predicts the errors of planes and bowls of a mosaic, channel by channel."""

    posteriors: list[Posterior]
    subs: list[TrueSub]
    cameras: list[int]
    maps: list[WCS]

    def on(self, canvas: WCS, shape: tuple[int, int], xy: FloatArray) -> FloatArray:
        """Predicted errors, shape (5, C), of a mosaic compared in blocks at `xy`."""
        columns = [
            predicted_large_scale(posterior, self.subs, self.cameras, self.maps, canvas, shape, xy, channel)
            for channel, posterior in enumerate(self.posteriors)
        ]
        return np.stack(columns, axis=1)


def sub_steps(watch: Watch) -> list[float]:
    """Median step between two calibrated subs over the cells that they share, per channel.

    In sigma of a sub's sky noise a pixel. All pairs count that share twenty cells and are not of one
    session: those would agree even if nothing were done. Without a second session, all pairs count.
    """
    solution = watch.solution
    if solution is None:
        return []
    steps = []
    sessions = len({m.session for m in watch.subs})
    pairs = zip(watch.subs, solution.calibrations, strict=True)
    leveled = [_calibrated_cells(m, c) if c.used else None for m, c in pairs]
    for first, one in enumerate(watch.subs):
        for second in range(first + 1, len(watch.subs)):
            other = watch.subs[second]
            a, b = leveled[first], leveled[second]
            if a is None or b is None or (sessions > 1 and one.session == other.session):
                continue
            _, mine, theirs = np.intersect1d(one.cells.index, other.cells.index, return_indices=True)
            if mine.size >= _SHARED_CELLS:
                gains = solution.calibrations[first].gain, solution.calibrations[second].gain
                noise = 0.5 * (one.noise * gains[0] + other.noise * gains[1])
                steps.append(np.abs(np.median(a[mine] - b[theirs], axis=0)) / noise)
    return [float(v) for v in np.median(steps, axis=0)] if steps else []


def _calibrated_cells(measured: SubMeasurement, calibration: SubCalibration) -> FloatArray:
    """Levels of a sub's cells on the scale of the run, shape (n, C)."""
    factor, background = calibration.at(measured.cells.u, measured.cells.v)
    return np.asarray(measured.cells.level * factor + background)


def chi_square(difference: FloatArray, error: FloatArray) -> list[float]:
    """Mean square of difference over error, per channel (the second axis)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.square(difference / error)
    others = tuple(axis for axis in range(pulls.ndim) if axis != 1)
    return [float(v) for v in np.mean(pulls, axis=others)]
