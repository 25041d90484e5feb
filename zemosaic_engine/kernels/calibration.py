"""The calibration of a pixel: the one definition that all compiled kernels of the CPU share.

`simd_llvm` and ``pixels.cuh`` repeat it in their own languages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit_inline
from .fused import fma64


@jit_inline
def sensor_frame(height: int, width: int) -> Any:
    """Middle of a sub (x, y) in pixels, and the factor that turns pixels into halves of its diagonal."""
    return 0.5 * (width - 1), 0.5 * (height - 1), 1.0 / (0.5 * np.sqrt(float(width * width + height * height)))


@jit_inline
def calibrated(value: Any, u: float, v: float, k: Any) -> Any:
    """``(value - pedestal) * (gain / light) + offset + slopes``, see `SubCalibration`.

    Parameters
    ----------
    value : float64
        A value in ADU of its sub.
    u, v : float64
        Its place on the sub, from the middle, in halves of the diagonal; see `sensor_frame`.
    k : float64 (11,)
        Row of ``SubCalibration.coefficients`` of its channel.

    Returns
    -------
    float64
    """
    r2 = u * u + v * v
    light = fma64(k[5], u, 1.0)
    light = fma64(k[6], v, light)
    light = fma64(k[7], u * u, light)
    light = fma64(k[8], u * v, light)
    light = fma64(k[9], v * v, light)
    light = fma64(k[10], r2 * r2, light)
    background = fma64(k[4], v, fma64(k[3], u, k[2]))
    return fma64(value - k[1], k[0] / light, background)
