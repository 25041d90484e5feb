"""What a sub is corrected by before it is resampled: bowls of its sky."""

from __future__ import annotations

from typing import Any

from .compiled import jit


@jit
def add_bowls(pixels: Any, origin: Any, middle: Any, half: float, bowls: Any, light: Any) -> None:
    """Add ``V(u, v) * (a * u2 + b * uv + c * v2)`` to part of a sub, in place.

    Parameters
    ----------
    pixels : float32 (h, w, C or more)
    origin : tuple of int
        Row and column of the sub at which the part begins.
    middle : tuple of float
        Row and column of the centre of the sensor.
    half : float
        Half the diagonal of the sensor in pixels.
    bowls : float64 (C, 3)
        Coefficients in ADU of the sub.
    light : float64 (C, 6)
        Coefficients of `photometry.calibration.PATTERN_TERMS` in V.
    """
    for r in range(pixels.shape[0]):
        v = (origin[0] + r - middle[0]) / half
        vv = v * v
        for q in range(pixels.shape[1]):
            u = (origin[1] + q - middle[1]) / half
            uu, uv = u * u, u * v
            for c in range(bowls.shape[0]):
                k = light[c]
                passed = 1.0 + k[0] * u + k[1] * v + k[2] * uu + k[3] * uv + k[4] * vv + k[5] * (uu + vv) * (uu + vv)
                pixels[r, q, c] += passed * (bowls[c, 0] * uu + bowls[c, 1] * uv + bowls[c, 2] * vv)
