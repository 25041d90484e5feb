"""The scale of a new sub: its gain by the stars that stand, its sky by the cells that stand.

Illumination, pedestal and fixed pattern are those of its camera, and the curvature of its sky that of its session, from
a sub that stands; gain, offset and slopes are its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..photometry.calibration import SubCalibration
from ..survey.measurements import SubMeasurement
from .standing_sky import StandingSky

FloatArray = NDArray[np.float64]
_SAME_STAR_PX = 2.0
_LEAST_STARS, _LEAST_CELLS, _SLOPED_CELLS = 4, 3, 12
_STAR_FLOOR = 0.02  # scatter of a star beyond its error, relative
_PRIOR = 0.05  # of the logarithm of the gain, around that of the exposure
_ROUNDS, _CLIP = 3, 3.0


def scale_sub(
    new: SubMeasurement, sky: StandingSky, like: SubMeasurement, standing: SubCalibration
) -> SubCalibration | None:
    """Return the calibration of a new sub; None if too little of what it shows stands.

    Parameters
    ----------
    new : SubMeasurement
    sky : StandingSky
    like : SubMeasurement
        A sub of the same camera that stands, of the same session where there is one.
    standing : SubCalibration
        Its calibration.

    Returns
    -------
    SubCalibration or None
        None with fewer than 4 stars or 3 sky cells that stand, in any channel.
    """
    channels = standing.channels
    ratio = exposure_ratio(new.exposure_s, like.exposure_s)
    light = replace(
        standing,
        gain=np.ones(channels),
        offset=np.zeros(channels),
        slope=np.zeros((channels, 2)),
        curvature=None,
        exposure=standing.exposure * ratio,
    )
    found = _gain(new, sky, light, np.log(standing.gain / ratio))
    if found is None:
        return None
    gain, gain_error = found
    curvature = standing.curvature if new.session == like.session else None
    bare = replace(light, gain=gain, curvature=curvature)
    level = _level(new, sky, bare, standing.slope if new.session == like.session else np.zeros((channels, 2)))
    if level is None:
        return None
    noise = new.noise * gain
    return replace(
        bare,
        gain_error=gain_error,
        offset=level[:, 0],
        slope=level[:, 1:],
        offset_error=standing.offset_error,
        slope_error=standing.slope_error,
        weight=np.where(noise > 0.0, 1.0 / np.square(np.where(noise > 0.0, noise, 1.0)), 0.0),
        used=True,
        reason="",
    )


def exposure_ratio(new_s: float, like_s: float) -> float:
    """How many times as long as another sub a sub is exposed; 1 if either exposure is not known (NaN or 0)."""
    return new_s / like_s if 0.0 < new_s < np.inf and 0.0 < like_s < np.inf else 1.0


def _gain(
    new: SubMeasurement, sky: StandingSky, light: SubCalibration, prior: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Gain of each channel and its relative error, from the stars that stand and the exposure."""
    from scipy.spatial import cKDTree

    own = np.stack([new.stars.x, new.stars.y], axis=1)
    known = np.flatnonzero(np.isfinite(own).all(axis=1))
    if not len(known) or not len(sky.xy):
        return None
    distance, partner = cKDTree(sky.xy).query(own[known], distance_upper_bound=_SAME_STAR_PX)
    tied = np.isfinite(distance)
    mine, theirs = known[tied], partner[tied]
    factor = light.at(new.stars.u[mine], new.stars.v[mine])[0]
    flux, error = new.stars.flux[mine] * factor, new.stars.error[mine] * factor
    gains, errors = np.empty_like(prior), np.empty_like(prior)
    for channel in range(prior.size):
        a, b = flux[:, channel], sky.flux[theirs, channel]
        good = np.isfinite(a) & (a > 0.0) & (b > 0.0)
        if np.count_nonzero(good) < _LEAST_STARS:
            return None
        offset = np.log(b[good] / a[good]) - prior[channel]
        variance = (error[good, channel] / a[good]) ** 2 + (sky.error[theirs[good], channel] / b[good]) ** 2
        value, spread = _robust_mean(offset, 1.0 / (variance + _STAR_FLOOR**2))
        gains[channel] = np.exp(prior[channel] + value / (1.0 + (spread / _PRIOR) ** 2))
        errors[channel] = spread
    return gains, errors


def _level(new: SubMeasurement, sky: StandingSky, bare: SubCalibration, slope: FloatArray) -> FloatArray | None:
    """Offset and slopes (C, 3) that bring the sky of the sub to that which stands."""
    _, mine, theirs = np.intersect1d(new.cells.index, sky.cell, return_indices=True)
    if len(mine) < _LEAST_CELLS:
        return None
    u, v = (part[mine].astype(np.float64) for part in (new.cells.u, new.cells.v))
    factor, background = bare.at(u, v)
    missing = sky.level[theirs] - (new.cells.level[mine] * factor + background)
    weight = 1.0 / np.square(new.cells.error[mine] * factor)
    places = np.stack([u, v], axis=1)
    found = np.empty((missing.shape[1], 3))
    for channel in range(missing.shape[1]):
        if len(mine) < _SLOPED_CELLS:
            value, _ = _robust_mean(missing[:, channel] - places @ slope[channel], weight[:, channel])
            found[channel] = value, *slope[channel]
        else:
            found[channel] = _robust_plane(places, missing[:, channel], weight[:, channel])
    return found


def _robust_mean(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Weighted mean of the values that agree with their median, and its standard error."""
    middle = float(np.median(values))
    used = np.ones(values.size, dtype=bool)
    for _ in range(_ROUNDS):
        rest = np.abs(values - middle)
        used = rest <= _CLIP * max(1.4826 * float(np.median(rest)), 1e-12)
        middle = float(np.sum(weight[used] * values[used]) / np.sum(weight[used]))
    return middle, float(1.0 / np.sqrt(np.sum(weight[used])))


def _robust_plane(places: FloatArray, values: FloatArray, weight: FloatArray) -> FloatArray:
    """Offset and slopes of the plane through values at places (n, 2)."""
    design = np.concatenate([np.ones((len(places), 1)), places], axis=1)
    used, plane = np.ones(values.size, dtype=bool), np.zeros(3)
    for _ in range(_ROUNDS):
        root = np.sqrt(weight[used])
        plane = np.linalg.lstsq(design[used] * root[:, None], values[used] * root, rcond=None)[0]
        rest = np.abs(values - design @ plane)
        used = rest <= _CLIP * max(1.4826 * float(np.median(rest)), 1e-12)
    return plane
