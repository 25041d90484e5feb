"""The background of a colour image becomes grey: by one gain a channel, or by one offset where the sky is too dim."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..machine import backend as devices
from ..sentences import say
from .sky import clipped_median, sky_noise

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_RGB_GAIN_RANGE = (0.1, 10.0)
_HEALTHY_SIGMA = 3.0  # of the sky noise of one exposure: what is left of a pedestal is no larger


@dataclass(frozen=True)
class Neutral:
    """What makes the background of a colour image grey: ``pixels * gains + offsets``.

    Attributes
    ----------
    gains : ndarray of float64, shape (3,)
    offsets : ndarray of float64, shape (3,)
        In ADU. Either all gains are 1, or all offsets 0.
    level : float
        The background that all channels have then; NaN if nothing was found that brings them together.
    """

    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    level: float

    def apply(self, pixels: NDArray[np.float32]) -> None:
        """Make an image (..., 3) neutral, in place."""
        if np.any(self.gains != 1.0):
            pixels *= self.gains.astype(np.float32)
        if np.any(self.offsets != 0.0):
            pixels += self.offsets.astype(np.float32)

    def told(self) -> str:
        """What was done, for the log."""
        red, green, blue = self.gains
        if np.any(self.offsets != 0.0):
            red, green, blue = self.offsets
            return say(
                "offsets {red:+.4g} {green:+.4g} {blue:+.4g} ADU, because the sky is too near its noise for gains, "
                "background {level:.4g} ADU",
                red=red,
                green=green,
                blue=blue,
                level=self.level,
            )
        return say(
            "gains {red:.4f} {green:.4f} {blue:.4f}, background {level:.2f} ADU",
            red=red,
            green=green,
            blue=blue,
            level=self.level,
        )


def equalize_rgb_medians_inplace(
    img: NDArray[np.float32], coverage: NDArray | None = None
) -> tuple[float, float, float, float]:
    """Make the background of a stacked colour tile neutral, in place, by one gain a channel.

    Where the background of a channel is within three sigma of the noise of one exposure, a factor would multiply the
    stars by what is left of a pedestal; the channels are brought together by offsets then.

    Parameters
    ----------
    img : ndarray of float32, shape (H, W, 3)
        In ADU; NaN stays NaN.
    coverage : ndarray, shape (H, W) or (H, W, 3), optional
        Only pixels with coverage count; it also tells how many exposures are in a pixel.

    Returns
    -------
    gain_r, gain_g, gain_b, target : float
        The gains applied, and the background level in ADU that all channels have now: the
        middle one of the three. Gains are 1 where offsets were applied; the level is NaN too where a background
        is missing, or so far below zero that nothing brings it to the others.

    Raises
    ------
    TypeError
        For a device array: bring it to NumPy first.
    ValueError
        If `img` is not a colour image.
    """
    neutral = make_neutral(img, coverage)
    red, green, blue = neutral.gains
    return float(red), float(green), float(blue), neutral.level


def make_neutral(img: NDArray[np.float32], coverage: NDArray | None = None) -> Neutral:
    """Do what `equalize_rgb_medians_inplace` does, and return all of it."""
    devices.require_numpy(img, "img")
    if img.ndim != 3 or img.shape[2] != 3:
        raise ValueError(f"RGB equalisation needs an (H, W, 3) image, not {img.shape}")
    valid = np.isfinite(img).all(axis=2)
    depth = 1.0
    if coverage is not None:
        covered = np.asarray(coverage)
        valid &= (covered > 0).all(axis=2) if covered.ndim == 3 else covered > 0
        counts = covered[covered > 0]
        depth = float(np.median(counts)) if counts.size else 1.0
    levels = [clipped_median(img[..., channel][valid])[0] for channel in range(3)]
    neutral = neutral_of(levels, sky_noise(img) * np.sqrt(depth))
    neutral.apply(img)
    return neutral


def neutral_of(levels: Sequence[float] | NDArray[np.float64], noise: Sequence[float] | NDArray[np.float64]) -> Neutral:
    """What brings three background levels to the middle one.

    Parameters
    ----------
    levels, noise : sequence of three float
        Background in ADU, and its noise a pixel in one exposure; NaN noise counts as none.
    """
    found = np.asarray(levels, dtype=np.float64)
    least = _HEALTHY_SIGMA * np.nan_to_num(np.asarray(noise, dtype=np.float64))
    target = float(np.median(found))
    low, high = _RGB_GAIN_RANGE
    if bool((found > np.maximum(least, 0.0)).all()) and all(low <= target / level <= high for level in found):
        return Neutral(target / found, np.zeros(3), target)
    if bool((found >= -least).all()) and bool((found <= least).any()):
        return Neutral(np.ones(3), target - found, target)
    logger.info("[GRID] RGB equalisation skipped: background levels %s cannot be brought together", levels)
    return Neutral(np.ones(3), np.zeros(3), float("nan"))
