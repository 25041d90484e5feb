"""What the simulator did to every sub, and how to undo it: the limit for any photometry.

A pixel of a sub is ``pedestal + V(u, v) * (gain * scene + sky * (1 + gx * u + gy * v))``, see
`zemosaic_engine.simulate.survey`. Subs are resampled with their surface brightness kept, so on
the canvas the scene of a sub is that of the canvas times the ratio of the two pixels' areas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine.photometry.calibration import PATTERN_TERMS, FixedPattern, SubCalibration
from zemosaic_engine.simulate import troubles
from zemosaic_engine.simulate.scene import pixel_scale_arcsec
from zemosaic_engine.simulate.survey import SurveyTruth, dust_of, sensor_grid

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TrueSub:
    """What happened to one sub.

    Attributes
    ----------
    gain : ndarray, shape (3,)
        ADU of the sub over ADU of the scene on a pixel of the canvas.
    sky : ndarray, shape (3,)
        Sky at the frame's centre, before vignetting, in ADU of the sub.
    gradient : ndarray, shape (2,)
        Relative change of the sky along u and v.
    curvature : ndarray, shape (3,)
        The same along u2, uv and v2.
    vignetting : float
        Light lost where ``u**2 + v**2`` is 1, in the corners.
    pedestal_adu : float
        Added after the light.
    shape : tuple of int
        ``(height, width)`` of the sensor.
    fixed : FixedPattern or None
        Glow and dust.
    """

    gain: FloatArray
    sky: FloatArray
    gradient: FloatArray
    curvature: FloatArray
    vignetting: float
    pedestal_adu: float
    shape: tuple[int, int]
    fixed: FixedPattern | None = None

    def places(self) -> tuple[FloatArray, FloatArray]:
        """(u, v) of the pixels, shapes (1, W) and (H, 1): offsets from the centre over half the diagonal."""
        return places(self.shape)

    def sky_over_gain(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Sky at (u, v) in ADU of the scene, shape (..., 3)."""
        u, v = np.asarray(u), np.asarray(v)
        a, b, c = self.curvature
        shine = 1.0 + self.gradient[0] * u + self.gradient[1] * v + (a * u * u + b * u * v + c * v * v)
        return np.asarray(shine[..., None] * (self.sky / self.gain))

    @property
    def bowl_mean(self) -> float:
        """Mean of the sky over the sensor less that at its centre, relative to it."""
        height, width = self.shape
        square = height**2 + width**2
        return float(self.curvature[0] * width**2 / square / 3.0 + self.curvature[2] * height**2 / square / 3.0)

    def flat(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Share of the light that reaches (u, v)."""
        return np.asarray(1.0 - self.vignetting * (np.asarray(u) ** 2 + np.asarray(v) ** 2))

    def undo(self, pixels: NDArray[np.floating]) -> FloatArray:
        """The scene from a sub's pixels (H, W, 3), in ADU of the scene on a pixel of the canvas."""
        u, v = self.places()
        light = (np.asarray(pixels, dtype=np.float64) - self.pedestal_adu) / self.flat(u, v)[..., None]
        return np.asarray(light / self.gain - self.sky_over_gain(u, v))


def places(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """(u, v) of the pixels of a sensor, shapes (1, W) and (H, 1)."""
    height, width = shape
    half = float(np.hypot(height, width)) / 2.0
    u = ((np.arange(width, dtype=np.float64) - (width - 1) / 2.0) / half)[None, :]
    v = ((np.arange(height, dtype=np.float64) - (height - 1) / 2.0) / half)[:, None]
    return u, v


def true_sub(truth: SurveyTruth, index: int, canvas_scale_arcsec: float) -> TrueSub:
    """The truth of sub `index` for a canvas of that pixel scale."""
    row, telescope = truth.subs[index], truth.telescope(index)
    area = (pixel_scale_arcsec(truth.wcs(index), telescope.shape) / canvas_scale_arcsec) ** 2
    return TrueSub(
        gain=area * np.array([float(row[f"gain_{c}"]) for c in "rgb"]),
        sky=np.array([float(row[f"sky_{c}"]) for c in "rgb"]),
        gradient=np.array([float(row["gradient_x"]), float(row["gradient_y"])]),
        curvature=np.array([float(row[f"curvature_{c}"]) for c in ("uu", "uv", "vv")]),
        vignetting=truth.spec.vignetting,
        pedestal_adu=truth.spec.pedestal_adu,
        shape=telescope.shape,
        fixed=_fixed_pattern(truth, int(row["telescope"])),
    )


_NODES = 161


def _fixed_pattern(truth: SurveyTruth, number: int) -> FixedPattern | None:
    """Glow and dust of a telescope's sensor."""
    spec, telescope = truth.spec, truth.spec.telescopes[number]
    if not spec.glow_adu and not spec.dust:
        return None
    u, v = (side.astype(np.float64).ravel() for side in sensor_grid(telescope.shape))
    nodes = np.linspace(u[0], u[-1], _NODES), np.linspace(v[0], v[-1], _NODES)
    grid = nodes[0][None, :], nodes[1][:, None]
    longer = telescope.exposure_s / spec.telescopes[0].exposure_s
    added = np.moveaxis(troubles.glow(grid, spec.glow_adu * longer, spec.glow_size), 0, -1)
    gained = np.zeros((_NODES, _NODES))
    if spec.dust:
        y, x = (np.linspace(0, side - 1, _NODES).round().astype(int) for side in telescope.shape)
        gained = dust_of(truth, number)[np.ix_(y, x)] - 1.0
    return FixedPattern(*nodes, np.ascontiguousarray(added), np.repeat(gained[..., None], 3, axis=2).astype(np.float32))


def oracle_calibrations(
    truth: SurveyTruth, canvas_scale_arcsec: float, *, keep_level: bool = True
) -> dict[Path | str, SubCalibration]:
    """Exact calibrations of all subs, by the names of their files.

    Parameters
    ----------
    truth : SurveyTruth
        What was simulated.
    canvas_scale_arcsec : float
        Pixel scale of the mosaic, whose surface brightness is kept.
    keep_level : bool
        Put the mean sky of the run back, as any mosaic keeps one; False leaves the bare scene.
    """
    subs = [true_sub(truth, index, canvas_scale_arcsec) for index in range(len(truth.subs))]
    level = np.mean([sub.sky / sub.gain for sub in subs], axis=0) if keep_level else np.zeros(3)
    return {str(name): calibration_of(sub, level) for name, sub in zip(truth.subs["file"], subs, strict=True)}


def calibration_of(sub: TrueSub, level: FloatArray) -> SubCalibration:
    """What undoes `sub` but for a `level` (3,) that is left under the scene."""
    sky = sub.sky / sub.gain
    terms = {"u2": -sub.vignetting, "v2": -sub.vignetting}
    pattern = np.array([terms.get(term, 0.0) for term in PATTERN_TERMS])
    exact = SubCalibration.exact(
        gain=1.0 / sub.gain,
        offset=level - sky,
        slope=-sky[:, None] * sub.gradient,
        pattern=np.tile(pattern, (3, 1)),
        pedestal=np.full(3, sub.pedestal_adu),
        curvature=-sky[:, None] * sub.curvature,
    )
    return exact if sub.fixed is None else replace(exact, fixed=sub.fixed)
