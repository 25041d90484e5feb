"""Measurements of a large survey made up without a pixel, with the truth behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.survey.measurements import SkyCells, StarFluxes, SubMeasurement

FloatArray = NDArray[np.float64]

_SENSOR = (1920, 1080)
_CHANNELS = 3
_STAR_DENSITY = 60.0 / (1920 * 1080)  # good stars of a short sub
_STAR_NOISE_ADU = 400.0
_NEVER_REPEATED = 0.004  # what one measurement of a bright star is uncertain by, relative


@dataclass(frozen=True)
class MadeUp:
    """A survey without pixels.

    Attributes
    ----------
    subs : list of SubMeasurement
    gain : ndarray, shape (N, 3)
        ADU of the sub over ADU of the scene.
    sky : ndarray, shape (N, 3)
        In ADU of the sub.
    gradient : ndarray, shape (N, 2)
        Relative, along u and v.
    vignetting : float
    dark : list of ndarray, each (n, 3)
        What each sub would record in its cells if there were nothing beyond the sky, without noise.
    columns : int
        Cells in a row of the canvas.
    """

    subs: list[SubMeasurement]
    gain: FloatArray
    sky: FloatArray
    gradient: FloatArray
    vignetting: float
    dark: list[FloatArray]
    columns: int

    def background_error(self, calibrations: Sequence[SubCalibration]) -> FloatArray:
        """What calibrated subs leave of the sky in a mosaic, RMS in ADU of the scene after a plane, shape (3,)."""
        cells, left = [], []
        scale = np.exp(np.mean([np.log(c.gain * g) for c, g in zip(calibrations, self.gain, strict=True)], axis=0))
        for measured, calibration, dark in zip(self.subs, calibrations, self.dark, strict=True):
            factor, background = calibration.at(measured.cells.u, measured.cells.v)
            cells.append(measured.cells.index)
            left.append((dark * factor + background) / scale)
        place, where, number = np.unique(np.concatenate(cells), return_inverse=True, return_counts=True)
        sums = [np.bincount(where, column) for column in np.concatenate(left).T]
        mean = np.stack(sums, axis=1) / number[:, None]
        design = np.stack([np.ones(place.size), place % self.columns, place // self.columns], axis=1)
        away = mean - design @ np.linalg.lstsq(design, mean, rcond=None)[0]
        return np.asarray(np.sqrt(np.mean(away**2, axis=0)))


@dataclass(frozen=True)
class Troubles:
    """What cameras and skies do beyond a plane.

    Attributes
    ----------
    vignetting : float
        Light lost in the corners.
    pedestal_adu : float
    glow_adu, glow_size : float
        In the corner where u and v are least, and its sigma over half the diagonal.
    curvature : float
        Of the sky along its gradient, relative to it.
    """

    vignetting: float = 0.04
    pedestal_adu: float = 0.0
    glow_adu: float = 0.0
    glow_size: float = 0.22
    curvature: float = 0.0

    def light(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Share of the light that reaches places of the sensor, shape (n, 1)."""
        return np.asarray(1.0 - self.vignetting * (u * u + v * v))[:, None]

    def dark(self, u: FloatArray, v: FloatArray, sky: FloatArray, gradient: FloatArray) -> FloatArray:
        """What is recorded of the sky alone, shape (n, 3)."""
        along = gradient[0] * u + gradient[1] * v
        steep = max(float(np.hypot(*gradient)), 1e-9)
        shine = 1.0 + along + self.curvature * (along / steep) ** 2
        wide, high = _SENSOR[1] / 2.0 / np.hypot(*_SENSOR) * 2.0, _SENSOR[0] / 2.0 / np.hypot(*_SENSOR) * 2.0
        glow = self.glow_adu * np.exp(-0.5 * ((u + wide) ** 2 + (v + high) ** 2) / self.glow_size**2)
        return np.asarray(self.light(u, v) * shine[:, None] * sky + (self.pedestal_adu + glow)[:, None])


def make_up_survey(
    panels: tuple[int, int] = (10, 10),
    subs_per_panel: int = 50,
    nights: int = 10,
    cell_px: int = 64,
    seed: int = 1,
    troubles: Troubles | None = None,
) -> MadeUp:
    """Panels that share a fifth with their neighbours, seen on several nights under rotation and dithers."""
    troubles = troubles or Troubles()
    rng = np.random.default_rng(seed)
    half = float(np.hypot(*_SENSOR)) / 2.0
    step = 0.8 * np.array([_SENSOR[1], _SENSOR[0]])
    size = step * [panels[1] - 1, panels[0] - 1] + 2.4 * half
    cells = _Cells(size, cell_px, rng)
    stars = _Stars(size, rng)
    of_night = [_Night(rng) for _ in range(nights)]
    subs, gains, skies, gradients, dark = [], [], [], [], []
    for panel in range(panels[0] * panels[1]):
        row, column = divmod(panel, panels[1])
        for visit in range(subs_per_panel):
            night = visit * nights // subs_per_panel
            centre = 1.2 * half + step * [column, row] + rng.uniform(-15.0, 15.0, 2)
            angle = of_night[night].angle + 0.15 * (panel / (panels[0] * panels[1]) - 0.5)
            gain, sky, gradient = of_night[night].draw(rng)
            place = _Place(centre, angle, half)
            measured = cells.seen(place, gain, sky, gradient, troubles, rng)
            subs.append(
                SubMeasurement(
                    stars=stars.seen(place, gain, troubles, rng),
                    cells=measured,
                    sky=np.median(measured.level, axis=0),
                    noise=np.sqrt(sky) * 0.8,
                    fwhm_px=2.8,
                    exposure_s=10.0,
                    camera="made up",
                    session=f"night{night}",
                )
            )
            gains.append(gain)
            skies.append(sky)
            gradients.append(gradient)
            dark.append(troubles.dark(measured.u, measured.v, sky, gradient))
    known = np.array(gains), np.array(skies), np.array(gradients)
    return MadeUp(subs, *known, troubles.vignetting, dark, cells.columns)


class _Night:
    """What the subs of a night have in common."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.transparency = 1.0 - 0.08 * rng.uniform(0.0, 2.0)
        self.sky = 1000.0 * np.exp(0.25 * rng.normal()) * np.array([0.95, 1.1, 0.9]) * np.exp(0.08 * rng.normal(size=3))
        self.direction = rng.uniform(0.0, 2.0 * np.pi)
        self.gradient = 0.06 * rng.uniform(0.7, 1.3)
        self.angle = rng.uniform(-0.1, 0.1)

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gain, sky and gradient of one sub."""
        gain = np.full(_CHANNELS, self.transparency * (1.0 - 0.04 * abs(rng.normal())))
        sky = self.sky * (1.0 + 0.01 * rng.normal())
        direction = self.direction + 0.2 * rng.normal()
        return gain, sky, 0.5 * self.gradient * np.array([np.cos(direction), np.sin(direction)])


class _Place:
    """Where a sub lies on the canvas."""

    def __init__(self, centre: FloatArray, angle: float, half: float) -> None:
        self.centre, self.half = centre, half
        self._cos, self._sin = np.cos(angle), np.sin(angle)

    def on_sensor(self, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(u, v) of points of the canvas."""
        x, y = ((xy - self.centre) / self.half).T
        return x * self._cos + y * self._sin, y * self._cos - x * self._sin

    def inside(self, u: FloatArray, v: FloatArray, margin_px: float) -> NDArray[np.bool_]:
        """Which points lie on the sensor, so far from its border."""
        wide, high = (side / 2.0 - margin_px for side in (_SENSOR[1], _SENSOR[0]))
        return np.asarray((np.abs(u) * self.half < wide) & (np.abs(v) * self.half < high))


class _Cells:
    """The cells of the canvas, with a smooth scene in them."""

    def __init__(self, size: FloatArray, cell_px: int, rng: np.random.Generator) -> None:
        self._cell = cell_px
        self.columns, self._rows = (int(side // cell_px) + 1 for side in size)
        x, y = np.meshgrid(np.linspace(-1.0, 1.0, self.columns), np.linspace(-1.0, 1.0, self._rows))
        waves = rng.normal(size=(8, 3))
        self._scene = sum(80.0 * np.cos(9.0 * (a * x + b * y) + c) for a, b, c in waves).ravel()

    def seen(
        self,
        place: _Place,
        gain: FloatArray,
        sky: FloatArray,
        gradient: FloatArray,
        troubles: Troubles,
        rng: np.random.Generator,
    ) -> SkyCells:
        """Medians of the cells that lie on a sub."""
        first = np.maximum(((place.centre - place.half) // self._cell).astype(int), 0)
        last = ((place.centre + place.half) // self._cell).astype(int) + 1
        column, row = np.meshgrid(
            np.arange(first[0], min(last[0], self.columns)), np.arange(first[1], min(last[1], self._rows))
        )
        xy = (np.column_stack([column.ravel(), row.ravel()]) + 0.5) * self._cell
        u, v = place.on_sensor(xy)
        there = place.inside(u, v, self._cell / 2.0)
        u, v = u[there], v[there]
        index = (row.ravel() * self.columns + column.ravel())[there].astype(np.int64)
        level = gain * self._scene[index][:, None] * troubles.light(u, v) + troubles.dark(u, v, sky, gradient)
        error = np.broadcast_to(1.2533 * np.sqrt(sky) / (self._cell / 2.0), level.shape)
        seen = level + error * rng.normal(size=level.shape)
        return SkyCells(index.astype(np.int32), *(part.astype(np.float32) for part in (u, v, seen, error)))


class _Stars:
    """The stars of the canvas."""

    def __init__(self, size: FloatArray, rng: np.random.Generator) -> None:
        count = int(np.prod(size) * _STAR_DENSITY)
        self._xy = rng.uniform(0.0, 1.0, (count, 2)) * size
        order = np.argsort(self._xy[:, 0])
        self._xy = self._xy[order]
        brightness = 4000.0 * rng.uniform(0.01, 1.0, count) ** (-1.0 / 0.875)
        self._flux = brightness[:, None] * np.exp(0.3 * rng.normal(size=(count, _CHANNELS)))

    def seen(self, place: _Place, gain: FloatArray, troubles: Troubles, rng: np.random.Generator) -> StarFluxes:
        """Fluxes of the stars that lie on a sub."""
        left, right = np.searchsorted(self._xy[:, 0], [place.centre[0] - place.half, place.centre[0] + place.half])
        u, v = place.on_sensor(self._xy[left:right])
        there = np.flatnonzero(place.inside(u, v, 10.0))
        u, v, xy, true = u[there], v[there], self._xy[left:right][there], self._flux[left:right][there]
        bright = true * gain * troubles.light(u, v)
        error = np.hypot(np.sqrt(bright + _STAR_NOISE_ADU**2), 0.0)
        flux = bright * (1.0 + _NEVER_REPEATED * rng.normal(size=(len(there), 1))) + error * rng.normal(size=true.shape)
        moved = xy + 0.1 * rng.normal(size=xy.shape)
        return StarFluxes(moved[:, 0], moved[:, 1], *(part.astype(np.float32) for part in (u, v, flux, error)))
