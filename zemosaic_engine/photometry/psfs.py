"""How sharp the subs of a stack are, and how far out of place: what rejection must forgive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..kernels.reference import Psfs
from .stars import group_by_position

USUAL_FWHM_PX = 3.0  # of subs without stars, where no other has any
_ENOUGH_STARS = 200  # of a sub; the place of its middle is then known to a few hundredths of a pixel
_LEAST_STARS = 3


def measure_psfs(fwhm_px: Sequence[float], places: Sequence[NDArray[np.float64]]) -> Psfs:
    """FWHM of each sub, and the distance of its stars from where all subs that show them have them.

    Parameters
    ----------
    fwhm_px : sequence of float
        In pixels of the stack; NaN where there are no stars. Such a sub gets the median of the others.
    places : sequence of ndarray of float64, shape (n, 2)
        (x, y) in pixels of the stack of the stars of each sub, brightest first.
    """
    widths = np.array(fwhm_px, dtype=np.float64)
    known = np.isfinite(widths) & (widths > 0.0)
    usual = float(np.median(widths[known])) if known.any() else USUAL_FWHM_PX
    return Psfs(np.where(known, widths, usual).astype(np.float32), _misplaced(places).astype(np.float32))


def _misplaced(places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Distance of each sub from the others, 0 where fewer than three stars tell."""
    bright = [place[:_ENOUGH_STARS] for place in places]
    misplaced = np.zeros(len(bright))
    if not sum(len(place) for place in bright):
        return misplaced
    xy = np.concatenate(bright)
    image = np.repeat(np.arange(len(bright)), [len(place) for place in bright])
    star = group_by_position(xy[:, 0], xy[:, 1], image)
    xy, image, star = xy[star >= 0], image[star >= 0], star[star >= 0]
    if not star.size:
        return misplaced
    count = np.bincount(star)
    mean = np.stack([np.bincount(star, xy[:, axis]) / count for axis in (0, 1)], axis=1)
    away = xy - mean[star]
    order = np.argsort(image, kind="stable")
    for sub, mine in zip(*_groups(image[order], away[order]), strict=True):
        if len(mine) >= _LEAST_STARS:
            misplaced[sub] = float(np.hypot(*np.median(mine, axis=0)))
    return misplaced


def _groups(image: NDArray[np.int64], away: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The subs that occur, and the rows of each; `image` is sorted."""
    subs, first = np.unique(image, return_index=True)
    return subs, np.split(away, first[1:])
