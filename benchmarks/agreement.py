"""Does the solve know how wrong it is? Measured gains, skies and gradients against the planted ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import grid_mode
from benchmarks.measures import MMAG
from benchmarks.oracle import TrueSub, true_sub
from zemosaic_engine.photometry.survey import SurveySolution
from zemosaic_engine.simulate.scene import pixel_scale_arcsec
from zemosaic_engine.simulate.survey import SurveyTruth

FloatArray = NDArray[np.float64]

RICH_STARS = 30


@dataclass
class Watch:
    """What a run solved, and how long that took.

    Attributes
    ----------
    solution : SurveySolution or None
        None if the run did not solve anything.
    seconds : float
    """

    solution: SurveySolution | None = None
    seconds: float = field(default=float("nan"))


@contextmanager
def watched_solve() -> Iterator[Watch]:
    """Look over the shoulder of runs of Grid Mode in this block."""
    watch = Watch()
    solve = grid_mode.solve_survey

    def timed(*arguments: Any, **options: Any) -> SurveySolution:
        began = time.perf_counter()
        watch.solution = solve(*arguments, **options)
        watch.seconds = time.perf_counter() - began
        return watch.solution

    with patch.object(grid_mode, "solve_survey", timed):
        yield watch


@dataclass(frozen=True)
class Differences:
    """Measured minus true, and the predicted errors, of the N subs in use and C channels.

    The scale of the mosaic is free by one gain and one offset a channel, which are taken off.

    Attributes
    ----------
    gain, gain_error : ndarray, shape (N, C)
        Natural logarithm.
    offset, offset_error : ndarray, shape (N, C)
        In ADU of the scene; the gain's error is in it.
    level : ndarray, shape (N, C)
        Calibrated sky and nebula of the sub minus the true ones, whatever the gain: ADU of the scene.
    slope, slope_error : ndarray, shape (N, C, 2)
        In ADU of the scene.
    scale : ndarray, shape (C,)
        ADU of the run over those of the scene.
    """

    gain: FloatArray
    gain_error: FloatArray
    offset: FloatArray
    offset_error: FloatArray
    level: FloatArray
    slope: FloatArray
    slope_error: FloatArray
    scale: FloatArray


def differences(solution: SurveySolution, subs: Sequence[TrueSub], nebula: FloatArray) -> Differences:
    """Compare a solution with the truth of its subs, in one order; subs that were set aside are left out.

    Parameters
    ----------
    solution : SurveySolution
    subs : sequence of TrueSub
    nebula : ndarray, shape (N, C)
        Mean brightness of the smooth light on each sub, in ADU of the scene.
    """
    used = [i for i, c in enumerate(solution.calibrations) if c.used]
    chosen = [solution.calibrations[i] for i in used]
    truth = [subs[i] for i in used]
    gain, gain_error, offset, offset_error, slope, slope_error = (
        np.array([getattr(c, name) for c in chosen])
        for name in ("gain", "gain_error", "offset", "offset_error", "slope", "slope_error")
    )
    planted = np.array([t.gain for t in truth])
    sky = np.array([t.sky for t in truth])
    gradient = np.array([t.gradient for t in truth])
    log_ratio = np.log(gain * planted)
    scale = np.exp(log_ratio.mean(axis=0))
    mean_scene = nebula[used]
    level = (gain * (sky + planted * mean_scene) + offset) / scale - mean_scene
    away = offset / scale + sky / planted
    true_slope = -(sky / planted)[..., None] * gradient[:, None, :]
    return Differences(
        log_ratio - log_ratio.mean(axis=0),
        gain_error,
        away - away.mean(axis=0),
        offset_error / scale,
        level - level.mean(axis=0),
        slope / scale[:, None] - true_slope,
        slope_error / scale[:, None],
        scale,
    )


def agreement(
    solution: SurveySolution, names: Sequence[str], truth: SurveyTruth, scale_arcsec: float
) -> dict[str, Any]:
    """Errors of gains, and chi-squares per degree of freedom, for the table."""
    number = {str(name): index for index, name in enumerate(truth.subs["file"])}
    subs = [true_sub(truth, number[name], scale_arcsec) for name in names]
    nebula = np.array([mean_nebula(truth, number[name], scale_arcsec) for name in names])
    found = differences(solution, subs, nebula)
    used = [i for i, c in enumerate(solution.calibrations) if c.used]
    stars = solution.stars[used]
    rich = stars.min(axis=1) >= RICH_STARS
    chosen = found.gain[rich] if rich.any() else np.full((1, found.gain.shape[1]), np.nan)
    return {
        "subs": len(names),
        "used": len(used),
        "stars": float(np.median(stars)),
        "rich_share": float(np.mean(rich)),
        "gain_rms_mmag": (MMAG * np.sqrt(np.mean(chosen**2, axis=0))).tolist(),
        "gain_error_mmag": (MMAG * np.sqrt(np.mean(found.gain_error**2, axis=0))).tolist(),
        "level_rms_adu": np.sqrt(np.mean(found.level**2, axis=0)).tolist(),
        "slope_rms_adu": np.sqrt(np.mean(found.slope**2, axis=(0, 2))).tolist(),
        "slope_error_adu": np.sqrt(np.mean(found.slope_error**2, axis=(0, 2))).tolist(),
        "pattern": [p.coefficients.tolist() for p in solution.patterns],
        "pattern_error": [p.error.tolist() for p in solution.patterns],
        "chi_square": {
            "gain": chi_square(found.gain, found.gain_error),
            "offset": chi_square(found.offset, found.offset_error),
            "slope": chi_square(found.slope, found.slope_error),
        },
    }


def chi_square(difference: FloatArray, error: FloatArray) -> list[float]:
    """Mean square of difference over error, per channel (the second axis)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.square(difference / error)
    others = tuple(axis for axis in range(pulls.ndim) if axis != 1)
    return [float(v) for v in np.mean(pulls, axis=others)]


def mean_nebula(truth: SurveyTruth, index: int, scale_arcsec: float) -> FloatArray:
    """Mean of the smooth light over a sub, per pixel of the canvas."""
    shape, wcs = truth.telescope(index).shape, truth.wcs(index)
    planes = truth.scene.render_planes(wcs, shape, 2.8, stars=False)
    return planes.mean(axis=(1, 2), dtype=np.float64) * (scale_arcsec / pixel_scale_arcsec(wcs, shape)) ** 2
