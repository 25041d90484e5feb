"""The stars of a picture for plate solving: as many as there are, also saturated and trailed ones.

Photometry wants stars that can be measured and leaves all others out. Here a star counts if its middle is known: the
brightest ones, which a catalogue knows best, are saturated in every sub, and a gust of wind trails all of them alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..photometry.background import background_of
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo, UnsolvedSub, channels_last
from ..subs.image_files import read_image
from .solver import StarField

_THRESHOLD = 5.0  # of a pixel, in units of the noise, after smoothing
_MOST_STARS = 500
_LEAST_WIDTH = 0.55  # of the usual width: narrower are hot pixels and cosmic rays
_MOST_WIDTH = 3.0  # wider are galaxies and nebulae, but the brightest stars are wide as well
_BRIGHTEST = 12
_LEAST_ELONGATION, _ELONGATION = 2.0, 1.6  # at all, and in units of the usual one
# Of a star of two pixels the mean of the eight neighbours is three eighths of the peak, of noise a third of one sigma.
_NEIGHBOURS_SHARE, _NEIGHBOURS_NOISE = 0.12, 0.7
_HOT_IN_MOSAIC = 8.0
_PIXEL_VARIANCE = 1.0 / 12.0


def stars_of_sub(sub: SubInfo | UnsolvedSub) -> StarField:
    """The stars of a sub, the brightest first.

    Parameters
    ----------
    sub : SubInfo or UnsolvedSub

    Returns
    -------
    StarField

    Raises
    ------
    SubError
        If the file cannot be read.
    """
    return read_guarded(sub.path, lambda: stars_of_picture(_all_pixels(sub)))


def _all_pixels(sub: SubInfo | UnsolvedSub) -> NDArray[np.float32]:
    """Pixels of a sub, demosaiced, the saturated ones too; shape (H, W, C)."""
    from ..subs.demosaic import demosaic

    pixels = channels_last(read_image(sub.path, sub.hdu), sub).astype(np.float32, copy=False)
    pixels[~np.isfinite(pixels)] = np.nan
    if sub.bayer is not None:
        _cool_mosaic(pixels)  # afterwards a hot pixel is as wide as a star
        pixels = demosaic(pixels, sub.bayer)
    elif pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    return np.ascontiguousarray(pixels)


def stars_of_picture(pixels: NDArray[np.float32], *, threshold: float = _THRESHOLD) -> StarField:
    """The stars of a picture, the brightest first.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU, nothing marked as saturated; NaN is ignored.
    threshold : float
        Least height of a star above the background, smoothed over 3x3 pixels, in units of the noise.
    """
    from ..kernels import sources

    height, width, _ = pixels.shape
    nothing = StarField(np.zeros(0), np.zeros(0), (height, width))
    background = background_of(pixels)
    if background is None or not (background.noise > 0.0).any():
        return nothing
    light, valid = np.empty((height, width), np.float32), np.empty((height, width), np.bool_)
    sources.light_above(pixels, *background.in_units_of_noise(), light, valid)
    hot = hot_pixels(light, threshold)
    light.ravel()[hot] = 0.0
    index, value = np.empty(light.size, np.int32), np.empty(light.size, np.float32)
    count = sources.bright_pixels(light, threshold, index, value)
    index, value = index[:count].copy(), value[:count].copy()
    owner = np.full(light.shape, -1, np.int32)
    parent, size, sums = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros((count, 3))
    order = np.argsort(-value, kind="stable")
    sources.flood(index, value, order, 0, count, owner, parent, size, sums)
    moments = np.empty((count, 7))
    found = moments[: sources.source_moments(index, value, order, count, parent, size, width, moments)]
    found = found[np.argsort(-found[:, 5], kind="stable")]
    if not len(found):
        return nothing
    found = found[_starlike(light, found)][:_MOST_STARS]
    return StarField(found[:, 0].copy(), found[:, 1].copy(), (height, width))


def hot_pixels(plane: NDArray[np.float32], threshold: float) -> NDArray[np.intp]:
    """Pixels that stand alone: no optics makes a star whose neighbours see nothing of it.

    Parameters
    ----------
    plane : ndarray of float32, shape (H, W), C-contiguous
        Above the background, in units of its noise; not finite where nothing is known.
    threshold : float
        Fainter pixels are left alone.

    Returns
    -------
    ndarray of int
        Places in the flattened plane; pixels of the border are not looked at.
    """
    width = plane.shape[1]
    flat = plane.ravel()
    bright = np.flatnonzero(flat > threshold)
    inner = (bright % width > 0) & (bright % width < width - 1) & (bright >= width) & (bright < flat.size - width)
    bright = bright[inner]
    steps = [dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    around = np.nan_to_num(np.stack([flat[bright + step] for step in steps]), posinf=0.0, neginf=0.0).mean(axis=0)
    return np.asarray(bright[around < _NEIGHBOURS_SHARE * flat[bright] + _NEIGHBOURS_NOISE])


def _cool_mosaic(pixels: NDArray[np.float32]) -> None:
    """Give hot pixels of a Bayer mosaic the level of their colour, in place."""
    above, levels = np.empty_like(pixels), np.empty_like(pixels)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        plane = pixels[y::2, x::2]
        sample = plane[:: max(1, plane.shape[0] // 256), :: max(1, plane.shape[1] // 256)]
        sample = sample[np.isfinite(sample)]
        if not sample.size:
            return
        level = np.median(sample)
        levels[y::2, x::2] = level
        noise = 1.4826 * np.median(np.abs(sample - level))
        above[y::2, x::2] = (plane - level) / max(float(noise), 1e-6)
    hot = hot_pixels(above, _HOT_IN_MOSAIC)
    pixels.ravel()[hot] = levels.ravel()[hot]


def _starlike(light: NDArray[np.float32], found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True for sources that are as wide and as long as most of the brighter ones, whatever that is."""
    from ..kernels import sources

    x, y, xx, yy, xy = found[:, :5].T
    width = np.empty(len(found))
    sources.half_light_radii(light, np.ascontiguousarray(x), np.ascontiguousarray(y), 8.0, width)
    middle, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    elongation = np.sqrt(np.maximum(middle + half, _PIXEL_VARIANCE) / np.maximum(middle - half, _PIXEL_VARIANCE))
    usual = slice(0, max(20, len(found) // 3))
    usual_width, usual_elongation = np.nanmedian(width[usual]), np.median(elongation[usual])
    if not np.isfinite(usual_width):
        return np.ones(len(found), dtype=bool)
    wide = (width > _MOST_WIDTH * usual_width) & (np.arange(len(found)) >= _BRIGHTEST)
    long = elongation > max(_LEAST_ELONGATION, _ELONGATION * float(usual_elongation))
    return np.asarray(~(width < _LEAST_WIDTH * usual_width) & ~wide & ~long)
