"""What rejection takes from the stars of a stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .stars import aperture_totals, detect_stars

_PART_PX = 600  # side of the middle of a stack that is looked at: enough stars, in little time
_LEAST_SNR = 50.0
_LEAST_SHARE = 0.05  # a star that lost nearly all its light was none


@dataclass(frozen=True)
class StarLosses:
    """How rejection changed the stars of a stack.

    Attributes
    ----------
    stars : int
        Stars that were measured.
    change_mmag : float
        Median change of their fluxes, all channels together, which a trail across a few of them does not move; negative
        where light was lost, NaN without stars.
    """

    stars: int
    change_mmag: float


NO_LOSSES = StarLosses(0, float("nan"))


def star_losses(pixels: NDArray[np.float32], taken: NDArray[np.float32]) -> StarLosses:
    """Compare the light of the stars in the middle of a stack with what rejection took from them.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w, C)
        A stack with rejection.
    taken : ndarray of float32, shape (h, w, C)
        The stack without rejection less that with it; NaN where that is not known, and stars are not counted.
    """
    height, width = pixels.shape[:2]
    y0, x0 = max(0, (height - _PART_PX) // 2), max(0, (width - _PART_PX) // 2)
    middle = slice(y0, y0 + _PART_PX), slice(x0, x0 + _PART_PX)
    stars = detect_stars(np.ascontiguousarray(pixels[middle]), min_snr=_LEAST_SNR)
    if not len(stars):
        return NO_LOSSES
    lost = aperture_totals(np.ascontiguousarray(taken[middle]), stars).sum(axis=1)
    flux = stars.flux.sum(axis=1)
    good = np.isfinite(lost) & (flux > 0.0) & (flux + lost > _LEAST_SHARE * flux)
    if not good.any():
        return NO_LOSSES
    change = 2500.0 * np.log10(flux[good] / (flux[good] + lost[good]))
    return StarLosses(int(np.count_nonzero(good)), float(np.median(change)))


def together(losses: list[StarLosses]) -> StarLosses:
    """Return the mean over several stacks, each counted by its stars."""
    some = [loss for loss in losses if loss.stars]
    stars = sum(loss.stars for loss in some)
    mean = sum(loss.stars * loss.change_mmag for loss in some) / stars if stars else float("nan")
    return StarLosses(stars, mean)
