"""Measurements of a large survey made up without a pixel, with the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """

    subs: list[SubMeasurement]
    gain: FloatArray
    sky: FloatArray
    gradient: FloatArray
    vignetting: float


def make_up_survey(
    panels: tuple[int, int] = (10, 10), subs_per_panel: int = 50, nights: int = 10, cell_px: int = 64, seed: int = 1
) -> MadeUp:
    """Panels that share a fifth with their neighbours, seen on several nights under rotation and dithers."""
    rng = np.random.default_rng(seed)
    half = float(np.hypot(*_SENSOR)) / 2.0
    step = 0.8 * np.array([_SENSOR[1], _SENSOR[0]])
    size = step * [panels[1] - 1, panels[0] - 1] + 2.4 * half
    cells = _Cells(size, cell_px, rng)
    stars = _Stars(size, rng)
    of_night = [_Night(rng) for _ in range(nights)]
    vignetting = 0.04
    subs, gains, skies, gradients = [], [], [], []
    for panel in range(panels[0] * panels[1]):
        row, column = divmod(panel, panels[1])
        for visit in range(subs_per_panel):
            night = visit * nights // subs_per_panel
            centre = 1.2 * half + step * [column, row] + rng.uniform(-15.0, 15.0, 2)
            angle = of_night[night].angle + 0.15 * (panel / (panels[0] * panels[1]) - 0.5)
            gain, sky, gradient = of_night[night].draw(rng)
            place = _Place(centre, angle, half)
            measured = cells.seen(place, gain, sky, gradient, vignetting, rng)
            subs.append(
                SubMeasurement(
                    stars=stars.seen(place, gain, vignetting, rng),
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
    return MadeUp(subs, np.array(gains), np.array(skies), np.array(gradients), vignetting)


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
        self._columns, self._rows = (int(side // cell_px) + 1 for side in size)
        x, y = np.meshgrid(np.linspace(-1.0, 1.0, self._columns), np.linspace(-1.0, 1.0, self._rows))
        waves = rng.normal(size=(8, 3))
        self._scene = sum(80.0 * np.cos(9.0 * (a * x + b * y) + c) for a, b, c in waves).ravel()

    def seen(
        self,
        place: _Place,
        gain: FloatArray,
        sky: FloatArray,
        gradient: FloatArray,
        vignetting: float,
        rng: np.random.Generator,
    ) -> SkyCells:
        """Medians of the cells that lie on a sub."""
        first = np.maximum(((place.centre - place.half) // self._cell).astype(int), 0)
        last = ((place.centre + place.half) // self._cell).astype(int) + 1
        column, row = np.meshgrid(
            np.arange(first[0], min(last[0], self._columns)), np.arange(first[1], min(last[1], self._rows))
        )
        xy = (np.column_stack([column.ravel(), row.ravel()]) + 0.5) * self._cell
        u, v = place.on_sensor(xy)
        there = place.inside(u, v, self._cell / 2.0)
        u, v = u[there], v[there]
        index = (row.ravel() * self._columns + column.ravel())[there].astype(np.int64)
        light = gain * self._scene[index][:, None] + sky * (1.0 + gradient[0] * u + gradient[1] * v)[:, None]
        level = light * (1.0 - vignetting * (u * u + v * v))[:, None]
        error = np.broadcast_to(1.2533 * np.sqrt(sky) / (self._cell / 2.0), level.shape)
        return SkyCells(index, u, v, level + error * rng.normal(size=level.shape), np.array(error))


class _Stars:
    """The stars of the canvas."""

    def __init__(self, size: FloatArray, rng: np.random.Generator) -> None:
        count = int(np.prod(size) * _STAR_DENSITY)
        self._xy = rng.uniform(0.0, 1.0, (count, 2)) * size
        order = np.argsort(self._xy[:, 0])
        self._xy = self._xy[order]
        brightness = 4000.0 * rng.uniform(0.01, 1.0, count) ** (-1.0 / 0.875)
        self._flux = brightness[:, None] * np.exp(0.3 * rng.normal(size=(count, _CHANNELS)))

    def seen(self, place: _Place, gain: FloatArray, vignetting: float, rng: np.random.Generator) -> StarFluxes:
        """Fluxes of the stars that lie on a sub."""
        left, right = np.searchsorted(self._xy[:, 0], [place.centre[0] - place.half, place.centre[0] + place.half])
        u, v = place.on_sensor(self._xy[left:right])
        there = np.flatnonzero(place.inside(u, v, 10.0))
        u, v, xy, true = u[there], v[there], self._xy[left:right][there], self._flux[left:right][there]
        bright = true * gain * (1.0 - vignetting * (u * u + v * v))[:, None]
        error = np.hypot(np.sqrt(bright + _STAR_NOISE_ADU**2), 0.0)
        flux = bright * (1.0 + _NEVER_REPEATED * rng.normal(size=(len(there), 1))) + error * rng.normal(size=true.shape)
        moved = xy + 0.1 * rng.normal(size=xy.shape)
        return StarFluxes(moved[:, 0], moved[:, 1], u, v, flux, error)
