"""The background of a colour image becomes grey, by one gain a channel."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..machine import backend as devices
from .sky import clipped_median

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_RGB_GAIN_RANGE = (0.1, 10.0)


def equalize_rgb_medians_inplace(
    img: NDArray[np.float32], coverage: NDArray | None = None
) -> tuple[float, float, float, float]:
    """Make the background of a stacked colour tile neutral, in place, by one gain a channel.

    Parameters
    ----------
    img : ndarray of float32, shape (H, W, 3)
        In ADU; NaN stays NaN.
    coverage : ndarray, shape (H, W) or (H, W, 3), optional
        Only pixels with coverage count.

    Returns
    -------
    gain_r, gain_g, gain_b, target : float
        The gains applied, and the background level in ADU that all channels have now: the
        middle one of the three. Gains are 1 (and the level is NaN) where a background is
        missing or not positive.

    Raises
    ------
    TypeError
        For a device array: bring it to NumPy first.
    ValueError
        If `img` is not a colour image.
    """
    devices.require_numpy(img, "img")
    if img.ndim != 3 or img.shape[2] != 3:
        raise ValueError(f"RGB equalisation needs an (H, W, 3) image, not {img.shape}")
    valid = np.isfinite(img).all(axis=2)
    if coverage is not None:
        covered = np.asarray(coverage) > 0
        valid &= covered.all(axis=2) if covered.ndim == 3 else covered
    *gains, target = neutral_gains([clipped_median(img[..., channel][valid])[0] for channel in range(3)])
    if np.isfinite(target):
        img *= np.array(gains, dtype=np.float32)
    return gains[0], gains[1], gains[2], target


def neutral_gains(levels: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Gains that bring three background levels to the middle one, and that level; 1 and NaN where they cannot."""
    target = float(np.median(levels))
    low, high = _RGB_GAIN_RANGE
    if not all(level > 0.0 and low <= target / level <= high for level in levels):
        logger.info("[GRID] RGB equalisation skipped: background levels %s cannot be brought together", levels)
        return 1.0, 1.0, 1.0, float("nan")
    red, green, blue = (target / float(level) for level in levels)
    return red, green, blue, target
