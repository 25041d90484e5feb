"""Maps of arrows over the sensor of a camera: the distortion that the registration found, and what it leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

_WIDTH = 540
_MARGIN = 34
_LONGEST = 30.0  # length of the longest arrow, in the units of the figure
_HEAD_SHARE, _HEAD_RAD = 0.3, 0.45


@dataclass(frozen=True)
class SensorMap:
    """Arrows over a sensor, columns to the right and rows upwards, ready for the template.

    Attributes
    ----------
    title : str
    width, height : float
        Of the figure.
    frame : tuple of float
        x, y, width and height of the sensor in it.
    arrows : list of dict
        ``d``, an SVG path, and ``words``.
    longest_px : float
        Length of the longest arrow in pixels of the sub; 0 without any.
    """

    title: str
    width: float
    height: float
    frame: tuple[float, float, float, float]
    arrows: list[dict[str, str]]
    longest_px: float


@dataclass(frozen=True)
class Sensor:
    """What ``registration.ecsv`` tells of a camera.

    Attributes
    ----------
    name : str
    maps : tuple of SensorMap
        Its distortion, and the residuals of its stars.
    """

    name: str
    maps: tuple[SensorMap, SensorMap]


def sensors_of(registration: Table) -> list[Sensor]:
    """The maps of every camera of ``registration.ecsv``."""
    found = []
    cameras = np.asarray(registration["camera"], dtype=str)
    for key in dict.fromkeys(cameras.tolist()):
        rows = registration[cameras == key]
        name, aspect = _name_and_aspect(key)
        found.append(
            Sensor(
                name,
                (
                    _map("Distortion that was found", rows, "distortion", aspect),
                    _map("What is left of stars, mean over parts of the sensor", rows, "residual", aspect),
                ),
            )
        )
    return found


def _name_and_aspect(key: str) -> tuple[str, float]:
    """Name of a camera and its height over its width, from ``name|1080x1920|GRBG``."""
    *names, size, pattern = key.split("|")
    width, _, height = size.partition("x")
    name = "|".join(names) or "camera without a name"
    aspect = int(height) / int(width) if width.isdigit() and height.isdigit() and int(width) else 1.0
    return f"{name}, {size} px, {pattern}", aspect


def _map(title: str, rows: Table, column: str, aspect: float) -> SensorMap:
    inner = _WIDTH - 2 * _MARGIN
    height = inner * aspect
    x, y, dx, dy = (np.asarray(rows[name], dtype=np.float64) for name in ("x", "y", f"{column}_x", f"{column}_y"))
    length = np.hypot(dx, dy)
    longest = float(np.max(length[np.isfinite(length)], initial=0.0))
    places = np.stack([_MARGIN + inner * x, _MARGIN + height * (1.0 - y)], axis=1)
    factor = _LONGEST / longest if longest else 0.0
    arrows = [
        {
            "d": _arrow(place, factor * step),
            "words": f"at {100 * u:.0f} %, {100 * v:.0f} % of the sensor: {size:.3f} px",
        }
        for place, step, size, u, v in zip(places, np.stack([dx, -dy], axis=1), length, x, y, strict=True)
        if math.isfinite(size)
    ]
    return SensorMap(title, _WIDTH, height + 2 * _MARGIN, (_MARGIN, _MARGIN, inner, height), arrows, longest)


def _arrow(place: NDArray[np.float64], step: NDArray[np.float64]) -> str:
    """An arrow that begins at a place; a dot where it has no length."""
    (x, y), (dx, dy) = place.tolist(), step.tolist()
    path = f"M{x:.1f} {y:.1f}l{dx:.1f} {dy:.1f}"
    size, angle = math.hypot(dx, dy), math.atan2(dy, dx) + math.pi
    if size < 1.0:
        return f"M{x:.1f} {y:.1f}h0"
    ends = [(_HEAD_SHARE * size * math.cos(angle + turn), _HEAD_SHARE * size * math.sin(angle + turn))
            for turn in (_HEAD_RAD, -_HEAD_RAD)]  # fmt: skip
    heads = "".join(f"M{x + dx:.1f} {y + dy:.1f}l{ex:.1f} {ey:.1f}" for ex, ey in ends)
    return path + heads
