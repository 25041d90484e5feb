"""What cameras and skies do beyond a plane: glow, dust, uneven clouds, and files that other programs have been at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Brightness of a cloud's scattered light over the light that it takes, as a share of the sky.
CLOUD_SHINE = 0.3
_RING_WIDTH = 0.35  # of a dust shadow's radius
_COMA_PX = 5.0
_GLOW_COLOUR = (0.9, 1.0, 1.1)


def glow(places: tuple[NDArray, NDArray], strength_adu: float, size: float) -> NDArray[np.float32]:
    """Light of the read-out amplifier in the corner of the first row and column, in ADU.

    Parameters
    ----------
    places : tuple of ndarray
        (u, v) of the pixels, from the centre of the sensor over half its diagonal.
    strength_adu : float
        In the corner.
    size : float
        Its sigma over the diagonal of the sensor.

    Returns
    -------
    ndarray of float32, shape (3, H, W)
    """
    u, v = places
    r2 = (u - u.min()) ** 2 + (v - v.min()) ** 2
    shape = np.exp(-0.5 * r2 / (2.0 * size) ** 2)
    return np.stack([np.float32(strength_adu * colour) * shape for colour in _GLOW_COLOUR]).astype(np.float32)


def dust(
    places: tuple[NDArray, NDArray], count: int, depth: float, radius: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Share of the light that `count` ring-shaped shadows of dust let through, shape (H, W).

    `depth` is what the darkest part of a ring takes, `radius` that of a ring over half the diagonal.
    """
    u, v = places
    light = np.ones(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    for _ in range(count):
        x, y = rng.uniform(0.8 * u.min(), 0.8 * u.max()), rng.uniform(0.8 * v.min(), 0.8 * v.max())
        mine, taken = radius * rng.uniform(0.7, 1.3), depth * rng.uniform(0.7, 1.0)
        away = (np.hypot(u - x, v - y) - mine) / (_RING_WIDTH * mine)
        light *= (1.0 - taken * np.exp(-0.5 * away * away)).astype(np.float32)
    return light


def comet(shape: tuple[int, int], place: tuple[float, float], height_adu: float) -> NDArray[np.float32]:
    """A round coma of some ten pixels at (x, y), shape (H, W); its light falls with the cube of the distance."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    square = (x - place[0]) ** 2 + (y - place[1]) ** 2
    return (height_adu * (1.0 + square / _COMA_PX**2) ** -1.5).astype(np.float32)


def cloud(places: tuple[NDArray, NDArray], row: Any) -> NDArray[np.float32]:
    """Share of the light that the clouds before a sub let through, shape (H, W)."""
    u, v = places
    wave = np.cos(float(row["cloud_u"]) * u + float(row["cloud_v"]) * v + float(row["cloud_phase"]))
    return np.asarray(1.0 - float(row["cloud_depth"]) * (0.65 + 0.35 * wave), dtype=np.float32)


def draw_cloud(rng: np.random.Generator) -> dict[str, float]:
    """Uneven clouds that leave 25 to 90 % of the light."""
    depth, angle, waves = rng.uniform(0.1, 0.75), rng.uniform(0.0, 2.0 * math.pi), rng.uniform(1.0, 2.5)
    return {
        "cloud_depth": depth,
        "cloud_u": waves * math.cos(angle),
        "cloud_v": waves * math.sin(angle),
        "cloud_phase": rng.uniform(0.0, 2.0 * math.pi),
    }


NO_CLOUD = {"cloud_depth": 0.0, "cloud_u": 0.0, "cloud_v": 0.0, "cloud_phase": 0.0}


def as_processed(
    pixels: NDArray[np.uint16], *, bayer: bool, sky_left_adu: float | None, border_px: int, unit_adu: float
) -> NDArray[np.uint16] | NDArray[np.float32]:
    """The file as other programs hand it on: sky subtracted, moved about, in units of their own.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (H, W) or (3, H, W)
    bayer : bool
        True if the colours lie in a pattern of two rows and columns.
    sky_left_adu : float or None
        The median of every colour afterwards; None leaves the sky.
    border_px : int
        Exact zeros along all sides, as registration leaves them.
    unit_adu : float
        ADU of one unit.
    """
    if sky_left_adu is None and border_px == 0 and unit_adu == 1.0:
        return pixels
    out = pixels.astype(np.float32)
    if sky_left_adu is not None:
        planes = [out[y::2, x::2] for y in (0, 1) for x in (0, 1)] if bayer else list(out.reshape(-1, *out.shape[-2:]))
        for plane in planes:
            plane -= np.median(plane) - np.float32(sky_left_adu)
    out /= np.float32(unit_adu)
    if border_px:
        out[..., :border_px, :], out[..., -border_px:, :] = 0.0, 0.0
        out[..., :, :border_px], out[..., :, -border_px:] = 0.0, 0.0
    return out
