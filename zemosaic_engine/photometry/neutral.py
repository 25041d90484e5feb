"""The background of a colour image becomes grey: by one gain a channel, or where there is hardly a sky, by one offset.

Gains change the colours of stars by what a pedestal, a dark frame or a subtracted sky did to the level of the
background. They are right where the level is that of the sky's light, far above its noise; else a channel would be
multiplied by whatever is left, and stars with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..channels import change_channels
from ..machine import backend as devices
from ..sentences import Sentence, say
from .sky import clipped_median, sky_noise

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_RGB_GAIN_RANGE = (0.1, 10.0)
#: Level of the sky over the noise of a pixel of a single sub, below which it is not light of the sky: photons alone
#: leave as much from 9 electrons on.
_HEALTHY = 3.0


@dataclass(frozen=True)
class Neutral:
    """How a background becomes neutral: ``pixels * gains + offsets``.

    Attributes
    ----------
    gains : ndarray of float64, shape (3,)
    offsets : ndarray of float64, shape (3,)
        In ADU.
    level : float
        Of all channels afterwards, in ADU; NaN where nothing is done.
    """

    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    level: float

    def told(self, name: str) -> Sentence:
        """Return what is done to the image `name`, for a log line."""
        if np.isnan(self.level):
            return say("{name}: RGB equalisation skipped, the background is unknown", name=name)
        if self.offsets.any():
            red, green, blue = self.offsets
            return say(
                "{name}: RGB equalisation by offsets {red:+.4g} {green:+.4g} {blue:+.4g} ADU, since the sky is hardly "
                "above its noise; background {level:.4g} ADU",
                name=name, red=red, green=green, blue=blue, level=self.level,
            )  # fmt: skip
        red, green, blue = self.gains
        return say(
            "{name}: RGB equalisation gains {red:.4f} {green:.4f} {blue:.4f}, background {level:.2f} ADU",
            name=name, red=red, green=green, blue=blue, level=self.level,
        )  # fmt: skip

    def apply(self, pixels: NDArray[np.float32]) -> None:
        """Change an image (H, W, 3) in place; NaN stays NaN."""
        if not np.isnan(self.level):
            change_channels(np.multiply, pixels, self.gains.astype(np.float32))
            change_channels(np.add, pixels, self.offsets.astype(np.float32))


def equalize_rgb_medians_inplace(
    img: NDArray[np.float32], coverage: NDArray | None = None
) -> tuple[float, float, float, float]:
    """Make the background of a stacked colour tile neutral, in place.

    Parameters
    ----------
    img : ndarray of float32, shape (H, W, 3)
        In ADU; NaN stays NaN.
    coverage : ndarray, shape (H, W) or (H, W, 3), optional
        Only pixels with coverage count.

    Returns
    -------
    gain_r, gain_g, gain_b, target : float
        The gains applied, and the background level in ADU that all channels have now: the middle one of the three.
        Gains are 1 where a background is not well above the noise of a sub: such a tile is made neutral by offsets. The
        level is NaN where a background is missing, and the image is left as it is.

    Raises
    ------
    TypeError
        For a device array: bring it to NumPy first.
    ValueError
        If `img` is not a colour image.
    """
    found = neutralise(img, coverage)
    red, green, blue = (float(gain) for gain in found.gains)
    return red, green, blue, found.level


def neutralise(img: NDArray[np.float32], coverage: NDArray | None = None) -> Neutral:
    """As `equalize_rgb_medians_inplace`; tells what was done."""
    devices.require_numpy(img, "img")
    if img.ndim != 3 or img.shape[2] != 3:
        raise ValueError(f"RGB equalisation needs an (H, W, 3) image, not {img.shape}")
    valid = np.isfinite(img).all(axis=2)
    depth = 1.0
    if coverage is not None:
        counts = np.asarray(coverage)
        counts = counts.min(axis=2) if counts.ndim == 3 else counts
        valid &= counts > 0
        depth = float(np.median(counts[valid])) if valid.any() else 1.0
    levels = [clipped_median(img[..., channel][valid])[0] for channel in range(3)]
    # The noise of a stack is that of its subs over the root of their number.
    found = neutral(levels, sky_noise(img) * np.sqrt(max(1.0, depth)))
    if np.isnan(found.level):
        logger.info("[GRID] RGB equalisation skipped: background levels %s cannot be brought together", levels)
    found.apply(img)
    return found


def neutral(levels: Sequence[float] | NDArray[np.float64], noise: Sequence[float] | NDArray[np.float64]) -> Neutral:
    """Return how three background levels are brought to the middle one.

    Parameters
    ----------
    levels : sequence of float
        In ADU.
    noise : sequence of float
        Noise of the sky a pixel of a single sub, in the same ADU; NaN where unknown.
    """
    level, target = np.asarray(levels, dtype=np.float64), float(np.median(levels))
    one, nothing = np.ones(3), np.zeros(3)
    if not np.isfinite(level).all():
        return Neutral(one, nothing, float("nan"))
    least = _HEALTHY * np.nan_to_num(np.asarray(noise, dtype=np.float64))
    low, high = _RGB_GAIN_RANGE
    with np.errstate(divide="ignore"):
        gains = target / level
    if (level > 0.0).all() and (level >= least).all() and (gains >= low).all() and (gains <= high).all():
        return Neutral(gains, nothing, target)
    return Neutral(one, target - level, target)
