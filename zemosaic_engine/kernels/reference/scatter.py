"""What differing PSFs add to the scatter of the samples of a pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Shares of the range of the light around a pixel (`light_range`) that one sigma of a sample grows by: of any sample,
#: for each unit by which the square of its FWHM differs from the mean of those at the pixel, over the smaller of the
#: two, and for each such mean FWHM that the sub is out of its place.
STEEP_SHARE, BLUR_SHARE, MISPLACED_SHARE = 0.3, 2.0, 1.0
#: What noise makes of the range of the light, in sigmas of a mean of the samples: it is no light.
RANGE_NOISE = 2.0
#: How far the range of the light looks, in pixels: means of 3 x 3 pixels, and their extremes over 5 x 5.
RANGE_REACH = 3


class Psfs(NamedTuple):
    """How sharp N subs are, and how well placed; what is unknown has a usual value.

    Attributes
    ----------
    fwhm_px : ndarray of float32, shape (N,)
        Full width at half maximum of their stars, in pixels of the stack.
    misplaced_px : ndarray of float32, shape (N,)
        Distance of their stars from where the other subs have them.
    """

    fwhm_px: NDArray[np.float32]
    misplaced_px: NDArray[np.float32]


def first_estimate(
    values: NDArray[np.float32], valid: NDArray[np.bool_], sky: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Lower quartile of the valid samples of each pixel: light that three of four subs confirm.

    Of three or four that is the lowest. Where it lies below the sky, the next one counts, up to the sky: light has no
    holes, and what one sub alone has there comes from a cosmic ray. NaN where fewer than two subs are: nothing
    confirms what one shows.
    """
    count = valid.sum(axis=0)
    ranked = np.sort(np.where(valid, values, np.float32(np.inf)), axis=0)
    found = np.take_along_axis(ranked, np.maximum(count - 1, 0)[None] // 4, axis=0)[0]
    few = (count == 3) | (count == 4)
    if few.any():
        found = np.where(few, np.maximum(found, np.minimum(ranked[1], sky)), found)
    return np.where(count > 1, found, np.float32(np.nan)).astype(np.float32)


def light_range(estimate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest less smallest of the means over 3 x 3 pixels within 2 pixels of each, (H, W, C).

    NaN is left out, as a pixel and as the middle of a mean.
    """

    def around(image: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
        padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), constant_values=np.nan)
        size = 2 * reach + 1
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))

    windows = around(estimate.astype(np.float64), 1)
    count = np.isfinite(windows).sum(axis=(-1, -2))
    total = np.where(np.isfinite(windows), windows, 0.0).sum(axis=(-1, -2))
    windows = around(np.where(np.isfinite(estimate), total / np.maximum(count, 1), np.nan), RANGE_REACH - 1)
    there = np.isfinite(windows)
    highest = np.where(there, windows, -np.inf).max(axis=(-1, -2))
    lowest = np.where(there, windows, np.inf).min(axis=(-1, -2))
    return np.maximum(highest - lowest, 0.0).astype(np.float32)


def psf_scatter(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    sigmas: NDArray[np.floating],
    sky: NDArray[np.floating],
    psfs: Psfs,
) -> NDArray[np.float64]:
    """Standard deviation that differing PSFs add to the samples of pixels where the light is steep.

    The difference between a sample and its pixel's true value grows with the range of the light around the pixel, as
    in the removal of cosmic rays of Fruchter & Hook (2002, PASP 114, 144), who take the gradient of a first estimate;
    here with how much wider or sharper the sub is than the others at the pixel, and how far out of place.

    Parameters
    ----------
    values : ndarray of float32, shape (N, H, W, C)
        On one scale.
    valid : ndarray of bool, shape (N, H, W, C)
    sigmas : ndarray, broadcastable to `values`
        Standard deviation of each sample's sky noise.
    sky : ndarray, broadcastable to one sample
        Level of the sky.
    psfs : Psfs

    Returns
    -------
    ndarray of float64, shape (N, H, W, C)
    """
    count = np.maximum(valid.sum(axis=0), 1)
    square = np.square(psfs.fwhm_px, dtype=np.float64)[:, None, None, None]
    usual = np.where(valid, square, 0.0).sum(axis=0) / count
    noise = np.sqrt(np.where(valid, np.square(sigmas, dtype=np.float64), 0.0).sum(axis=0)) / count
    reach = np.maximum(light_range(first_estimate(values, valid, sky)) - RANGE_NOISE * noise, 0.0)
    usual = np.where(usual > 0.0, usual, 1.0)
    blur = BLUR_SHARE * np.abs(square - usual) / np.minimum(square, usual)
    misplaced = MISPLACED_SHARE * psfs.misplaced_px.astype(np.float64)[:, None, None, None]
    return reach * np.sqrt(STEEP_SHARE**2 + blur**2 + misplaced**2 / usual)
