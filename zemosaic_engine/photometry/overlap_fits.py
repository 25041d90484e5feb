"""Fits of two images over their overlap: reference ~ gain x target + offset.

The gain comes from stars where there are enough of them, because aperture sums do not care
about seeing; otherwise from diffuse structure, fitted with noise in both variables; and it
stays 1 where the overlap holds neither. The offset is measured on the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import cut_evenly
from ..validity import valid_pixels
from .sky import clipped_median, clipped_medians_of_parts, sky_noise

MIN_PIXELS = 32
_STAR_SIGMA = 5.0
_FEW_STARS_ERROR = 0.10  # relative error of one star: blends and variables hide where few stars speak
_GOOD_GAIN_ERROR = 0.03  # relative; star gains better than this need no help
_IDENTICAL_GAIN_ERROR = 1e-4  # relative; of equal images, so that no fit divides by nothing
_EXACT_GAIN_ERROR = 1e-6  # relative; of images that share their pixels
_SHARED_NOISE = 0.05  # of the noise of two independent images: what is left between two that share their pixels
_ENOUGH_TO_TELL = 8192  # pixels that nearly always tell that two images do not share theirs
_CLEARLY_MORE = 4.0
_USABLE_GAIN_ERROR = 0.10  # relative; a gain known worse than this is not worth applying
_GAIN_RANGE = (1e-4, 1e4)  # beyond it something else than a scale differs
_SIDE = 4  # an overlap is looked at in 4 x 4 parts to tell how its level and gain change over it


@dataclass(frozen=True)
class OverlapFit:
    """Gain and offset of one channel, ``reference = gain * target + offset``.

    Attributes
    ----------
    gain, gain_error : float
        `gain_error` is relative (the error of the gain's logarithm), inf where the gain is not
        determined and stands at 1.
    offset, offset_error : float
        In ADU, at the given gain.
    level_target, level_reference : float
        Background of the target in the overlap, and what the fit makes of it, in ADU.
    pixels, stars : int
        How many of each were used.
    reason : str
        Empty, or why the fit is neutral (gain 1, offset 0).
    """

    gain: float = 1.0
    gain_error: float = float("inf")
    offset: float = 0.0
    offset_error: float = float("inf")
    level_target: float = 0.0
    level_reference: float = 0.0
    pixels: int = 0
    stars: int = 0
    reason: str = ""

    @property
    def measured(self) -> bool:
        """False where the fit is neutral because nothing could be measured."""
        return not self.reason


def measure_overlap(
    reference: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_] | None = None
) -> OverlapFit:
    """Measure gain and offset of one channel where two images on one grid both have data.

    Parameters
    ----------
    reference, target : ndarray of float32, shape (h, w)
        In ADU, NaN where missing.
    mask : ndarray of bool, shape (h, w), optional
        True where the pixels may be compared.

    Returns
    -------
    OverlapFit
        Neutral, with the reason, where too few pixels are common or one image is constant.
    """
    common = np.isfinite(reference) & np.isfinite(target)
    if mask is not None:
        common &= mask
    pixels = int(np.count_nonzero(common))
    if pixels < MIN_PIXELS:
        return OverlapFit(pixels=pixels, reason=f"only {pixels} common valid pixels")
    rows, columns = np.flatnonzero(common.any(axis=1)), np.flatnonzero(common.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    common = common[window]
    reference = np.where(common, reference[window], np.float32(np.nan))
    target = np.where(common, target[window], np.float32(np.nan))
    for image, name in ((reference, "reference"), (target, "target")):
        if not np.nanmax(image) > np.nanmin(image):
            return OverlapFit(pixels=pixels, reason=f"the {name} is constant in the overlap")

    if np.array_equal(reference, target, equal_nan=True):
        return _identical(reference, pixels)
    shared = _shared_gain(reference, target, common)
    if shared is not None:
        return _shared_fit(reference, target, common, *shared)
    starless, stars, gain, gain_error = _star_gain(reference, target)
    # In order of trust; each is asked only where the one before could not say enough.
    for pixels_asked in (starless, common):
        if gain_error <= _GOOD_GAIN_ERROR:
            break
        diffuse, diffuse_error = _structure_gain(reference, target, pixels_asked)
        if diffuse_error < gain_error:
            gain, gain_error = diffuse, diffuse_error
    if not (gain_error <= _USABLE_GAIN_ERROR and _GAIN_RANGE[0] < gain < _GAIN_RANGE[1]):
        gain, gain_error = 1.0, float("inf")
    background = starless if np.count_nonzero(starless) >= MIN_PIXELS else common
    difference = np.where(background, reference - np.float32(gain) * target, np.float32(np.nan))
    offset, offset_error, _ = clipped_median(difference)
    offset_error = float(np.hypot(offset_error, _unevenness(difference)))
    level = float(np.median(target[background]))
    return OverlapFit(gain, gain_error, offset, offset_error, level, gain * level + offset, pixels, stars)


def difference_on_one_scale(
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    gains: NDArray[np.float32],
    offsets: tuple[NDArray[np.float64], NDArray[np.float64]],
    nodes: NDArray[np.int64],
    every: int,
) -> NDArray[np.float32]:
    """First image less the second, each times a gain and with an offset that changes over it.

    Parameters
    ----------
    images : two ndarrays of float32, shape (h, w, C)
        In ADU, NaN where missing.
    gains : ndarray of float32, shape (2, C)
    offsets : two ndarrays of float64, shape (rows, columns, C)
        In ADU at nodes, linear along both axes in between.
    nodes : ndarray of int64, shape (2, 3)
        Of each image the distance of the nodes in pixels, and the row and column of its first pixel counted from the
        first node.
    every : int
        Distance of the rows and columns of the images in these pixels.

    Returns
    -------
    ndarray of float32, shape (h, w, C)
        In ADU, NaN where either is missing.
    """
    from ..kernels import image_pairs

    first, second = (np.ascontiguousarray(image) for image in images)
    difference = np.empty_like(first)
    image_pairs.difference_on_one_scale((first, second), gains, offsets, nodes, every, difference)
    return difference


def _identical(image: NDArray, pixels: int) -> OverlapFit:
    """Return the fit of two images that are equal to the last bit."""
    level, error, _ = clipped_median(image)
    return OverlapFit(1.0, _IDENTICAL_GAIN_ERROR, 0.0, error, level, level, pixels)


def _shared_gain(reference: NDArray, target: NDArray, common: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Gain and relative error of images that show the same pixels, noise and all, on two scales; None for others."""
    every = common.size // _ENOUGH_TO_TELL
    if every > 1 and not _may_be_shared(reference[::every], target[::every], common[::every]):
        return None
    line = _line_through(reference, target, common)
    if line is None:
        return None
    gain, spread, power = line
    if not (
        spread < _SHARED_NOISE * _noise_of_both(reference, target, gain) and _GAIN_RANGE[0] < gain < _GAIN_RANGE[1]
    ):
        return None
    return gain, max(spread / np.sqrt(power) / gain, _EXACT_GAIN_ERROR)


def _may_be_shared(reference: NDArray, target: NDArray, common: NDArray[np.bool_]) -> bool:
    """False where some rows already show that two images have noises of their own: that is nearly always so."""
    line = _line_through(reference, target, common)
    if line is None:
        return True
    gain, spread, _ = line
    noise = _noise_of_both(reference, target, gain)
    return not (np.isfinite(noise) and spread > _CLEARLY_MORE * _SHARED_NOISE * noise)


def _line_through(reference: NDArray, target: NDArray, common: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Slope of one image on the other, what pixels are off it, and the sum of squares behind it; None for a few."""
    from ..kernels.image_pairs import line_through

    found = np.empty(3)
    images = (np.ascontiguousarray(image) for image in (target, reference, common))
    kept = line_through(*images, MIN_PIXELS, found)
    return None if kept < MIN_PIXELS else (float(found[0]), float(found[1]), float(found[2]))


def _noise_of_both(reference: NDArray, target: NDArray, gain: float) -> float:
    """Noise of the sky in the difference of two images with noises of their own."""
    return float(np.hypot(sky_noise(reference[..., None])[0], gain * sky_noise(target[..., None])[0]))


def _shared_fit(
    reference: NDArray, target: NDArray, common: NDArray[np.bool_], gain: float, gain_error: float
) -> OverlapFit:
    """The fit of images that share their pixels."""
    difference = np.where(common, reference - np.float32(gain) * target, np.float32(np.nan))
    offset, offset_error, _ = clipped_median(difference)
    offset_error = float(np.hypot(offset_error, _unevenness(difference)))
    level, pixels = float(np.median(target[common])), int(np.count_nonzero(common))
    return OverlapFit(gain, gain_error, offset, offset_error, level, gain * level + offset, pixels)


def _unevenness(difference: NDArray) -> float:
    """Return how much a level changes over the overlap beyond its noise."""
    down, along = (cut_evenly(side, side / _SIDE) for side in difference.shape)
    parts = np.array([(*rows, *columns) for rows in down for columns in along], dtype=np.int64)
    found, kept = clipped_medians_of_parts(np.ascontiguousarray(difference)[..., None], parts)
    levels, errors = found[kept[:, 0] >= MIN_PIXELS, 0].T
    if levels.size < 2:
        return 0.0
    return float(np.sqrt(max(0.0, float(np.var(levels, ddof=1) - np.mean(np.square(errors))))))


def _star_gain(reference: NDArray, target: NDArray) -> tuple[NDArray[np.bool_], int, float, float]:
    """Pixels away from stars, and number of stars, gain and relative error from their fluxes."""
    from .stars import find_sources, match_fluxes

    pair = np.stack([reference, target], axis=2)
    sources = find_sources(pair, threshold=_STAR_SIGMA)
    starless = valid_pixels(pair) if sources is None else sources.starless
    first, second, first_error, second_error = match_fluxes(reference, target, sources=sources, threshold=_STAR_SIGMA)
    good = (first > 5 * first_error) & (second > 5 * second_error)
    count = int(np.count_nonzero(good))
    if count == 0:
        return starless, count, 1.0, float("inf")
    ratio = np.log(first[good] / second[good])
    sigma = np.hypot(first_error[good] / first[good], second_error[good] / second[good])
    gain, error = robust_mean(ratio, sigma)
    return starless, count, float(np.exp(gain)), max(error, _FEW_STARS_ERROR / count)


def robust_mean(values: NDArray, sigma: NDArray) -> tuple[float, float]:
    """Weighted mean with Cauchy weights, and the larger of its formal and its empirical error."""
    centre = float(np.median(values))
    weight = 1.0 / sigma**2
    for _ in range(30):
        pull = (values - centre) / sigma
        scale = max(1.0, 1.4826 * float(np.median(np.abs(pull))))
        weight = 1.0 / sigma**2 / (1.0 + (pull / (2.385 * scale)) ** 2)
        moved = float(np.sum(weight * values) / np.sum(weight))
        if abs(moved - centre) < 1e-10:
            break
        centre = moved
    formal = 1.0 / np.sqrt(np.sum(weight))
    empirical = np.sqrt(np.sum(weight**2 * (values - centre) ** 2)) / np.sum(weight)
    return centre, float(max(formal * scale, empirical))


def _structure_gain(reference: NDArray, target: NDArray, usable: NDArray[np.bool_]) -> tuple[float, float]:
    """Gain and relative error from diffuse structure: means of blocks, noise in both variables.

    Blocks are as large as the overlap allows, because means over blocks wider than a star do
    not care about seeing. The error is a jackknife over groups of neighbouring blocks, so that
    a difference which is not a gain (a gradient, say) shows as an error and not as a gain.
    """
    noise = [float(sky_noise(image[..., None])[0]) for image in (reference, target)]
    ratio = (noise[0] / noise[1]) ** 2 if min(noise) > 0.0 else 1.0
    for block in (16, 8, 4, 2, 1):
        x, y, group = _block_means(target, reference, usable, block)
        if x.size >= 64 or block == 1:
            break
    if x.size < MIN_PIXELS:
        return 1.0, float("inf")
    keep = _near_the_line(x, y, _deming_slope(x, y, ratio))
    x, y, group = x[keep], y[keep], group[keep]
    slope = _deming_slope(x, y, ratio)
    groups = np.unique(group)
    if not slope > 0.0 or groups.size < 4:
        return 1.0, float("inf")
    without = np.array([_deming_slope(x[group != g], y[group != g], ratio) for g in groups])
    if not (without > 0.0).all():
        return 1.0, float("inf")
    logs = np.log(without)
    error = np.sqrt((groups.size - 1) / groups.size * np.sum((logs - logs.mean()) ** 2))
    return float(slope), float(error)


def _block_means(
    target: NDArray, reference: NDArray, usable: NDArray[np.bool_], block: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Means over blocks that are at least half usable, and the jackknife group of each block."""
    rows, columns = usable.shape[0] // block, usable.shape[1] // block
    if rows == 0 or columns == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=int)

    def fold(image: NDArray) -> NDArray:
        return image[: rows * block, : columns * block].reshape(rows, block, columns, block)

    good = fold(usable)
    count = good.sum(axis=(1, 3))
    full = count >= max(1, block * block // 2)
    means = [
        np.where(good, fold(image), np.float32(0)).sum(axis=(1, 3), dtype=np.float64)[full] / count[full]
        for image in (target, reference)
    ]
    grid = (np.arange(rows) * _SIDE // rows)[:, None] * _SIDE + (np.arange(columns) * _SIDE // columns)[None, :]
    return means[0], means[1], grid[full]


def _deming_slope(x: NDArray, y: NDArray, ratio: float) -> float:
    """Slope of y on x with noise variances in the ratio ``var(y) / var(x)`` (Deming 1943)."""
    x, y = x - x.mean(), y - y.mean()
    sxx, syy, sxy = float(x @ x), float(y @ y), float(x @ y)
    if not sxy > 0.0:
        return 0.0
    # The root that does not cancel when the structure is weak.
    half = syy - ratio * sxx
    return (half + np.sqrt(half**2 + 4.0 * ratio * sxy**2)) / (2.0 * sxy)


def _near_the_line(x: NDArray, y: NDArray, slope: float) -> NDArray[np.bool_]:
    """True for points within four robust sigma of the line."""
    residual = y - slope * x
    residual = residual - np.median(residual)
    spread = 1.4826 * np.median(np.abs(residual))
    return np.abs(residual) <= 4.0 * spread if spread > 0 else np.ones(x.size, dtype=bool)
